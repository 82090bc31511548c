"""Networks for a short series of readings: levels are alike from one reading to the next, and what matters are changes.

Readings of one signal correlate so closely that gradient descent needs hundreds of passes to learn a difference between
two of them, and loses to least squares until then. The first layer therefore learns weights for the newest reading and
for changes, larger by a fixed gain. It stays an ordinary linear layer of the columns themselves: the fixed matrix is
multiplied into its weight, so that what is verified and exported is a plain ReLU network.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from expunge.errors import ProgrammerError


@dataclass(frozen=True)
class Trends:
    """A multilayer perceptron whose first `readings` columns are one signal, oldest first, the newest last.

    **Arguments:** `hidden`: widths; `gain`: of changes from one reading to the next over a standardised level.
    """

    hidden: tuple[int, ...] = (16, 16)
    readings: int = 6
    gain: float = 6.0

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """`Flatten, (Linear, ReLU)*, Linear`; raises `ProgrammerError("bad-hyperparameter")` for too few columns."""
        if not 1 <= self.readings <= prod(shape) or not self.hidden:
            raise ProgrammerError("bad-hyperparameter", f"{self.readings} readings in {prod(shape)} columns, no layer")
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise((prod(shape), *self.hidden)):
            layers += [nn.Linear(before, after), nn.ReLU()]
        mixed(layers[1], changes(prod(shape), range(self.readings), self.gain))
        return nn.Sequential(*layers, nn.Linear(self.hidden[-1], max(classes, 1)))


def changes(columns: int, readings: range, gain: float) -> Float[Tensor, "columns columns"]:
    """The matrix from columns to what is learnt on: each reading but the newest becomes its change to the next."""
    matrix = torch.eye(columns)
    for older, newer in pairwise(readings):
        matrix[older, older], matrix[older, newer] = gain, -gain
    return matrix


class _Mixed(nn.Module):
    """The weight of a linear layer as its trained part times a fixed matrix."""

    matrix: Tensor

    def __init__(self, matrix: Float[Tensor, "columns columns"]) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, weight: Float[Tensor, "outputs columns"]) -> Float[Tensor, "outputs columns"]:
        """The layer's weight."""
        return weight @ self.matrix


def mixed(layer: nn.Module, matrix: Float[Tensor, "columns columns"]) -> None:
    """Let a linear layer learn on `matrix @ columns`."""
    parametrize.register_parametrization(layer, "weight", _Mixed(matrix), unsafe=True)
