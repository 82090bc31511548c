"""Committed-schedule verification: the verifier's side.

Both published attacks live on two freedoms, the choice of batches and a generous tolerance. Here the schedule is
drawn after the data was committed, the checkpoints are committed before the verifier draws what to replay, and on the
same platform bytes are compared. Cheap checks cover everything (roots, initial weights, shape of the run, the deployed
file); replay covers a sample, and always the segments that moved the weights furthest.
"""

import hashlib
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch

from expunge.errors import ExpungeError, ProviderDishonest
from expunge.networks import State
from expunge.plain import decode
from expunge.randomness import numpy_generator
from expunge.training import Adam, Course, Model, Recipe, courses, model_header
from expunge.training.curvature import Series
from expunge.unlearning import FineTune, L1Sparse, Method, Retrain, Sharded
from expunge.unlearning.fine_tune import Tuning
from expunge.verification.proof import Proof, Track, distance, start_of
from expunge.verification.provable import WHOLE, Plan, Submission, plan_of, run_whole
from expunge.verification.replay import BYTES, Replayed, Replayer, Tolerance
from expunge.verification.schedule import Retained, drawn, schedule_seed, share_digest

METHODS: Final = (Retrain, Sharded, FineTune, L1Sparse, *WHOLE, Series)
"""Classes that a commitment may name as its method."""


@dataclass(frozen=True)
class Check:
    """One check: `name`, whether it holds (`None`: not reached), and a sentence."""

    name: str
    holds: bool | None
    message: str


@dataclass(frozen=True)
class Verdict:
    """What the verifier found.

    **Arguments:**

    - `checks`: in order; a failed one stops those that stand on it.
    - `segments`: of the run; `replayed`: those that were run again; `drawn`: how many of these were drawn at random.
    - `work`: gradients of single records that replay took, as a share of retraining's.
    - `degraded`: what fell short, one sentence each.
    """

    checks: tuple[Check, ...]
    segments: int
    replayed: tuple[Replayed, ...]
    drawn: int
    work: float
    tolerance: Tolerance
    degraded: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every check was made and holds."""
        return all(check.holds is True for check in self.checks)

    def would_find(self, share: float) -> float:
        """Probability at least that a provider faking this share of the segments had been found by the random draws.

        1 - (1 - f)^q: draws without repetition find no less.
        """
        return 1.0 if len(self.replayed) == self.segments and share > 0 else detection(share, self.drawn)

    def demand(self) -> "Verdict":
        """This verdict, or the first failed check raised; raises `ProviderDishonest("evidence-refused")`."""
        for check in self.checks:
            if check.holds is not True:
                raise ProviderDishonest("evidence-refused", f"{check.name}: {check.message}")
        return self


def detection(share: float, draws: int) -> float:
    """Probability that `draws` random segments meet a faked one when a `share` of them is faked: 1 - (1 - f)^q."""
    return float(1.0 - (1.0 - share) ** draws)


@dataclass(frozen=True)
class SpotCheck:
    """How the verifier spends its work.

    **Arguments:**

    - `share`: of retraining's gradients that replay may take.
    - `largest`: segments replayed for having moved furthest: the weights, by distance and by distance over the sum of
      learning rates, and the optimiser's state. A jump shows in one of the three. The segment before each of the first
      two is replayed too: a lie about momentum is told there, and only acted on in the next.
    - `least`: segments drawn from the whole run at least. A provider chooses the interval, and a coarse one would leave
      nothing to chance; more work than `share` is then done, and said.
    - `early`: drawn from the first tenth, where altered steps err most; all others are drawn from the whole run.
    - `seed`: of the verifier's draw; `None` for one from the operating system, which no provider can foresee.
    - `threads`, `tolerance`: of the replay; another platform than the provider's wants a calibrated tolerance.
    """

    share: float = 0.1
    largest: int = 3
    early: int = 1
    least: int = 4
    seed: int | None = None
    threads: int = 1
    tolerance: Tolerance = BYTES

    def choose(self, proof: Proof, recipe: Recipe, count: int) -> tuple[list[tuple[int, int]], int]:
        """`count` segments to replay, and how many of them were drawn from the whole run."""
        everything = proof.segments
        if count >= len(everything):
            return everything, len(everything)
        ranked = _with_before(_ranked(proof, recipe)[: self.largest])[:count] if self.largest else []
        generator = numpy_generator(secrets.randbits(62) if self.seed is None else self.seed, "verification/segments")
        order = [everything[place] for place in generator.permutation(len(everything)).tolist()]
        first = set(everything[: max(1, len(everything) // 10)])
        early = [place for place in order if place in first][: min(self.early, count - len(ranked))]
        rest = order[: count - len(ranked) - len(early)]
        return list(dict.fromkeys([*ranked, *early, *rest])), len(rest)

    def verify(
        self,
        submission: Submission,
        retained: Retained,
        nonce: str,
        *,
        transcript: str | None = None,
        deployed: bytes | None = None,
        owners: Sequence[str] = (),
    ) -> Verdict:
        """Judge a submission.

        **Arguments:**

        - `retained`: the retained records, from wherever the verifier has them.
        - `nonce`: the verifier's own.
        - `transcript`: what the provider committed to before this call; `None` where the submission itself came first.
        - `deployed`: bytes of the model file that is in use, by default those of the submission.
        - `owners`: people whose records are gone, where the verifier may know them: their shards must be retrained.

        No dishonest submission raises: whatever is wrong with it is a check that does not hold.
        """
        return _Verification(self, submission, retained, nonce, transcript, deployed, owners).verdict()


class _Refused(Exception):
    """A check does not hold; those after it are not reached."""


class _Undecided(Exception):
    """A check that cannot be made: nobody is accused, and nothing holds."""


@dataclass(eq=False)
class _Verification:
    """One call of `verify`."""

    how: SpotCheck
    given: Submission
    retained: Retained
    nonce: str
    transcript: str | None
    deployed: bytes | None
    owners: Sequence[str]

    def __post_init__(self) -> None:
        self.replayed: list[Replayed] = []
        self.draws, self.work = 0, 0.0
        self.degraded: list[str] = []

    def verdict(self) -> Verdict:
        """All checks in order."""
        steps: tuple[tuple[str, Callable[[], str]], ...] = (
            ("deletion", self._deletion),
            ("retained data", self._data),
            ("draw", self._draw),
            ("transcript", self._transcript),
            ("schedule", self._schedule),
            ("start", self._start),
            ("model", self._model),
            ("displacement", self._displacement),
            ("platform", self._platform),
            ("replay", self._replay),
        )
        checks: list[Check] = []
        for name, step in steps:
            checks.append(_answer(name, step))
            if not checks[-1].holds:
                break  # refused, or undecided
        checks += [Check(name, None, "not reached") for name, _ in steps[len(checks) :]]
        count = sum(len(track.snapshots) - 1 for track in self.given.proof.tracks)
        return Verdict(
            tuple(checks), count, tuple(self.replayed), self.draws, self.work, self.how.tolerance, tuple(self.degraded)
        )

    def _deletion(self) -> str:
        _demand(self.given.commitment.joins, "the data roots differ in more than tombstones")
        return "the retained data is the old data with tombstones and no other change"

    def _data(self) -> str:
        commitment, records = self.given.commitment, self.retained.records
        _demand(tuple(records.shape) == commitment.shape, "the records have another shape than was committed to")
        _demand(records.classes == commitment.classes, "the records have other classes than were committed to")
        _demand(self.retained.size == commitment.size, "the tree has another size")
        _demand(self.retained.root == commitment.root, "the retained records at hand are not those committed to")
        self.method: Method = decode(commitment.method, METHODS)
        refitted = isinstance(self.method, Tuning) or records.refit() is records
        _demand(refitted, "the column preparation is not what the retained records alone call for")
        return f"{len(records)} records open the committed root"

    def _draw(self) -> str:
        given = self.given
        _demand(given.nonce == self.nonce, "the run was made under another nonce")
        _demand(share_digest(given.share) == given.commitment.share, "the provider's share is not the committed one")
        self.drawn = drawn(given.commitment.root, self.nonce, given.share)
        return "root, nonce and share give the seed; neither side chose it"

    def _transcript(self) -> str:
        wanted = self.given.transcript if self.transcript is None else self.transcript
        _demand(self.given.transcript == wanted, "checkpoints or model are not those committed to")
        return "the checkpoints are those that were committed to before the segments were drawn"

    def _schedule(self) -> str:
        given, part = self.given, self.retained.records.train
        recipe = Recipe.from_json(given.commitment.recipe)
        self.before = self._old_model(recipe)
        self._shards(recipe)
        plan = plan_of(self.method, recipe, part, schedule_seed(self.drawn), given.commitment.touched, self.before)
        self.recipe, self.plan = recipe, plan
        if plan is None:
            _demand(not given.proof.tracks, "a method that is replayed whole has no checkpoints")
            return "a short method: replayed whole"
        claimed = [(track.stage, track.seed) for track in given.proof.tracks]
        expected = [(stage, course.seed) for course in plan.todo for stage in course.stages]
        _demand(claimed == expected, "the stages are not those of the drawn schedule")
        frame = start_of(plan.recipe, part, Course("frame", (), 0))
        for track in given.proof.tracks:
            _demand(
                _well_cut(track, plan.recipe, given.commitment.every), f"{track.stage.name}: checkpoints are missing"
            )
            _demand(_fits(track, frame), f"{track.stage.name}: a checkpoint does not fit the network")
        _demand(given.proof.ids == part.ids, "the rows count in other records")
        _demand(bool(given.proof.segments), "there is no segment: nothing was trained, and nothing can be replayed")
        return f"{plan.steps} steps in {len(given.proof.segments)} segments, as drawn"

    def _start(self) -> str:
        if self.plan is None:
            return "replayed whole"
        part, tracks = self.retained.records.train, iter(self.given.proof.tracks)
        for course in self.plan.todo:
            state = start_of(self.plan.recipe, part, course)
            for stage in course.stages:
                track = next(tracks)
                _demand(_equal(track.snapshots[0].state, state), f"{stage.name} does not start where it must")
                ends = (track.snapshots[0].optimiser, track.snapshots[-1].optimiser)
                _demand(not any(ends), f"{stage.name} does not start and end with a fresh optimiser")
                state = track.snapshots[-1].state
        return "initial weights are the drawn ones, and the optimiser starts fresh"

    def _model(self) -> str:
        given = self.given
        if self.plan is not None:
            part = self.retained.records.train
            finals = {track.stage.name: track.snapshots[-1].state for track in given.proof.tracks}
            made = self.plan.model(part, finals, self.before)
            _demand(made.file == given.model, "the model is not what the last checkpoints give")
        deployed = given.model if self.deployed is None else self.deployed
        same = hashlib.sha256(deployed).digest() == hashlib.sha256(given.model).digest()
        _demand(same, "another model is deployed than the one that was proven")
        return "the deployed file is the model of the last checkpoints"

    def _displacement(self) -> str:
        proof = self.given.proof
        recipe = self.recipe if self.plan is None else self.plan.recipe
        for place, moved in proof.displacements.items():
            most = displacement_bound(proof, recipe, place)
            name, number = proof.tracks[place[0]].stage.name, place[1]
            _demand(moved <= most, f"{name}, segment {number}: moved {moved:.3g}, at most {most:.3g} is possible")
        return "no segment moved further than its steps allow"

    def _platform(self) -> str:
        """A tolerance must be small beside what a segment moves, or everything would pass."""
        tolerance, moved = self.how.tolerance, sorted(self.given.proof.displacements.values())
        if tolerance.value == 0:
            return "the provider's platform: bytes are compared"
        self.degraded.append(
            "The provider says that it ran on another platform than this: a tolerance takes the place of equal bytes."
        )
        middle = moved[len(moved) // 2] if moved else float("inf")
        if tolerance.value > LOOSEST * middle or (moved and tolerance.optimiser > LOOSEST):
            raise _Undecided(
                f"honest replays of this recipe differ by up to {tolerance.value:.3g} here, and a segment moves "
                f"{middle:.3g}: replay on the provider's platform"
            )
        return f"tolerance {tolerance.value:.3g}, {tolerance.source}"

    def _replay(self) -> str:
        return self._whole() if self.plan is None else self._segments(self.plan)

    def _whole(self) -> str:
        done = run_whole(self.method, self.recipe, self.retained.records, self.drawn, self.before, self.how.threads)
        self.work = done.cost.gradient_evaluations / self._retraining()
        if self.how.tolerance.value == 0:
            _demand(done.trained.model.file == self.given.model, "the replayed method gives another model")
        else:
            claimed = Model.from_file(done.trained.model.recipe, self.given.model)
            pairs = zip(done.trained.model.constituents, claimed.constituents, strict=True)
            error = max(distance(ours or {}, theirs or {}) for ours, theirs in pairs)
            _demand(error <= self.how.tolerance.value, f"the replayed method ends {error:.3g} away")
        return f"the whole method was run again: {self.work:.1%} of retraining's gradients"

    def _segments(self, plan: Plan) -> str:
        part, proof = self.retained.records.train, self.given.proof
        retraining = self._retraining()
        cost = [_evaluations(proof, plan.recipe, place) for place in proof.segments]
        count = int(self.how.share * retraining // max(cost)) if cost else 0
        needed = min(len(cost), self.how.largest + 2 + self.how.early + self.how.least)
        if count < needed and self.how.least:
            self.degraded.append(
                f"{needed} segments were replayed, which is more work than was allowed: fewer prove little."
            )
            count = needed
        where, self.draws = self.how.choose(proof, plan.recipe, max(1, count))
        replayer = Replayer(part, self.how.threads)
        bare = replace(proof, recipe=plan.recipe, tracks=tuple(replace(t, batches=None) for t in proof.tracks))
        for track, number in where:
            try:
                self.replayed.append(replayer.segment(bare, track, number))
            except (IndexError, KeyError, RuntimeError, ValueError):  # from torch, on an optimiser state made up
                raise _Refused(f"{proof.tracks[track].stage.name}: the optimiser's state is no such state") from None
            self.work += _evaluations(proof, plan.recipe, (track, number)) / retraining
            found = self.replayed[-1]
            words = f"{proof.tracks[track].stage.name}, steps {found.first} to {found.last}: error {found.error:.3g}"
            _demand(found.passes(self.how.tolerance), words)
        return f"{len(where)} of {len(proof.segments)} segments replayed; tolerance {self.how.tolerance.value:.3g}"

    def _retraining(self) -> int:
        """Gradients of single records that retraining takes."""
        plan = courses(self.recipe, self.retained.records.train)
        return max(1, sum(course.evaluations(self.recipe.batch_size) for course in plan))

    def _old_model(self, recipe: Recipe) -> Model | None:
        start, bound = self.given.start, self.given.commitment.start
        if isinstance(self.method, Retrain):
            return None
        _demand(
            start is not None and hashlib.sha256(start).hexdigest() == bound, "the old model is not the committed one"
        )
        written = model_header(start or b"").get("recipe")
        if written is None:
            self.degraded.append(
                "The old model's file names no recipe: that it was made by this one is the provider's word."
            )
        _demand(written in (None, recipe.digest), "the old model was made by another recipe than the committed one")
        return Model.from_file(recipe, start or b"")

    def _shards(self, recipe: Recipe) -> None:
        """Every shard that held a named owner must be among those trained anew."""
        touched, sharding = self.given.commitment.touched, recipe.sharding
        if isinstance(self.method, Retrain) or sharding is None:
            wanted = set(range(1 if sharding is None else sharding.shards))
        else:
            wanted = {sharding.place(owner)[0] for owner in self.owners if sharding.by == "owner"}
            if not wanted:
                self.degraded.append("That the right shards were trained anew shows only to who may name the owners.")
        most = 1 if sharding is None else sharding.shards
        _demand(bool(touched) and touched[-1] < most, "the constituents to work on are not those of the recipe")
        _demand(wanted <= set(touched), "a shard that held forgotten records was left as it was")


def displacement_bound(proof: Proof, recipe: Recipe, place: tuple[int, int]) -> float:
    """How far the weights can move in a segment, in L2; infinite where the recipe bounds neither weights nor steps.

    In a ball two points are 2 radius apart at most. A coordinate of Adam's step is at most `ADAM_STEP` learning rates
    (Cauchy-Schwarz over its two averages, at torch's 0.9 and 0.999), and its decay shrinks the weights besides.
    """
    track = proof.tracks[place[0]]
    start = track.snapshots[place[1]].state
    ball = float("inf") if recipe.radius is None else 2 * recipe.radius
    if not isinstance(recipe.optimiser, Adam) or any(not tensor.is_floating_point() for tensor in start.values()):
        return ball
    rates = recipe.optimiser.lr * _rates(proof, recipe, place)
    size = math.sqrt(sum(tensor.numel() for tensor in start.values()))
    norm = distance(start, {name: torch.zeros_like(tensor) for name, tensor in start.items()})
    reach = rates * ADAM_STEP * size
    return min(ball, reach + rates * recipe.optimiser.weight_decay * (norm + reach))


LOOSEST: Final = 0.01
"""A tolerance above this share of what a segment moves (the median) decides nothing."""

ADAM_STEP: Final = 7.3
"""Learning rates that a coordinate moves at most in a step of Adam: root of (0.1^2 / 0.001) / (1 - 0.81 / 0.999)."""


def _answer(name: str, step: Callable[[], str]) -> Check:
    try:
        return Check(name, True, step())
    except _Refused as refused:
        return Check(name, False, str(refused))
    except _Undecided as undecided:
        return Check(name, None, str(undecided))
    except ExpungeError as error:
        return Check(name, False, f"{error.code}: {error}")
    except Exception as error:
        return Check(name, False, f"it cannot be followed: {type(error).__name__}")


def _demand(holds: bool, why: str) -> None:
    if not holds:
        raise _Refused(why)


def _well_cut(track: Track, recipe: Recipe, every: int) -> bool:
    """Whether the snapshots stand where the commitment says."""
    steps = track.stage.steps(recipe.batch_size)
    wanted = [*range(0, steps, every), steps]
    return [snapshot.step for snapshot in track.snapshots] == wanted


def _fits(track: Track, frame: State) -> bool:
    """Whether all checkpoints have the tensors of the network, finite ones."""
    kinds = {name: (tensor.shape, tensor.dtype) for name, tensor in frame.items()}
    return all(
        {name: (tensor.shape, tensor.dtype) for name, tensor in snapshot.state.items()} == kinds
        and all(bool(torch.isfinite(tensor).all()) for tensor in snapshot.state.values())
        for snapshot in track.snapshots
    )


def _equal(left: State, right: State) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def _evaluations(proof: Proof, recipe: Recipe, place: tuple[int, int]) -> int:
    """Gradients of single records that replaying a segment takes."""
    track = proof.tracks[place[0]]
    first, last = (track.snapshots[place[1] + offset].step for offset in (0, 1))
    return (last - first) * min(recipe.batch_size, len(track.stage.rows))


def _ranked(proof: Proof, recipe: Recipe) -> list[tuple[int, int]]:
    """Segments by how far they moved: the weights over the learning rates, the weights, the optimiser, in turn."""
    moved = proof.displacements
    by_distance = sorted(moved, key=lambda place: -moved[place])
    by_rate = sorted(moved, key=lambda place: -moved[place] / _rates(proof, recipe, place))
    inner = proof.optimiser_displacements
    by_optimiser = sorted(moved, key=lambda place: -inner.get(place, 0.0))
    lists = zip(by_rate, by_distance, by_optimiser, strict=True)
    return list(dict.fromkeys(place for three in lists for place in three))


def _with_before(ranked: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The segments, and after each of the first two the one that leads to it."""
    found: list[tuple[int, int]] = []
    for number, (track, segment) in enumerate(ranked):
        found.append((track, segment))
        found += [(track, segment - 1)] if number < 2 and segment else []
    return list(dict.fromkeys(found))


def _rates(proof: Proof, recipe: Recipe, place: tuple[int, int]) -> float:
    """Sum of the learning rates of a segment's steps."""
    track = proof.tracks[place[0]]
    steps = track.stage.steps(recipe.batch_size)
    first, last = (track.snapshots[place[1] + offset].step for offset in (0, 1))
    return float(sum(recipe.schedule.factor(step, steps) for step in range(first, last))) or 1e-12
