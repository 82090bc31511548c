"""The tensors that a stack's step reads and writes, laid out so that the library rounds as for a network alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

LINE = 16
"""float32 numbers in 64 bytes. Matrices begin on such a boundary: how a product is rounded depends on it."""


@dataclass(frozen=True, eq=False)
class StepTensors:
    """Made once, used at every step. The first axis is the lane; each lane's part begins on a 64-byte boundary.

    **Arguments:**

    - `gathered`: `[lanes * rows, features]`, the batches, each with a few rows more than its width where that is
      what brings the next lane to a boundary.
    - `hidden`: `[lanes, width, n]` for each layer: the inputs, the activations, the logits.
    - `errors`: `[lanes, width, n]`: gradients by what each layer puts out.
    - `chosen`: `[lanes, width, classes]`: minus one over the width at each target.
    - `parameters`, `gradients`, `momenta`: weight and bias of each layer in turn.
    - `parameter_memory`, `gradient_memory`, `momentum_memory`: the same, `[lanes, numbers]`, with the padding.
    """

    lanes: int
    rows: int
    gathered: Float[Tensor, "gathered features"]
    hidden: list[Tensor]
    errors: list[Tensor]
    chosen: Float[Tensor, "lanes width classes"]
    parameters: list[Tensor]
    gradients: list[Tensor]
    momenta: list[Tensor]
    parameter_memory: list[Tensor]
    gradient_memory: list[Tensor]
    momentum_memory: list[Tensor]

    @staticmethod
    def zeros(widths: Sequence[int], lanes: int, width: int) -> "StepTensors":
        """Tensors for so many lanes of a network of these layer widths, with batches of `width` records."""
        rows = padded_rows(width, widths[0])
        gathered = torch.zeros(lanes * rows, widths[0])
        inputs = gathered.view(lanes, rows, widths[0])[:, :width]
        hidden, errors = ([_batch(lanes, width, after) for after in widths[1:]] for _ in range(2))
        shapes = [shape for before, after in pairwise(widths) for shape in ((after, before), (after,))]
        buffers = [[_padded(lanes, shape) for shape in shapes] for _ in range(3)]
        views = [
            [part[:, : math.prod(shape)].unflatten(1, shape) for part, shape in zip(kind, shapes, strict=True)]
            for kind in buffers
        ]
        chosen = torch.zeros(lanes, width, widths[-1])
        return StepTensors(lanes, rows, gathered, [inputs, *hidden], errors, chosen, *views, *buffers)

    def first(self, lanes: int) -> "StepTensors":
        """The same memory, of the first so many lanes."""
        return StepTensors(
            lanes,
            self.rows,
            self.gathered[: lanes * self.rows],
            _first(self.hidden, lanes),
            _first(self.errors, lanes),
            self.chosen[:lanes],
            _first(self.parameters, lanes),
            _first(self.gradients, lanes),
            _first(self.momenta, lanes),
            _first(self.parameter_memory, lanes),
            _first(self.gradient_memory, lanes),
            _first(self.momentum_memory, lanes),
        )


def padded_rows(width: int, columns: int) -> int:
    """The smallest number of rows, at least `width`, that ends a matrix of so many columns on a boundary."""
    whole = LINE // math.gcd(LINE, columns)
    return -(-width // whole) * whole


def _batch(lanes: int, width: int, columns: int) -> Float[Tensor, "lanes width columns"]:
    return torch.zeros(lanes, padded_rows(width, columns), columns)[:, :width]


def _padded(lanes: int, shape: tuple[int, ...]) -> Float[Tensor, "lanes numbers"]:
    return torch.zeros(lanes, -(-math.prod(shape) // LINE) * LINE)


def _first(parts: list[Tensor], lanes: int) -> list[Tensor]:
    return [part[:lanes] for part in parts]
