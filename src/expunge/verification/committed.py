"""Committed-schedule verification: the verifier's side.

Both published attacks live on two freedoms, the choice of batches and a generous tolerance. Here the schedule is
drawn after the data was committed, the checkpoints are committed before the verifier draws what to replay, and on the
same platform bytes are compared. Cheap checks cover everything (roots, initial weights, shape of the run, the deployed
file); replay covers a sample, and always the segments that moved the weights furthest.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from expunge.errors import ExpungeError
from expunge.randomness import numpy_generator
from expunge.training import Model, Recipe, courses
from expunge.verification.cheap import CheapChecks
from expunge.verification.proof import Proof, distance, kinds
from expunge.verification.provable import Plan, Submission, covered, run_whole
from expunge.verification.replay import BYTES, Replayed, Replayer, Tolerance
from expunge.verification.schedule import Retained
from expunge.verification.segments import Place, along_path, evaluations, last_of_courses, ranked, with_before
from expunge.verification.verdict import Check, Refused, Undecided, Verdict, answered, demand

LOOSEST: Final = 0.01
"""A tolerance above this share of what a segment moves (the median) decides nothing."""


@dataclass(frozen=True)
class SpotCheck:
    """How the verifier spends its work.

    **Arguments:**

    - `share`: of retraining's gradients that replay may take.
    - `largest`: segments replayed for having moved furthest: the weights over the sum of learning rates, and the inner
      state (optimiser, running statistics) against the segments around. A jump shows in one of the two. The segment
      before the first is replayed too: a lie about momentum is told there, and only acted on in the next.
    - `path`: drawn by the way that each and the next went. Whoever returns to weights at distance D in a run of length
      P goes D in segments that were faked, in however many pieces: each draw meets one with probability D / P or so.
    - `ends`: last segments of networks, by chance where there are more: what they end in is deployed, and no honest
      step after them washes a lie out.
    - `least`: segments drawn from the whole run at least. A provider chooses the interval, and a coarse one would leave
      nothing to chance; more work than `share` is then done, and said.
    - `early`: drawn from the first tenth, where altered steps err most; all others are drawn from the whole run.
    - `seed`: of the verifier's draw; `None` for one from the operating system, which no provider can foresee.
    - `threads`, `tolerance`: of the replay; another platform than the provider's wants a calibrated tolerance.
    """

    share: float = 0.1
    largest: int = 2
    path: int = 2
    ends: int = 2
    early: int = 1
    least: int = 4
    seed: int | None = None
    threads: int = 1
    tolerance: Tolerance = BYTES

    def choose(self, proof: Proof, recipe: Recipe, count: int) -> tuple[list[Place], int]:
        """`count` segments to replay, or as many as must be, and how many of them were drawn from the whole run."""
        everything = proof.segments
        generator = numpy_generator(secrets.randbits(62) if self.seed is None else self.seed, "verification/segments")
        order = [everything[place] for place in generator.permutation(len(everything)).tolist()]
        must = with_before(ranked(proof, recipe)[: self.largest]) if self.largest else []
        must = list(dict.fromkeys([*must, *self._ends(proof, order)]))
        must += list(islice((place for place in along_path(proof, generator) if place not in must), self.path))
        count = max(count, len(must) + self.early + self.least)
        if count >= len(everything):
            return everything, len(everything)
        first = set(everything[: max(1, len(everything) // 10)])
        must += [place for place in order if place in first and place not in must][: self.early]
        rest = [place for place in order if place not in must][: count - len(must)]
        return [*must, *rest], len(rest)

    def _ends(self, proof: Proof, order: Sequence[Place]) -> list[Place]:
        found = set(last_of_courses(proof))
        return [place for place in order if place in found][: self.ends]

    def verify(
        self,
        submission: Submission,
        retained: Retained,
        nonce: str,
        *,
        transcript: str | None = None,
        deployed: bytes | None = None,
        owners: Sequence[str] = (),
        calibrated: Callable[[], Tolerance] | None = None,
    ) -> Verdict:
        """Judge a submission.

        **Arguments:**

        - `retained`: the retained records, from wherever the verifier has them.
        - `nonce`: the verifier's own.
        - `transcript`: what the provider committed to before this call; `None` where the submission itself came first.
        - `deployed`: bytes of the model file that is in use, by default those of the submission.
        - `owners`: people whose records are gone, where the verifier may know them: their shards must be retrained.
        - `calibrated`: finds the tolerance in place of `tolerance`; called once all that is cheap to check holds.

        No dishonest submission raises: whatever is wrong with it is a check that does not hold.
        """
        cheap = CheapChecks(submission, retained, nonce, transcript, deployed, owners)
        return _Verification(self, cheap, calibrated).verdict()


@dataclass(eq=False)
class _Verification:
    """One call of `verify`."""

    how: SpotCheck
    cheap: CheapChecks
    calibrated: Callable[[], Tolerance] | None

    def __post_init__(self) -> None:
        self.tolerance = self.how.tolerance
        self.replayed: list[Replayed] = []
        self.draws, self.work = 0, 0.0
        self.guarantee: tuple[float, float] | None = None

    def verdict(self) -> Verdict:
        """All checks in order, what is cheap before what trains."""
        steps = (*self.cheap.steps, ("platform", self._platform), ("replay", self._replay))
        checks: list[Check] = []
        for name, step in steps:
            checks.append(answered(name, step))
            if not checks[-1].holds:
                break  # refused, or undecided
        checks += [Check(name, None, "not reached") for name, _ in steps[len(checks) :]]
        count = sum(len(track.snapshots) - 1 for track in self.cheap.given.proof.tracks)
        found, notes = tuple(self.replayed), tuple(self.cheap.degraded)
        claim = (self.cheap.claim, self.guarantee)
        return Verdict(tuple(checks), count, found, self.draws, self.work, self.tolerance, notes, *claim)

    def _platform(self) -> str:
        """A tolerance must be small beside what a segment moves, or everything would pass."""
        self.tolerance = self._calibrated()
        tolerance, moved = self.tolerance, sorted(self.cheap.given.proof.displacements.values())
        if tolerance.value == 0:
            return "the provider's platform: bytes are compared"
        self.cheap.degraded.append(
            "The provider says that it ran on another platform than this: a tolerance takes the place of equal bytes."
        )
        middle = moved[len(moved) // 2] if moved else float("inf")
        if tolerance.value > LOOSEST * middle or (moved and tolerance.optimiser > LOOSEST):
            raise Undecided(
                f"honest replays of this recipe differ by up to {tolerance.value:.3g} here, and a segment moves "
                f"{middle:.3g}: replay on the provider's platform"
            )
        return f"tolerance {tolerance.value:.3g}, {tolerance.source}"

    def _calibrated(self) -> Tolerance:
        try:
            return self.tolerance if self.calibrated is None else self.calibrated()
        except ExpungeError as error:
            raise Undecided(f"no honest run of this recipe was possible here: {error}") from None

    def _replay(self) -> str:
        return self._whole() if self.cheap.plan is None else self._segments(self.cheap.plan)

    def _whole(self) -> str:
        done = run_whole(
            self.cheap.method,
            self.cheap.recipe,
            self.cheap.retained.records,
            self.cheap.drawn,
            self.cheap.before,
            self.how.threads,
        )
        self.work = done.cost.gradient_evaluations / self._retraining()
        left = covered(done.claim, self.cheap.given.share)
        self.cheap.claim = left.kind
        if left.epsilon is not None and left.delta is not None:
            self.guarantee = (left.epsilon, left.delta)
        self._agrees(done.trained.model)
        return f"the whole method was run again: {self.work:.1%} of retraining's gradients"

    def _agrees(self, ours: Model) -> None:
        """The model that is handed over is the replayed one; a tolerance is for numbers, not for what else is there."""
        if self.tolerance.value == 0:
            demand(ours.file == self.cheap.given.model, "the replayed method gives another model")
            return
        theirs = replace(ours, constituents=Model.from_file(ours.recipe, self.cheap.given.model).constituents)
        parts = [[kinds(state or {}) for state in model.constituents] for model in (ours, theirs)]
        same = theirs.file == self.cheap.given.model and parts[0] == parts[1]
        demand(same, "the model file holds something else than the network's tensors")
        pairs = zip(ours.constituents, theirs.constituents, strict=True)
        error = max(distance(mine or {}, given or {}) for mine, given in pairs)
        demand(error <= self.tolerance.value, f"the replayed method ends {error:.3g} away")

    def _segments(self, plan: Plan) -> str:
        part, proof = self.cheap.retained.records.train, self.cheap.given.proof
        retraining = self._retraining()
        most = max(evaluations(proof, plan.recipe, place) for place in proof.segments)
        count = int(self.how.share * retraining // most)
        where, self.draws = self.how.choose(proof, plan.recipe, max(1, count))
        if len(where) > count:
            self.cheap.degraded.append(
                f"{len(where)} segments were replayed, which is more work than was allowed: fewer prove little."
            )
        replayer = Replayer(part, self.how.threads)
        bare = replace(proof, recipe=plan.recipe, tracks=tuple(replace(t, batches=None) for t in proof.tracks))
        for track, number in where:
            try:
                self.replayed.append(replayer.segment(bare, track, number))
            except (IndexError, KeyError, RuntimeError, ValueError):  # from torch, on an optimiser state made up
                raise Refused(f"{proof.tracks[track].stage.name}: the optimiser's state is no such state") from None
            self.work += evaluations(proof, plan.recipe, (track, number)) / retraining
            found = self.replayed[-1]
            words = f"{proof.tracks[track].stage.name}, steps {found.first} to {found.last}: error {found.error:.3g}"
            demand(found.passes(self.tolerance), words)
        return f"{len(where)} of {len(proof.segments)} segments replayed; tolerance {self.tolerance.value:.3g}"

    def _retraining(self) -> int:
        """Gradients of single records that retraining takes."""
        plan = courses(self.cheap.recipe, self.cheap.retained.records.train)
        return max(1, sum(course.evaluations(self.cheap.recipe.batch_size) for course in plan))
