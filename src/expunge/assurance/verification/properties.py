"""The five kinds of property of the assurance case, and the queries that they come down to.

A query asks whether margin(z) >= 0 everywhere on a domain, margin(z) = first . f(x) + second . f(x') + constant, where
x and x' are affine in z. To add a property: a frozen dataclass with `region` and `queries`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from expunge.assurance.verification.network import ReluNetwork
from expunge.assurance.verification.regions import Domain, Region, domain_of
from expunge.errors import ProgrammerError


@dataclass(frozen=True, eq=False)
class Query:
    """margin(z) = first . f(x) + second . f(x') + constant >= 0 for all z of the domain?

    x = domain.matrix z + domain.shift; x' = other_matrix z + other_shift. `second` is None for one copy.
    """

    name: str
    domain: Domain
    first: Tensor
    constant: float
    second: Tensor | None = None
    other_matrix: Tensor | None = None
    other_shift: Tensor | None = None

    def points(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """x, and x' where there are two copies: [points, inputs]."""
        x = z @ self.domain.matrix.T + self.domain.shift
        if self.other_matrix is None or self.other_shift is None:
            return x, None
        return x, z @ self.other_matrix.T + self.other_shift


@runtime_checkable
class Property(Protocol):
    """What can be verified: a frozen object that says which margins must not be negative."""

    def queries(self, network: ReluNetwork) -> tuple[Query, ...]:
        """All must hold. Raises `bad-region` where the region does not fit the network."""


@dataclass(frozen=True)
class BoundedOutput:
    """For all x of the region, lowest <= f(x) <= highest (units of the output)."""

    region: Region
    lowest: float
    highest: float
    output: int = 0

    def queries(self, network: ReluNetwork) -> tuple[Query, ...]:
        """Two: not below, not above."""
        unit, domain = _unit(network, self.output, self.lowest, self.highest), _domain(network, self.region)
        return (
            Query(f"output >= {self.lowest:g}", domain, unit, -self.lowest),
            Query(f"output <= {self.highest:g}", domain, -unit, self.highest),
        )


@dataclass(frozen=True)
class Hazard:
    """For all x of a hazardous region the prediction is on the right side of the alarm level.

    `below=True`: f(x) <= alarm (low and falling is never missed); `below=False`: f(x) >= alarm.
    """

    region: Region
    alarm: float
    below: bool = True
    output: int = 0

    def queries(self, network: ReluNetwork) -> tuple[Query, ...]:
        """One."""
        sign = -1.0 if self.below else 1.0
        unit, domain = _unit(network, self.output, self.alarm), _domain(network, self.region)
        return (
            Query(f"output {'<=' if self.below else '>='} {self.alarm:g}", domain, sign * unit, -sign * self.alarm),
        )


@dataclass(frozen=True)
class LocalRobustness:
    """For all x of the region and all |x'_i - x_i| <= radius_i (x' may leave the region): |f(x') - f(x)| <= change."""

    region: Region
    radius: tuple[float, ...]
    change: float
    output: int = 0

    def queries(self, network: ReluNetwork) -> tuple[Query, ...]:
        """Two: no rise, no fall by more than the change."""
        unit, domain = _unit(network, self.output, self.change), _domain(network, self.region)
        moved = _moves(domain, [-radius for radius in self.radius], self.radius)
        return _no_jump(*moved, unit, self.change)


@dataclass(frozen=True)
class Monotone:
    """For all x and x' of the region with 0 <= x'_i - x_i <= step_i: f(x') >= f(x) - tolerance if increasing, else
    f(x') <= f(x) + tolerance.

    Features with step 0 are shared by the two copies. Two equal inputs leave no slack at all, and no floating-point
    argument survives that: the tolerance (output units, > 0) says how much is nothing.
    """

    region: Region
    step: tuple[float, ...]
    increasing: bool
    tolerance: float
    output: int = 0

    def queries(self, network: ReluNetwork) -> tuple[Query, ...]:
        """One."""
        if not self.tolerance > 0:
            raise ProgrammerError("bad-region", "the tolerance of a monotone property must be positive")
        unit, base = _unit(network, self.output, self.tolerance), _domain(network, self.region)
        domain, matrix, shift = _moves(base, [0.0] * len(self.step), self.step)
        inside = [index for index, step in enumerate(self.step) if step > 0]
        domain = domain.limited(matrix[inside], torch.tensor(self.region.upper, dtype=torch.float64)[inside])
        sign = 1.0 if self.increasing else -1.0
        word = "never lowers" if self.increasing else "never raises"
        return (Query(f"more {word}", domain, -sign * unit, self.tolerance, sign * unit, matrix, shift),)


@dataclass(frozen=True)
class Rate:
    """From one window to the next the prediction moves by at most `jump`.

    x and x' are in the region's box; x'_i = x_j for each (i, j) in `shifted` (the window moves on), and every other
    feature moves by lowest_move_i to highest_move_i (entries of shifted features are not read).
    """

    region: Region
    shifted: tuple[tuple[int, int], ...]
    lowest_move: tuple[float, ...]
    highest_move: tuple[float, ...]
    jump: float
    output: int = 0

    def queries(self, network: ReluNetwork) -> tuple[Query, ...]:
        """Two: no jump up, no jump down."""
        unit, domain = _unit(network, self.output, self.jump), _domain(network, self.region)
        targets = [target for target, _ in self.shifted]
        if any(not 0 <= index < network.inputs for pair in self.shifted for index in pair) or len(set(targets)) < len(
            targets
        ):
            raise ProgrammerError("bad-region", "shifted pairs name inputs that exist, each target once")
        low = [0.0 if index in targets else move for index, move in enumerate(self.lowest_move)]
        high = [0.0 if index in targets else move for index, move in enumerate(self.highest_move)]
        domain, matrix, shift = _moves(domain, low, high)
        for target, source in self.shifted:
            matrix[target], shift[target] = domain.matrix[source], domain.shift[source]
        lower, upper = (torch.tensor(ends, dtype=torch.float64) for ends in (self.region.lower, self.region.upper))
        domain = domain.limited(torch.cat([matrix, -matrix]), torch.cat([upper - shift, shift - lower]))
        return _no_jump(domain, matrix, shift, unit, self.jump)


def _unit(network: ReluNetwork, output: int, *numbers: float) -> Tensor:
    """Selects one output; the property's own numbers must be finite."""
    if not all(math.isfinite(number) for number in numbers):
        raise ProgrammerError("bad-region", "the numbers of a property must be finite")
    if not 0 <= output < network.outputs:
        raise ProgrammerError("bad-region", f"the network has {network.outputs} outputs, no output {output}")
    return torch.eye(network.outputs, dtype=torch.float64)[output]


def _domain(network: ReluNetwork, region: Region) -> Domain:
    """The region's domain, of the network's size."""
    if len(region.lower) != network.inputs:
        raise ProgrammerError("bad-region", f"the region has {len(region.lower)} inputs, the network {network.inputs}")
    return domain_of(region)


def _moves(domain: Domain, lowest: Sequence[float], highest: Sequence[float]) -> tuple[Domain, Tensor, Tensor]:
    """More coordinates: how far each feature moves; then x' = x + moves as matrix and shift."""
    inputs = len(domain.shift)
    if len(lowest) != inputs or len(highest) != inputs:
        raise ProgrammerError("bad-region", f"moves need one number for each of the {inputs} inputs")
    if any(not -math.inf < low <= high < math.inf for low, high in zip(lowest, highest, strict=True)):
        raise ProgrammerError("bad-region", "a lowest move lies above its highest, or is not a finite number")
    moving = [index for index in range(inputs) if lowest[index] != 0.0 or highest[index] != 0.0]
    start = len(domain.lower)
    wider = domain.extended([lowest[index] for index in moving], [highest[index] for index in moving])
    matrix = wider.matrix.clone()
    matrix[moving, torch.arange(start, start + len(moving))] += 1.0
    return wider, matrix, wider.shift.clone()


def _no_jump(domain: Domain, matrix: Tensor, shift: Tensor, unit: Tensor, change: float) -> tuple[Query, ...]:
    """|f(x') - f(x)| <= change."""
    return (
        Query(f"change <= {change:g}", domain, unit, change, -unit, matrix, shift),
        Query(f"change >= {-change:g}", domain, -unit, change, unit, matrix, shift),
    )
