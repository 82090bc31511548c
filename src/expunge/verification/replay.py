"""Replay: run a segment again from its opening checkpoint, and see how far from the recorded one it ends.

On the platform of the proof an honest segment ends in the same bytes. On another (more threads) it does not, and the
tolerance is calibrated on honest replays: never on how far apart independently trained models lie.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from jaxtyping import Int
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.networks import initialise, state_of
from expunge.records import Records
from expunge.training import Batches, Recipe, Snapshot, deterministic
from expunge.training.engine import run_stage
from expunge.verification.proof import Proof, Track, distance, relative, same_bytes


@dataclass(frozen=True)
class Tolerance:
    """How far a replay may end from what was recorded, in L2 over all weights, and where the figure is from.

    At 0 the bytes must be equal, the optimiser's state among them. `optimiser`: how far its tensors may be off, each
    relative to its size; what a checkpoint says of momentum is as good a place to lie as its weights.
    """

    value: float
    source: str
    optimiser: float = float("inf")


BYTES: Final = Tolerance(0.0, "same platform: the bytes must be equal")

NOBODY: Final = -1
"""In a proof's rows: a place of the batch that was left empty."""

POL_DEFAULT: Final = Tolerance(10.0, "default L2 tolerance of proof of learning (Jia et al. 2021)")

MARGIN: Final = 10.0
"""A calibrated tolerance is this many times the largest error of an honest replay."""


@dataclass(frozen=True)
class Replayed:
    """One segment replayed.

    **Arguments:** `track`, `number`: which; `first`, `last`: its steps; `error`: L2 distance; `identical`: to the byte;
    `optimiser`: relative difference of the optimiser's state.
    """

    track: int
    number: int
    first: int
    last: int
    error: float
    identical: bool
    optimiser: float = 0.0

    def passes(self, tolerance: Tolerance) -> bool:
        """Whether a verifier with this tolerance lets the segment pass."""
        if tolerance.value == 0:
            return self.identical
        return self.error <= tolerance.value and self.optimiser <= tolerance.optimiser


@dataclass(frozen=True, eq=False)
class Replayer:
    """Replays segments of proofs over `records`, the records that the proof's rows count in, in their order."""

    records: Records
    threads: int = 1

    def segment(self, proof: Proof, track: int, number: int, batches: Batches | None = None) -> Replayed:
        """One segment: on `batches`, else on those that the track wrote down, else on those that its seed draws."""
        claimed = proof.tracks[track]
        first, after = claimed.snapshots[number], claimed.snapshots[number + 1]
        written = None if claimed.batches is None else Narrowed(claimed.batches)
        rows = batches if batches is not None else written
        found = self.run(proof.recipe, claimed, first, after.step, rows)
        last = number + 1 == claimed.segments
        same = same_bytes(found.state, after.state) and (last or same_bytes(found.optimiser, after.optimiser))
        off = 0.0 if last else relative(found.optimiser, after.optimiser)
        if not last and found.optimiser.keys() != after.optimiser.keys():
            off = float("inf")
        return Replayed(track, number, first.step, after.step, distance(found.state, after.state), same, off)

    def run(
        self, recipe: Recipe, track: Track, first: Snapshot, until: int, batches: Batches | Tensor | None = None
    ) -> Snapshot:
        """Where the steps from `first` up to `until` lead; the optimiser's state is empty after the stage's last."""
        records = self.records
        module = initialise(recipe.network, records.shape, records.classes, seed=track.seed, name="replay")
        kept: list[Snapshot] = []
        with deterministic(self.threads):
            run_stage(
                module,
                recipe,
                track.stage,
                track.seed,
                records.features,
                records.targets,
                snapshot=first,
                every=until,
                keep=kept.append,
                batches=batches,
                until=until,
            )
        return kept[-1] if kept else Snapshot(until, state_of(module), {})

    def all(self, proof: Proof, which: Iterable[tuple[int, int]] | None = None) -> list[Replayed]:
        """The segments `which`, all by default."""
        return [self.segment(proof, track, number) for track, number in (proof.segments if which is None else which)]


@dataclass(frozen=True, eq=False)
class Narrowed:
    """Batches as a proof writes them down, without the places that hold nobody."""

    batches: Int[Tensor, "steps width"]

    def __getitem__(self, step: int) -> Int[Tensor, " width"]:
        """Rows of step `step`."""
        rows = self.batches[step]
        return rows[rows != NOBODY]


@dataclass(frozen=True, eq=False)
class Reversed:
    """Batches with their records in reverse: the same step but for how sums are rounded."""

    batches: Int[Tensor, "steps width"]

    def __getitem__(self, step: int) -> Int[Tensor, " width"]:
        """Rows of step `step`."""
        return self.batches[step].flip(0)


def calibrate(proof: Proof, records: Records, *, threads: Sequence[int] = (1, 2), most: int = 64) -> Tolerance:
    """The tolerance for proofs of this kind on other platforms: from honest replays of an honest proof of one's own.

    Replays up to `most` segments, evenly spread, with each number of threads and with the records of each batch in
    reverse; the tolerance is `MARGIN` times the largest error.

    **Raises:** `ProgrammerError("bad-shape")` for a proof without the rows of its steps.
    """
    if any(track.batches is None for track in proof.tracks):
        raise ProgrammerError("bad-shape", "calibration wants a proof that holds the rows of each step")
    where = proof.segments[:: max(1, len(proof.segments) // most)]
    errors, off = [0.0], [0.0]
    for count in threads:
        replayer = Replayer(records, count)
        for track, number in where:
            rows = proof.tracks[track].batches
            assert rows is not None
            found = [replayer.segment(proof, track, number, each) for each in (rows, Reversed(rows))]
            errors += [each.error for each in found]
            off += [each.optimiser for each in found]
    largest = max(errors)
    words = ", ".join(map(str, threads))
    return Tolerance(
        MARGIN * largest,
        f"{MARGIN:g} times the largest error, {largest:.3g}, of {len(errors) - 1} honest replays: "
        f"{words} threads, batches forwards and backwards",
        MARGIN * max(max(off), 1e-6),
    )
