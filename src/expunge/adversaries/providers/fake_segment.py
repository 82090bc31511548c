"""Faked segments: one jump back to the original model, or ordinary-sized steps on what was to be forgotten."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from expunge.adversaries.providers.contract import Case, Description, Handed, trained_on
from expunge.randomness import numpy_generator
from expunge.training import BatchStream, Snapshot


@dataclass(frozen=True)
class FakeSegments:
    """Follow the drawn schedule but for `count` segments.

    **Arguments:**

    - `how`: `"jump"` puts the original weights at the end of a segment; `"train"` makes real steps of ordinary size
      there, on batches that hold forgotten records.
    - `where`: `"last"` fakes the last ones: what they end in is deployed, and no honest step washes it out.
    - `seed`: of where.
    """

    count: int = 1
    how: Literal["jump", "train"] = "jump"
    where: Literal["anywhere", "last"] = "anywhere"
    seed: int = 0

    def describe(self) -> Description:
        """The attack in words."""
        name = "fake-segment" if self.how == "jump" else "fake-small-segment"
        name = "fake-last-segment" if self.where == "last" else name
        return Description(name, f"Follow the schedule but for {self.count} segment(s).", "spec of Expunge")

    def run(self, case: Case) -> Handed:
        """A run of which all segments but `count` are honest."""
        drawn = BatchStream(case.stage, case.recipe.batch_size, case.recipe.seed).block(0, case.steps)
        snapshots = [Snapshot(0, case.start, {})]
        for number in sorted(self.places(case)):
            first, last = number * case.every, min((number + 1) * case.every, case.steps)
            snapshots += _honest(case, drawn, snapshots[-1], first)
            snapshots.append(self._faked(case, drawn, snapshots[-1], last))
        snapshots += _honest(case, drawn, snapshots[-1], case.steps)
        return case.handed(case.proof(tuple(snapshots), drawn), evaluations=drawn.numel())

    def _faked(self, case: Case, drawn: Tensor, before: Snapshot, last: int) -> Snapshot:
        """Where a faked segment that begins at `before` is said to end."""
        if self.how == "jump":
            return Snapshot(last, case.model.constituents[0] or {}, before.optimiser)
        rows = _forgotten(case, drawn, before.step, last)
        return trained_on(case, case.records, lambda module: rows, snapshot=before, until=last)[-1]

    def places(self, case: Case) -> frozenset[int]:
        """Which segments are faked; a jump is not made in the last segment, where the model would be the original."""
        segments = -(-case.steps // case.every)
        if self.where == "last":
            return frozenset(range(max(0, segments - self.count), segments))
        generator = numpy_generator(self.seed, "adversaries/fake-segments")
        among = segments - 1 if self.how == "jump" and segments > 1 else segments
        return frozenset(generator.choice(among, min(self.count, among), replace=False).tolist())


def _honest(case: Case, drawn: Tensor, before: Snapshot, until: int) -> tuple[Snapshot, ...]:
    """The drawn steps from `before` on: snapshots after it."""
    if before.step >= until:
        return ()
    return trained_on(case, case.retained, lambda module: drawn, snapshot=before, until=until)[1:]


def _forgotten(case: Case, drawn: Tensor, first: int, last: int) -> Tensor:
    """The drawn batches, as rows of all records, with forgotten records in the first places of steps to be faked."""
    gone = torch.tensor(case.records.rows(case.forget))
    table = torch.tensor([case.records.row_of[record] for record in case.retained.ids])
    rows = table[drawn]
    width = min(len(gone), rows.shape[1])
    for step in range(first, last):
        start = step * width % len(gone)
        rows[step, :width] = gone.repeat(2)[start : start + width]
    return rows
