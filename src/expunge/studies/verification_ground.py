"""The small network on which the study `verification` counts trials of the committed schedule."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from expunge.adversaries.providers import Case
from expunge.networks import MLP
from expunge.randomness import numpy_generator
from expunge.records import DataTree, Records, commitments, new_salts
from expunge.training import SGD, Recipe, Sharding, courses, train
from expunge.unlearning import Deletion, Method, Retrain, prepare
from expunge.verification import Commitment, Proof, Proven, Retained, commit, drawn, prove, prove_courses
from expunge.verification.schedule import schedule_seed, share_digest

RECORDS: Final = 240
STEPS: Final = 110
SHARE: Final = b"a share of the draw, 32 bytes of."


@dataclass(frozen=True, eq=False)
class Ground:
    """A small network on a part of the data, a tenth of which is to be forgotten, and its commitments."""

    whole: Records
    seed: int
    sharding: Sharding | None = None

    @cached_property
    def records(self) -> Records:
        """At most `RECORDS` training records, and some test records."""
        order = numpy_generator(self.seed, "study/verification/small").permutation(len(self.whole)).tolist()
        rows = {part: [r for r in order if self.whole.split[r] == part] for part in ("train", "test")}
        return self.whole.select(sorted(rows["train"][:RECORDS] + rows["test"][: RECORDS // 4]))

    @cached_property
    def recipe(self) -> Recipe:
        """Of some `STEPS` steps, on what is left: enough for a tenth of them to be many."""
        left = len(self.records.train) - len(self.forget)
        epochs = STEPS * min(16, left) / left
        return Recipe(MLP((16,)), SGD(lr=0.1), epochs=epochs, batch_size=16, seed=self.seed, sharding=self.sharding)

    @cached_property
    def forget(self) -> frozenset[str]:
        """A tenth of the training records."""
        ids = self.records.train.ids
        order = numpy_generator(self.seed, "study/verification/gone").permutation(len(ids)).tolist()
        return frozenset(ids[row] for row in order[: max(1, len(ids) // 10)])

    @cached_property
    def salts(self) -> tuple[bytes, ...]:
        """Of the commitments."""
        return new_salts(len(self.records))

    @cached_property
    def deletion(self) -> Deletion:
        """The request, for honest providers."""
        return prepare(train(self.recipe, self.records), self.records, self.forget)

    @cached_property
    def original(self) -> Proof:
        """The original training, a checkpoint for each step."""
        part = self.records.train
        return prove_courses(self.recipe, part, courses(self.recipe, part), every=1, batches=True)[0]

    def commit(self, method: Method) -> Commitment:
        """What the provider commits to."""
        return commit(method, self.deletion, DataTree(commitments(self.records, self.salts)), share=SHARE)

    @cached_property
    def commitment(self) -> Commitment:
        """To retraining."""
        return replace(self.commit(Retrain()), share=share_digest(b""))

    def prove(self, nonce: str, method: Method | None = None) -> Proven:
        """An honest run."""
        if method is None:
            return prove(Retrain(), self.deletion, self.commitment, nonce)
        return prove(method, self.deletion, self.commit(method), nonce, SHARE)

    def retained(self, proven: Proven) -> Retained:
        """What the verifier holds."""
        return Retained.after(self.records, self.salts, proven.unlearned.records)

    @cached_property
    def earlier(self) -> Proven:
        """A run that was accepted before."""
        return self.prove("earlier")

    def case(self, nonce: str) -> Case:
        """What a dishonest provider has under this nonce."""
        recipe = replace(self.recipe, seed=schedule_seed(drawn(self.commitment.root, nonce)))
        return Case(
            self.records.train,
            self.forget,
            recipe,
            self.original,
            self.deletion.trained.model,
            self.commitment.every,
            self.commitment,
            nonce,
            self.earlier.submission,
        )
