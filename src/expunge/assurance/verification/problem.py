"""A query on one network, ready for bounding: its first layer in search coordinates, and how large things can get."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from expunge.assurance.verification.network import ReluNetwork
from expunge.assurance.verification.properties import Query

FLOAT64_UNIT: Final = 2.0**-53
"""Unit roundoff of float64."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A query on a network, its first layer already in search coordinates z: a = first z + first_add, d = move z +
    move_add (None for one copy). `sizes[k]` bounds |pre-activation| in layer k, `unit` is the relative margin."""

    network: ReluNetwork
    query: Query
    first: Tensor
    first_add: Tensor
    move: Tensor | None
    move_add: Tensor | None
    sizes: tuple[Tensor, ...]
    unit: float

    @property
    def goal(self) -> tuple[Tensor, Tensor | None]:
        """Coefficients of the output and of its move in the margin: [outputs] each."""
        if self.query.second is None:
            return self.query.first, None
        return self.query.first + self.query.second, self.query.second

    @property
    def neurons(self) -> int:
        """Hidden neurons of all copies."""
        return (1 if self.query.second is None else 2) * sum(self.network.widths[1:-1])

    def margin(self, z: Tensor) -> Tensor:
        """margin(z) in float64, [points]."""
        x, other = self.query.points(z)
        value = self.network(x) @ self.query.first + self.query.constant
        return value if other is None or self.query.second is None else value + self.network(other) @ self.query.second

    def margin_deployed(self, z: Tensor) -> Tensor:
        """margin(z) through the deployed module, [points]."""
        x, other = self.query.points(z)
        value = self.network.run_deployed(x) @ self.query.first + self.query.constant
        if other is None or self.query.second is None:
            return value
        return value + self.network.run_deployed(other) @ self.query.second


def problem_of(network: ReluNetwork, query: Query) -> Problem:
    """Fold the query's affine maps into the first layer, and bound all magnitudes on the whole domain."""
    domain, weight, bias = query.domain, network.weights[0], network.biases[0]
    matrix, shift = domain.matrix, domain.shift
    reach = torch.maximum(domain.lower.abs(), domain.upper.abs())
    size = matrix.abs() @ reach + shift.abs()
    move = move_add = None
    if query.other_matrix is not None and query.other_shift is not None:
        move, move_add = weight @ (query.other_matrix - matrix), weight @ (query.other_shift - shift)
        size = size + query.other_matrix.abs() @ reach + query.other_shift.abs()
    sizes = []
    for layer, add in zip(network.weights, network.biases, strict=True):
        size = (layer.abs() @ size + add.abs()) * (1 + 1e-9)
        sizes.append(size)
    unit = 16 * (max(*network.widths, len(domain.lower)) + 8) * FLOAT64_UNIT
    return Problem(network, query, weight @ matrix, weight @ shift + bias, move, move_add, tuple(sizes), unit)
