"""Cells of the study `verification`, part four: how often the verifier's draw meets a faked segment, by its work."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from expunge.adversaries.providers import FakeSegments, WalkBack
from expunge.records import Records
from expunge.studies.frame import Row
from expunge.studies.verification_ground import Ground
from expunge.training import Recipe, courses
from expunge.verification import Proof, Replayer, SpotCheck, detection, prove_courses

DRAWS = 1000
WORK = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
FAKED = (0.01, 0.05, 0.1, 0.25, 0.5)

WALKS: Final = (0.1,)
"""Shares of the run that are honest before the way back: later beginnings take more segments."""


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
