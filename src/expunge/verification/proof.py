"""Proofs of training: the checkpoints of a run every so many steps, the rows of every step, and the recipe.

Source: proof of learning (Jia et al., S&P 2021); as a proof of retraining in Zhang et al., ICML 2024, section 2.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Any, Final

import torch
from jaxtyping import Int
from safetensors.torch import save
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.networks import State, initialise, state_of
from expunge.records import Records
from expunge.training import (
    BatchStream,
    Checkpoints,
    Course,
    CourseResults,
    MemoryCheckpoints,
    Recipe,
    Snapshot,
    Stage,
    fingerprint,
    run_courses,
)

STATISTICS: Final = ("running_mean", "running_var", "num_batches_tracked")

AROUND: Final = 8
"""Segments on either side that say how far the inner state ordinarily moves."""


@dataclass(frozen=True, eq=False)
class Track:
    """One stage of a run as it is claimed to have gone.

    **Arguments:**

    - `stage`, `seed`: what was trained through, and the seed of batches and of what is random inside the network.
    - `snapshots`: before the first step, every so many steps, and after the last; the last has no optimiser state.
    - `batches`: rows of each step, -1 where a place was left empty; `None` where the schedule is drawn and nobody has
      a choice.
    """

    stage: Stage
    seed: int
    snapshots: tuple[Snapshot, ...]
    batches: Int[Tensor, "steps width"] | None = None

    @property
    def segments(self) -> int:
        """Stretches between neighbouring snapshots."""
        return len(self.snapshots) - 1

    def thinned(self, every: int) -> "Track":
        """The same track with a snapshot every `every` steps only; both ends stay."""
        last = self.snapshots[-1]
        kept = [snapshot for snapshot in self.snapshots[:-1] if snapshot.step % every == 0]
        return replace(self, snapshots=(*kept, last))


@dataclass(frozen=True, eq=False)
class Proof:
    """What a provider hands over: everything that replaying takes but the records themselves.

    **Arguments:**

    - `recipe`: what each step was made by.
    - `ids`: the records that the rows count in.
    - `tracks`: stage after stage, course after course.
    - `platform`: the fingerprint of the machine that trained.
    """

    recipe: Recipe
    ids: tuple[str, ...]
    tracks: tuple[Track, ...]
    platform: dict[str, Any]

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return sum(track.snapshots[-1].step for track in self.tracks)

    @property
    def segments(self) -> list[tuple[int, int]]:
        """(track, number) of every segment."""
        return [(place, number) for place, track in enumerate(self.tracks) for number in range(track.segments)]

    @cached_property
    def digests(self) -> tuple[bytes, ...]:
        """SHA-256 of every snapshot, in order: the leaves that a provider commits to."""
        return tuple(snapshot_digest(snapshot) for track in self.tracks for snapshot in track.snapshots)

    @cached_property
    def displacements(self) -> dict[tuple[int, int], float]:
        """How far each segment moved the weights, in L2; running statistics move by themselves and are left out."""
        found: dict[tuple[int, int], float] = {}
        for place, track in enumerate(self.tracks):
            states = [_weights(snapshot.state) for snapshot in track.snapshots]
            found |= {(place, number): distance(*pair) for number, pair in enumerate(pairwise(states))}
        return found

    @cached_property
    def inner_displacements(self) -> dict[tuple[int, int], float]:
        """How far each segment moved optimiser state and running statistics, over what the segments around it do.

        The largest over the tensors. A made-up momentum is far from the state before it, whatever its own size; a state
        that grows or settles over the run moves as its neighbours do.
        """
        found: dict[tuple[int, int], float] = {}
        for place, track in enumerate(self.tracks):
            shares = [_over_neighbours(gaps) for gaps in _inner_gaps(track).values()]
            found |= {(place, n): max((each[n] for each in shares), default=0.0) for n in range(track.segments)}
        return found

    def thinned(self, every: int) -> "Proof":
        """The same proof with a snapshot every `every` steps only."""
        return replace(self, tracks=tuple(track.thinned(every) for track in self.tracks))


@dataclass
class Recorder(MemoryCheckpoints):
    """The writer: given to the trainer as its checkpoints, it keeps every snapshot that the trainer offers."""

    taken: dict[str, list[Snapshot]] = field(default_factory=dict)

    def load_snapshot(self, name: str) -> Snapshot | None:
        """None: a recorded run is never resumed."""
        del name
        return None

    def save_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot beside those before."""
        self.taken.setdefault(name, []).append(snapshot)

    def track(self, stage: Stage, seed: int, start: State, recipe: Recipe, *, batches: bool = False) -> Track:
        """The track of a finished stage that began at `start`."""
        steps = stage.steps(recipe.batch_size)
        inner = [snapshot for snapshot in self.taken.get(stage.name, []) if snapshot.step < steps]
        ends = Snapshot(0, start, {}), Snapshot(steps, self.states[stage.name], {})
        rows = BatchStream(stage, recipe.batch_size, seed).block(0, steps) if batches else None
        return Track(stage, seed, (ends[0], *inner, ends[1]), rows)


def prove_courses(
    recipe: Recipe,
    records: Records,
    plan: Sequence[Course],
    *,
    every: int,
    batches: bool = False,
    threads: int = 1,
) -> tuple[Proof, CourseResults, Checkpoints]:
    """Run courses as `run_courses` does, and write the proof; also what they gave, and the finished stages.

    **Arguments:** `every`: steps between checkpoints, the knob between size and the finest check; `batches`: write the
    rows of each step down, for a verifier that does not draw them itself.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for `every` below 1, and as `run_courses`.
    """
    if every < 1:
        raise ProgrammerError("bad-hyperparameter", f"a checkpoint every {every} steps cannot be")
    recorder = Recorder(every=every)
    result = run_courses(recipe, records, plan, checkpoints=recorder, threads=threads)
    tracks = []
    for course in plan:
        state = start_of(recipe, records, course)
        for stage in course.stages if course.stages[-1].rows else ():
            tracks.append(recorder.track(stage, course.seed, state, recipe, batches=batches))
            state = recorder.states[stage.name]
    proof = Proof(recipe, records.ids, tuple(tracks), dict(fingerprint(threads)))
    return proof, result, MemoryCheckpoints(states=recorder.states)


def start_of(recipe: Recipe, records: Records, course: Course) -> State:
    """The weights that a course starts from."""
    if course.start is not None:
        return course.start
    return state_of(initialise(recipe.network, records.shape, records.classes, seed=course.seed, name=course.name))


def snapshot_bytes(snapshot: Snapshot) -> bytes:
    """A snapshot as safetensors: the same snapshot gives the same bytes."""
    parts = {f"state/{name}": tensor for name, tensor in snapshot.state.items()}
    parts |= {f"optimiser/{name}": tensor for name, tensor in snapshot.optimiser.items()}
    return save({name: tensor.contiguous() for name, tensor in parts.items()}, {"step": str(snapshot.step)})


def snapshot_digest(snapshot: Snapshot) -> bytes:
    """SHA-256, 32 bytes, over step, names, types, shapes and values, each text led by its length."""
    content = hashlib.sha256(b"expunge snapshot 1" + snapshot.step.to_bytes(8, "big"))
    for kind, tensors in (("state", snapshot.state), ("optimiser", snapshot.optimiser)):
        for name in sorted(tensors):
            dtype, shape, data = _as_bytes(tensors[name])
            words = f"{kind}/{name}/{dtype}/{list(shape)}".encode()
            content.update(len(words).to_bytes(8, "big") + words)
            content.update(data)
    return content.digest()


def is_statistic(name: str) -> bool:
    """Whether a tensor of a network's state is a running statistic of batch norm, which no optimiser moves."""
    return name.rsplit(".", 1)[-1] in STATISTICS


def same_bytes(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    """Whether two states have the same tensors: names, types, shapes and bytes, the sign of a zero among them."""
    return left.keys() == right.keys() and all(_as_bytes(left[name]) == _as_bytes(right[name]) for name in left)


def kinds(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    """Names, types and shapes of a state's tensors."""
    return {name: (tensor.dtype, tensor.shape) for name, tensor in state.items()}


def _as_bytes(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return tensor.dtype, tensor.shape, flat.numpy().tobytes()


def gap(left: Tensor, right: Tensor) -> float:
    """L2 distance of two tensors, in double precision."""
    return float((left.double() - right.double()).norm())


def relative(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    """The largest relative L2 difference of a tensor that both hold; infinite where they hold other names or shapes."""
    if not right:
        return 0.0
    kinds = [{name: tensor.shape for name, tensor in side.items()} for side in (left, right)]
    if kinds[0] != kinds[1]:
        return float("inf")
    sizes = {name: float(left[name].double().norm().clamp_min(1e-12)) for name in left}
    return max((gap(left[name], right[name]) / size for name, size in sizes.items()), default=0.0)


def distance(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    """L2 distance over all tensors of two states, in double precision."""
    squares = [(left[name].double() - right[name].double()).square().sum() for name in left]
    return float(torch.stack(squares).sum().sqrt())


def _weights(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not is_statistic(name)}


def _inner_gaps(track: Track) -> dict[str, list[float]]:
    """L2 distance of each inner tensor over each segment; it begins at zero, and is not written down at the end."""
    inner = [_inner(snapshot.state, snapshot.optimiser) for snapshot in track.snapshots]
    names = dict.fromkeys(name for each in inner for name in each)
    pairs = list(pairwise(inner))
    return {name: [_gap(before.get(name), after.get(name)) for before, after in pairs] for name in names}


def _inner(state: State, optimiser: State) -> Mapping[str, Tensor]:
    """Optimiser state and running statistics; the rest of the state is weights."""
    statistics = {f"state/{name}": tensor for name, tensor in state.items() if is_statistic(name)}
    return {**optimiser, **statistics}


def _gap(before: Tensor | None, after: Tensor | None) -> float:
    if after is None:
        return 0.0
    return gap(torch.zeros_like(after) if before is None else before, after)


def _over_neighbours(gaps: Sequence[float]) -> list[float]:
    around = [[*gaps[max(0, n - AROUND) : n], *gaps[n + 1 : n + 1 + AROUND]] for n in range(len(gaps))]
    usual = [median([each for each in some if each] or [0.0]) for some in around]
    return [each / max(ordinary, 1e-12) if each else 0.0 for each, ordinary in zip(gaps, usual, strict=True)]
