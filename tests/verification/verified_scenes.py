"""A small provable deletion, and what a dishonest provider would have in its place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from expunge.adversaries.providers import Case
from expunge.networks import MLP
from expunge.records import DataTree, Records, commitments
from expunge.training import SGD, Recipe, Trained, courses, train
from expunge.unlearning import Deletion, Method, Retrain, prepare
from expunge.verification import (
    Commitment,
    Proof,
    Proven,
    Retained,
    SpotCheck,
    Submission,
    Verdict,
    commit,
    prove,
    prove_courses,
    retained_from_bytes,
    retained_to_bytes,
    submission_from_bytes,
    submission_to_bytes,
)
from expunge.verification.schedule import drawn, schedule_seed

RECIPE = Recipe(network=MLP((16,)), optimiser=SGD(lr=0.1), epochs=7, batch_size=16)


@dataclass(frozen=True, eq=False)
class Scene:
    records: Records
    trained: Trained
    original: Proof | None
    forget: frozenset[str]
    salts: tuple[bytes, ...]

    @property
    def tree(self) -> DataTree:
        return DataTree(commitments(self.records, self.salts))

    @property
    def deletion(self) -> Deletion:
        return prepare(self.trained, self.records, self.forget)

    def commit(self, method: Method | None = None, share: bytes = b"", every: int | None = None) -> Commitment:
        return commit(method or Retrain(), self.deletion, self.tree, share=share, every=every)

    def prove(self, nonce: str, method: Method | None = None, share: bytes = b"") -> Proven:
        return prove(method or Retrain(), self.deletion, self.commit(method, share), nonce, share)

    def retained(self, proven: Proven) -> Retained:
        return Retained.after(self.records, self.salts, proven.unlearned.records)

    def case(self, commitment: Commitment, nonce: str, earlier: Proven | None = None) -> Case:
        assert self.original is not None
        recipe = replace(self.trained.model.recipe, seed=schedule_seed(drawn(commitment.root, nonce)))
        gone = self.forget & set(self.records.train.ids)
        old = None if earlier is None else earlier.submission
        model = self.trained.model
        return Case(self.records.train, gone, recipe, self.original, model, commitment.every, commitment, nonce, old)

    def free_case(self) -> Case:
        """What meets the literature's verifiers: one checkpoint a step, and a seed of the provider's own."""
        assert self.original is not None
        gone = self.forget & set(self.records.train.ids)
        return Case(self.records.train, gone, replace(RECIPE, seed=1), self.original, self.trained.model)


def scene(records: Records, owners: Sequence[str], recipe: Recipe = RECIPE) -> Scene:
    trained = train(recipe, records)
    forget = frozenset(name for owner in owners for name in records.owned_by(owner))
    salts = tuple(bytes([number % 256]) * 32 for number in range(len(records)))
    original = None
    if recipe.sharding is None:
        original, _, _ = prove_courses(recipe, records.train, courses(recipe, records.train), every=1, batches=True)
    return Scene(records, trained, original, forget, salts)


def through_files(
    given: Submission, retained: Retained, nonce: str, how: SpotCheck | None = None, **more: Any
) -> Verdict:
    """What the verifier says who got both as files."""
    read = submission_from_bytes(submission_to_bytes(given))
    kept = retained_from_bytes(retained_to_bytes(retained))
    return (how or SpotCheck(seed=1)).verify(read, kept, nonce, transcript=given.transcript, **more)


def failed(verdict: Verdict) -> str:
    return next((check.name for check in verdict.checks if check.holds is not True), "")
