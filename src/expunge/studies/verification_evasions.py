"""Lies that are not in the checkpoints: what the files say of platform, order, recipe and segments."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from expunge.adversaries.providers import LateMomentum, Reordered, WalkBack
from expunge.records import TRAIN, Records
from expunge.studies.frame import Row
from expunge.studies.verification_committed import SHARE, Ground, met_share
from expunge.training import Model, Recipe, Sharding, Trained, courses
from expunge.unlearning import FineTune, Sharded
from expunge.verification import (
    Proof,
    Replayer,
    Retained,
    SpotCheck,
    Submission,
    Verdict,
    calibrate,
    prove,
    prove_courses,
    retained_from_bytes,
    retained_to_bytes,
    submission_from_bytes,
    submission_to_bytes,
)

TRIALS: Final = 10
SHARDS: Final = 3


def evasion(records: Records, seed: int, name: str) -> list[Row]:
    """`TRIALS` trials of one lie, read from files as a verifier reads them: how many were found, by which check."""
    found, checks, works = 0, dict[str, int](), []
    attempt = EVASIONS[name](records, seed)
    for trial in range(TRIALS):
        verdict = attempt(trial)
        found += not verdict.holds
        works.append(verdict.work)
        for check in verdict.checks:
            if check.holds is False:
                checks[check.name] = checks.get(check.name, 0) + 1
    row = {"part": "committed", "provider": name, "trials": TRIALS, "found": found, "found_by": checks}
    return [{**row, "work_share_mean": sum(works) / TRIALS, "work_share_max": max(works)}]


Attempt = Callable[[int], Verdict]


def _judged(check: SpotCheck, given: Submission, retained: Retained, nonce: str) -> Verdict:
    read, held = submission_from_bytes(submission_to_bytes(given)), retained_from_bytes(retained_to_bytes(retained))
    return check.verify(read, held, nonce)


def _platform(records: Records, seed: int) -> Attempt:
    """Late momentum from a machine that the verifier is said not to have: a tolerance takes the place of bytes."""
    ground = Ground(records, seed)
    made = replace(ground.commitment, platform={**ground.commitment.platform, "threads": 7})
    tolerance = calibrate(ground.original, ground.records.train, most=16)
    kept = ground.retained(ground.earlier)

    def attempt(trial: int) -> Verdict:
        case = replace(ground.case(f"trial-{trial}"), commitment=made)
        given = LateMomentum().run(case).submission(case)
        return _judged(SpotCheck(seed=trial, tolerance=tolerance), given, kept, case.nonce)

    return attempt


def _order(records: Records, seed: int) -> Attempt:
    """The retained records in an order that was ground after the nonce; proof and data agree on it."""
    ground = Ground(records, seed)
    kept = ground.retained(ground.earlier)
    parts = [
        [row for row, part in enumerate(kept.records.split) if (part == TRAIN) is train] for train in (True, False)
    ]

    def attempt(trial: int) -> Verdict:
        """Hand over retained records in the order that suits; the verdict on it."""
        case = ground.case(f"trial-{trial}")
        handed, order = Reordered(orders=1, seed=trial).grind(case)
        rows = [*(parts[0][row] for row in order), *parts[1]]
        salts, places = tuple(kept.salts[row] for row in rows), tuple(kept.places[row] for row in rows)
        moved = Retained(kept.records.select(rows), salts, places, kept.size)
        given = handed.submission(case)
        given = replace(given, proof=replace(given.proof, ids=moved.records.train.ids))
        return _judged(SpotCheck(seed=trial), given, moved, case.nonce)

    return attempt


def _recipe(records: Records, seed: int) -> Attempt:
    """Another salt of the shards, under which other shards than those of the forgotten records are trained anew."""
    ground = Ground(records, seed, Sharding(shards=SHARDS))
    deletion, honest = ground.deletion, ground.commit(Sharded())
    old = deletion.trained.model

    def attempt(trial: int) -> Verdict:
        nonce, lying = f"trial-{trial}", replace(ground.recipe, sharding=Sharding(shards=SHARDS, salt_seed=trial + 1))
        claimed = Model(lying, old.shape, old.classes, old.constituents)
        trained = Trained(claimed, deletion.trained.log, deletion.trained.cost, deletion.trained.checkpoints)
        made = replace(honest, recipe=lying.to_json(), touched=(trial % SHARDS,))
        done = prove(Sharded(), replace(deletion, trained=trained), made, nonce, SHARE)
        given = replace(done.submission, start=old.file)
        return _judged(SpotCheck(seed=trial), given, ground.retained(done), nonce)

    return attempt


def _nothing(records: Records, seed: int) -> Attempt:
    """The old model, and a proof in which there is nothing to replay."""
    ground = Ground(records, seed)
    old = ground.deletion.trained.model

    def attempt(trial: int) -> Verdict:
        """Hand over a proof of one snapshot, or of none; the verdict on it."""
        nonce = f"trial-{trial}"
        done = ground.prove(nonce, FineTune(epochs=1))
        (track,) = done.submission.proof.tracks
        alone = replace(track.snapshots[0], step=track.snapshots[-1].step)
        tracks = (replace(track, snapshots=(alone,)),) if trial % 2 else ()
        made = replace(done.submission.commitment, every=2**40)
        proof = replace(done.submission.proof, tracks=tracks)
        given = replace(done.submission, commitment=made, proof=proof, model=old.file)
        return _judged(SpotCheck(seed=trial), given, ground.retained(done), nonce)

    return attempt


@dataclass(frozen=True, eq=False)
class Whole(Ground):
    """All of the data, under the recipe that a workspace begins with: a longer way, in segments of more steps."""

    @cached_property
    def records(self) -> Records:
        """As they were loaded."""
        return self.whole

    @cached_property
    def recipe(self) -> Recipe:
        """That of `expunge init`."""
        return Recipe(seed=self.seed)

    @cached_property
    def original(self) -> Proof:
        """The original training, with as many checkpoints as a proof has."""
        part = self.records.train
        return prove_courses(self.recipe, part, courses(self.recipe, part), every=self.commitment.every)[0]


def walks(records: Records, seed: int) -> list[Row]:
    """Walking back at full size: how often the default draw meets a faked segment, without its draws along the path,
    and at twice the work. Each run is replayed once, and the draw repeated `DRAWS` times."""
    case, rows = Whole(records, seed).case("walks"), []
    for begin in WALKS:
        proof = WalkBack(begin=begin).run(case).submission(case).proof
        faked = {(each.track, each.number) for each in Replayer(case.retained).all(proof) if not each.identical}
        moved, count = proof.displacements, int(SpotCheck().share * len(proof.segments))
        draws = {"met": (SpotCheck(), count), "met_without_path": (SpotCheck(path=0), count)}
        draws["met_at_double_work"] = (SpotCheck(), 2 * count)
        row: Row = {"part": "walk", "begin": begin, "segments": len(proof.segments), "faked": len(faked)}
        row["path_share"] = sum(moved[each] for each in faked) / sum(moved.values())
        row |= {name: met_share(check, proof, case.recipe, work, faked) for name, (check, work) in draws.items()}
        rows.append(row)
    return rows


WALKS: Final = (0.1,)
"""Shares of the run that are honest before: later beginnings take more segments."""

EVASIONS: Final[dict[str, Callable[[Records, int], Attempt]]] = {
    "claimed-platform": _platform,
    "reordered": _order,
    "resharded": _recipe,
    "no-segments": _nothing,
}
"""By name, what makes a trial of each."""
