"""The least-squares head: its optimum hangs on two sums over the records, from which a record can be taken exactly.

Features are put on a grid, so that the sums are of whole numbers in double precision: below 2^53 nothing is rounded, in
whatever order they are added, and a record that is subtracted leaves the very sums of the others.
"""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.training.head import head_of

GRID: Final = 2.0**10
"""Steps of the grid in a unit of a feature; all features of a record together have norm 10."""

SUMS: Final = "head/sums"
"""Name under which the sums are kept beside the checkpoints of the stages."""

BATCH: Final = 512


@dataclass(frozen=True, eq=False)
class Sums:
    """X'X and X'Y over the records, in steps of the grid: whole numbers.

    **Arguments:** `second`: `[columns, columns]`; `first`: `[columns, classes]`; `count`: of records.
    """

    second: Float[Tensor, "columns columns"]
    first: Float[Tensor, "columns classes"]
    count: int

    def minus(self, gone: "Sums") -> "Sums":
        """Of the records without those of `gone`, which must be among them."""
        return Sums(self.second - gone.second, self.first - gone.first, self.count - gone.count)

    def solve(self, l2: float) -> Float[Tensor, "columns classes"]:
        """The W that minimises mean |W'x - y|^2 / 2 + (l2/2) |W|^2, y the class as a unit vector."""
        matrix = self.second / (GRID**2 * self.count) + l2 * torch.eye(len(self.second), dtype=torch.float64)
        found: Tensor = torch.cholesky_solve(self.first / (GRID * self.count), torch.linalg.cholesky(matrix))
        return found

    def to_state(self) -> State:
        """As tensors by name."""
        return {"second": self.second, "first": self.first, "count": torch.tensor([self.count])}

    @staticmethod
    def from_state(state: State) -> "Sums":
        """The inverse of `to_state`."""
        return Sums(state["second"], state["first"], int(state["count"]))


def sums_of(
    module: nn.Module, features: Float[Tensor, "records *shape"], targets: Int[Tensor, " records"], classes: int
) -> Sums:
    """Each record goes through the fixed features alone: what it adds must not depend on its neighbours.

    **Raises:** `ProgrammerError("method-unfit")` where more than a last linear layer is trained;
    `ProgrammerError("too-large")` where the sums could pass 2^53.
    """
    if head_of(module) is None or not isinstance(module, nn.Sequential):
        raise ProgrammerError("method-unfit", "more than a last linear layer is trained: there is no convex head")
    body = module[:-1].eval()
    second, first, largest = torch.zeros(0), torch.zeros(0), GRID
    for rows in torch.arange(len(features)).split(BATCH):
        with torch.no_grad():
            seen = torch.cat([body(features[row : row + 1]).flatten(1) for row in rows.tolist()]).double()
        steps = (torch.cat([seen, torch.ones(len(seen), 1, dtype=torch.float64)], 1) * GRID).round()
        marks = nn.functional.one_hot(targets[rows], classes).double()
        parts = steps.T @ steps, steps.T @ marks
        second, first = (parts[0] + second, parts[1] + first) if len(second) else parts
        largest = max(largest, float(steps.abs().max()))
    if largest**2 * len(features) >= 2**53:
        raise ProgrammerError("too-large", "features are so large that their sums would be rounded")
    return Sums(second, first, len(features))
