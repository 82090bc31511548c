"""The literature's reproducing verification: no batch meets the forget set, and replayed steps end near the record.

Source: Jia et al., "Proof-of-Learning", S&P 2021 (intervals that moved furthest, default L2 tolerance 10), applied to
retraining by Weng et al. and by Zhang et al., ICML 2024. It asks neither why these batches were taken nor whether the
tolerance is far above what honest replays show: both published attacks pass it. See `committed` for what does not.
"""

from collections.abc import Collection
from dataclasses import dataclass

from expunge.errors import ProgrammerError
from expunge.records import Records
from expunge.verification.proof import Proof, Track
from expunge.verification.replay import POL_DEFAULT, Replayed, Replayer, Tolerance


@dataclass(frozen=True)
class ReproducingVerdict:
    """What the literature's verifier found.

    **Arguments:**

    - `meetings`: steps whose batch holds a forgotten record.
    - `replayed`: the segments that were run again.
    - `work`: share of the proof's steps that this took.
    """

    meetings: int
    replayed: tuple[Replayed, ...]
    tolerance: Tolerance
    work: float

    @property
    def passes(self) -> bool:
        """Whether the proof is accepted: removable and reproducible."""
        return self.meetings == 0 and all(each.passes(self.tolerance) for each in self.replayed)


@dataclass(frozen=True)
class Reproducing:
    """The verifier.

    **Arguments:**

    - `tolerance`: on the error of a segment.
    - `top`: segments to replay of each epoch, those that moved the weights furthest; 0 for all of them, as Zhang et al.
    """

    tolerance: Tolerance = POL_DEFAULT
    top: int = 0

    def verify(
        self, proof: Proof, records: Records, forget: Collection[str], *, threads: int = 1
    ) -> ReproducingVerdict:
        """Check a proof against `records`, which must hold every record that the proof names.

        **Raises:** `ProgrammerError("bad-shape")` for a proof without the rows of its steps;
        `RequesterError("unknown-record")` for one that names records which are not here.
        """
        if any(track.batches is None for track in proof.tracks):
            raise ProgrammerError("bad-shape", "the literature's verifier wants the rows of each step in the proof")
        records.rows(proof.ids)
        part = records.select([records.row_of[record] for record in proof.ids])
        which = self._chosen(proof, len(part))
        found = tuple(Replayer(part, threads).all(proof, which))
        gone = {row for row, record in enumerate(proof.ids) if record in set(forget)}
        meetings = sum(_meetings(track, gone) for track in proof.tracks)
        return ReproducingVerdict(
            meetings, found, self.tolerance, sum(each.last - each.first for each in found) / proof.steps
        )

    def _chosen(self, proof: Proof, records: int) -> list[tuple[int, int]]:
        """All segments, or the `top` of each epoch by displacement."""
        if not self.top:
            return proof.segments
        moved, epochs = proof.displacements, dict[tuple[int, int], list[tuple[int, int]]]()
        for track, number in proof.segments:
            claimed = proof.tracks[track]
            rows = claimed.batches
            epoch = claimed.snapshots[number].step * (1 if rows is None else rows.shape[1]) // max(records, 1)
            epochs.setdefault((track, epoch), []).append((track, number))
        ranked = (sorted(places, key=moved.__getitem__, reverse=True)[: self.top] for places in epochs.values())
        return sorted(place for places in ranked for place in places)


def _meetings(track: Track, gone: set[int]) -> int:
    assert track.batches is not None
    return sum(not gone.isdisjoint(batch) for batch in track.batches.tolist()) if gone else 0
