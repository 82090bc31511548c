"""Input regions in physical units: boxes, half-spaces, and paths of readings that follow one another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import ProgrammerError


@dataclass(frozen=True)
class HalfSpace:
    """coefficients . x <= at_most."""

    coefficients: tuple[float, ...]
    at_most: float


@dataclass(frozen=True)
class Path:
    """Readings of one quantity in order of time: each step from one index to the next is in [lowest, highest].

    Told as a path, a region has the first reading and the steps as its coordinates, so that a falling sensor is a box
    and the bounds are far tighter than with half-spaces.
    """

    indices: tuple[int, ...]
    lowest: float
    highest: float


@dataclass(frozen=True)
class Region:
    """All x with lower <= x <= upper, inside every half-space, along every path. Physical units.

    **Raises** `bad-region` where lengths differ, a bound is not finite, lower > upper, or paths share an index.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    half_spaces: tuple[HalfSpace, ...] = ()
    paths: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        numbers = [*self.lower, *self.upper, *(number for path in self.paths for number in (path.lowest, path.highest))]
        numbers += [number for half in self.half_spaces for number in (*half.coefficients, half.at_most)]
        if len(self.lower) != len(self.upper) or not self.lower:
            raise ProgrammerError("bad-region", "a region needs as many lower as upper bounds, and at least one")
        if not all(math.isfinite(number) for number in numbers):
            raise ProgrammerError("bad-region", "a region's bounds must be finite")
        if any(low > high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ProgrammerError("bad-region", "a lower bound lies above its upper bound")
        if any(len(half.coefficients) != len(self.lower) for half in self.half_spaces):
            raise ProgrammerError("bad-region", "a half-space needs one coefficient per input")
        self._check_paths()

    def _check_paths(self) -> None:
        """Indices exist, each on one path only, steps in order."""
        used = [index for path in self.paths for index in path.indices]
        if len(set(used)) != len(used) or any(not 0 <= index < len(self.lower) for index in used):
            raise ProgrammerError("bad-region", "paths name inputs that exist, and no input twice")
        if any(path.lowest > path.highest or not path.indices for path in self.paths):
            raise ProgrammerError("bad-region", "a path has a reading, and its lowest step is not above its highest")


@dataclass(frozen=True, eq=False)
class Domain:
    """The coordinates z that are searched: a box, rows A z <= b, and x = matrix z + shift.

    Shapes: lower, upper [coordinates]; rows [rows, coordinates]; limits [rows]; matrix [inputs, coordinates]; shift
    [inputs]. float64.
    """

    lower: Tensor
    upper: Tensor
    rows: Tensor
    limits: Tensor
    matrix: Tensor
    shift: Tensor

    def extended(self, lower: Sequence[float], upper: Sequence[float]) -> "Domain":
        """The same domain with more coordinates, which x does not depend on."""
        more = len(lower)
        return Domain(
            torch.cat([self.lower, _tensor(lower)]),
            torch.cat([self.upper, _tensor(upper)]),
            torch.nn.functional.pad(self.rows, (0, more)),
            self.limits,
            torch.nn.functional.pad(self.matrix, (0, more)),
            self.shift,
        )

    def limited(self, rows: Tensor, limits: Tensor) -> "Domain":
        """The same domain with more rows; rows that the box implies are left out."""
        reach = torch.where(rows > 0, self.upper, self.lower).mul(rows).sum(1)
        keep = reach > limits
        return Domain(
            self.lower,
            self.upper,
            torch.cat([self.rows, rows[keep]]),
            torch.cat([self.limits, limits[keep]]),
            self.matrix,
            self.shift,
        )


def domain_of(region: Region) -> Domain:
    """The region in search coordinates."""
    lower, upper = _tensor(region.lower), _tensor(region.upper)
    matrix = torch.eye(len(lower), dtype=torch.float64)
    for path in region.paths:
        for before, after in zip(path.indices, path.indices[1:], strict=False):
            matrix[after] = matrix[before]
            matrix[after, after] = 1.0
            lower[after], upper[after] = path.lowest, path.highest
    empty = Domain(lower, upper, lower.new_zeros(0, len(lower)), lower.new_zeros(0), matrix, torch.zeros_like(lower))
    later = sorted(index for path in region.paths for index in path.indices[1:])
    domain = empty.limited(matrix[later], _tensor(region.upper)[later])
    domain = domain.limited(-matrix[later], -_tensor(region.lower)[later])
    if not region.half_spaces:
        return domain
    rows = torch.stack([_tensor(half.coefficients) for half in region.half_spaces])
    return domain.limited(rows @ matrix, _tensor([half.at_most for half in region.half_spaces]))


def _tensor(values: Sequence[float]) -> Tensor:
    """float64."""
    return torch.tensor(values, dtype=torch.float64)
