"""Cells of the study `verification`, part two: the committed schedule against everyone, counted on small networks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from expunge.adversaries.providers import (
    Case,
    DishonestProvider,
    FakeSegments,
    Forge,
    Grind,
    KeepOriginal,
    LateMomentum,
    ReplayOldProof,
    RetrainNearest,
    RetrainRandom,
    StartingMomentum,
    SwapAfterAudit,
    WalkBack,
)
from expunge.networks import MLP
from expunge.randomness import numpy_generator
from expunge.records import DataTree, Records, commitments, new_salts
from expunge.studies.frame import Row
from expunge.training import SGD, Recipe, Sharding, courses, train
from expunge.unlearning import (
    Deletion,
    FineTune,
    Method,
    NoisyFineTuning,
    OutputPerturbation,
    Retrain,
    Sharded,
    prepare,
)
from expunge.verification import (
    Commitment,
    Proof,
    Proven,
    Replayer,
    Retained,
    SpotCheck,
    Submission,
    bytes_per_step,
    calibrate,
    commit,
    detection,
    drawn,
    prove,
    prove_courses,
    submission_from_bytes,
    submission_to_bytes,
)
from expunge.verification.schedule import schedule_seed

TRIALS = {"small": 20, "full": 100}
"""Of each attack and of honest runs: a small study has five minutes, and a trial trains, files and replays."""

RECORDS = 240
STEPS = 110
DRAWS = 1000
WORK = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
FAKED = (0.01, 0.05, 0.1, 0.25, 0.5)


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
        return replace(self.commit(Retrain()), share=_no_share())

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


SHARE = b"a share of the draw, 32 bytes of."


def _no_share() -> str:
    from expunge.verification.schedule import share_digest

    return share_digest(b"")


def attacks(scale: str) -> dict[str, DishonestProvider]:
    """Every attack of the spec, by name."""
    every: tuple[DishonestProvider, ...] = (
        RetrainNearest(),
        RetrainRandom(candidates=50 if scale == "full" else 2),
        Forge(),
        KeepOriginal(),
        Grind(schedules=1000),
        FakeSegments(),
        FakeSegments(how="train", where="last"),
        SwapAfterAudit(),
        ReplayOldProof(),
        StartingMomentum(),
        LateMomentum(),
    )
    return {attack.describe().name: attack for attack in every}


def inconspicuous() -> dict[str, DishonestProvider]:
    """Segments of ordinary size, which no displacement tells: the formula is all that stands between.

    One that was trained on forgotten records, and as many as it takes to walk back to the original model.
    """
    return {attack.describe().name: attack for attack in (FakeSegments(how="train"), WalkBack())}


def committed(records: Records, scale: str, seed: int, name: str) -> list[Row]:
    """`TRIALS` trials of one attack, or of honest runs: how many were found, by which check, at what work."""
    ground = Ground(records, seed)
    attack = None if name == "honest" else {**attacks(scale), **inconspicuous()}[name]
    if isinstance(attack, Grind):  # nothing hangs on the nonce: a grinder does it once
        attack = replace(attack, chosen=attack.best(ground.case("any")))
    found, works, checks = 0, [], dict[str, int]()
    for trial in range(TRIALS[scale]):
        nonce = f"trial-{trial}"
        verdict = _judged(ground, attack, nonce, SpotCheck(seed=trial), trial)
        works.append(verdict.work)
        found += not verdict.holds
        for check in verdict.checks:
            if check.holds is False:
                checks[check.name] = checks.get(check.name, 0) + 1
    row = {"part": "committed", "provider": name, "trials": TRIALS[scale], "found": found}
    return [{**row, "work_share_mean": float(np.mean(works)), "work_share_max": max(works), "found_by": checks}]


def _judged(ground: Ground, attack: DishonestProvider | None, nonce: str, check: SpotCheck, trial: int) -> Any:
    if attack is None:
        proven = ground.prove(nonce)
        return check.verify(_filed(proven.submission), ground.retained(proven), nonce)
    if isinstance(attack, FakeSegments | RetrainRandom):
        attack = replace(attack, seed=trial)
    case = ground.case(nonce)
    handed = attack.run(case)
    retained = ground.retained(ground.earlier)
    return check.verify(_filed(handed.submission(case)), retained, nonce, deployed=handed.deployed.file)


def _filed(given: Submission) -> Submission:
    """As the verifier gets it: read from a file."""
    return submission_from_bytes(submission_to_bytes(given))


def curve(records: Records, seed: int) -> list[Row]:
    """Detection against work: faked segments of ordinary size, which only replay can find.

    One run for each share; every segment is replayed once, and the verifier's draw is then repeated `DRAWS` times. The
    default draw spends more than half of its work on segments that stand out; what it drew at random is its q.
    """
    from scipy.stats import hypergeom

    ground, rows = Ground(records, seed), []
    for share in FAKED:
        case = ground.case(f"faked-{share}")
        segments = -(-case.steps // case.every)
        count = max(1, round(share * segments))
        given = FakeSegments(count, "train", seed=seed).run(case).submission(case)
        found = Replayer(case.retained).all(given.proof)
        wrong = {(each.track, each.number) for each in found if not each.identical}
        for work in WORK:
            draws = max(1, int(work * segments))
            bare = SpotCheck(largest=0, path=0, ends=0, early=0, least=0)
            row: Row = {
                "part": "curve",
                "faked": len(wrong) / segments,
                "work": work,
                "replayed": draws,
                "formula": detection(len(wrong) / segments, draws),
                "exact": 1 - float(hypergeom.pmf(0, segments, len(wrong), draws)),
                "measured": met_share(bare, given.proof, case.recipe, draws, wrong),
            }
            if work == SpotCheck().share:
                row |= _default(given.proof, case.recipe, draws, wrong)
            rows.append(row)
    return rows


def _default(proof: Proof, recipe: Recipe, count: int, wrong: set[tuple[int, int]]) -> Row:
    """The same of the default draw, and the formula at what it draws at random."""
    drawn_default = SpotCheck(seed=0).choose(proof, recipe, count)[1]
    return {
        "measured_default": met_share(SpotCheck(), proof, recipe, count, wrong),
        "drawn_default": drawn_default,
        "formula_default": detection(len(wrong) / len(proof.segments), drawn_default),
    }


def met_share(check: SpotCheck, proof: Proof, recipe: Recipe, count: int, wrong: set[tuple[int, int]]) -> float:
    """Share of draws that meet a faked segment."""
    met = [not wrong.isdisjoint(replace(check, seed=number).choose(proof, recipe, count)[0]) for number in range(DRAWS)]
    return float(np.mean(met))


def platform(records: Records, scale: str, seed: int) -> list[Row]:
    """Proofs from one thread, checked under two: honest and each attack at the calibrated tolerance."""
    ground = Ground(records, seed)
    tolerance = calibrate(ground.original, ground.records.train, threads=(2,))
    check, rows = SpotCheck(threads=2, tolerance=tolerance, seed=seed), []
    for name in ("honest", *attacks(scale)):
        attack = attacks(scale).get(name)
        if isinstance(attack, Grind):
            attack = replace(attack, schedules=50)
        passed = [_judged(ground, attack, f"platform-{trial}", check, trial).holds for trial in range(PLATFORM_TRIALS)]
        rows.append(
            {
                "part": "platform",
                "provider": name,
                "trials": len(passed),
                "passed": sum(passed),
                "tolerance": tolerance.value,
                "tolerance_source": tolerance.source,
            }
        )
    return rows


PLATFORM_TRIALS = 5


def methods(records: Records, seed: int) -> list[Row]:
    """Every kind of method: the honest run, and the old model in its place."""
    kinds: Sequence[tuple[Method, Sharding | None]] = (
        (Retrain(), None),
        (Sharded(), Sharding(shards=4, slices=2, by="record")),
        (FineTune(epochs=2), None),
        (NoisyFineTuning(steps=5, epochs=1), None),
        (OutputPerturbation(epochs=1), None),
    )
    rows = []
    for method, sharding in kinds:
        ground = Ground(records, seed, sharding)
        proven = ground.prove("methods", method)
        verdict = SpotCheck(seed=seed).verify(proven.submission, ground.retained(proven), "methods")
        kept = replace(proven.submission, model=ground.deletion.trained.model.file)
        caught = not SpotCheck(seed=seed).verify(kept, ground.retained(proven), "methods").holds
        rows.append(
            {
                "part": "methods",
                "method": method.describe().name,
                "proven": verdict.holds,
                "old_model_found": caught,
                "work_share": verdict.work,
                "segments": verdict.segments,
                "replayed_whole": not proven.submission.proof.tracks,
            }
        )
    return rows


def storage(records: Records, seed: int) -> list[Row]:
    """Bytes of proof for each optimiser step, with the interval between checkpoints as the knob."""
    ground = Ground(records, seed)
    weights = sum(value.numel() for value in ground.original.tracks[0].snapshots[0].state.values())
    rows = []
    for every in (1, 2, 5, 10, 50):
        bare = tuple(replace(track, batches=None) for track in ground.original.thinned(every).tracks)
        size = bytes_per_step(replace(ground.original, tracks=bare))
        rows.append({"part": "storage", "every": every, "bytes_per_step": size, "weights": weights})
    return rows
