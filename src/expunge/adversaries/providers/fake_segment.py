"""Faked segments: one jump back to the original model, or ordinary-sized steps on what was to be forgotten."""

from dataclasses import dataclass, replace
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
    - `seed`: of where.
    """

    count: int = 1
    how: Literal["jump", "train"] = "jump"
    seed: int = 0

    def describe(self) -> Description:
        """The attack in words."""
        name = "fake-segment" if self.how == "jump" else "fake-small-segment"
        return Description(name, f"Follow the schedule but for {self.count} segment(s).", "spec of Expunge")

    def run(self, case: Case) -> Handed:
        """A run of which all segments but `count` are honest."""
        drawn = BatchStream(case.stage, case.recipe.batch_size, case.recipe.seed).block(0, case.steps)
        faked = self.places(case)
        snapshots = [Snapshot(0, case.start, {})]
        for number in range(-(-case.steps // case.every)):
            first, last = number * case.every, min((number + 1) * case.every, case.steps)
            if number in faked and self.how == "jump":
                snapshots.append(Snapshot(last, case.model.constituents[0] or {}, snapshots[-1].optimiser))
                continue
            records = case.records if number in faked else case.retained
            rows = _forgotten(case, drawn, first, last) if number in faked else drawn
            made = trained_on(case, records, lambda module, rows=rows: rows, snapshot=snapshots[-1], until=last)  # type: ignore[misc]
            snapshots.append(made[-1])
        proof = replace(case.original, recipe=case.recipe, ids=case.retained.ids)
        return case.handed(replace(proof, tracks=case.proof(tuple(snapshots), drawn).tracks), evaluations=drawn.numel())

    def places(self, case: Case) -> frozenset[int]:
        """Which segments are faked; a jump is not made in the last segment, where the model would be the original."""
        segments = -(-case.steps // case.every)
        generator = numpy_generator(self.seed, "adversaries/fake-segments")
        among = segments - 1 if self.how == "jump" and segments > 1 else segments
        return frozenset(generator.choice(among, min(self.count, among), replace=False).tolist())


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
