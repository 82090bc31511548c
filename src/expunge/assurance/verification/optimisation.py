"""Optimised slopes: the margin's bound is raised over the free choices of the relaxation, box by box, by Adam.

Xu et al., "Fast and Complete" (ICLR 2021), section 3.1, for the output; the bounds of hidden layers stay as they
are. Rows A z <= b of the domain come in through multipliers >= 0 (weak duality). Every iterate is sound, so the best of
all is kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from expunge.assurance.verification.lines import Interval, Lines, Slopes, default_slopes, lines_of
from expunge.assurance.verification.problem import Problem
from expunge.assurance.verification.relaxation import Linear, backward, minimum


@dataclass(frozen=True, eq=False)
class Bound:
    """Per box: the margin's lower bound [boxes], the slope in z that it was found with [boxes, coordinates], and the
    slope that plain CROWN has, which says better where to halve."""

    value: Tensor
    slope: Tensor
    plain: Tensor


def margin_bound(
    problem: Problem, layers: list[Interval], lines: list[Lines], lower: Tensor, upper: Tensor, steps: int
) -> Bound:
    """Lower bound of the margin on each box, after `steps` of Adam on the slopes and multipliers (0: plain CROWN)."""
    linear = _output(problem, lines, len(lower))
    best = Bound(minimum(linear, lower, upper)[:, 0], linear.slope[:, 0], linear.slope[:, 0])
    if not steps:
        return best
    chosen = [default_slopes(layer).tensors() for layer in layers]
    multipliers = torch.zeros(len(lower), len(problem.query.domain.rows), dtype=torch.float64)
    climb = _Climb([*(value for slopes in chosen for value in slopes), multipliers], _strides(problem, best, chosen))
    for _ in range(steps):
        free = climb.fresh()
        relaxed = [
            lines_of(layer, Slopes.of([next(free) for _ in slopes]))
            for layer, slopes in zip(layers, chosen, strict=True)
        ]
        linear = _with_rows(problem, _output(problem, relaxed, len(lower)), next(free))
        value = minimum(linear, lower, upper)[:, 0]
        best = _better(best, Bound(value.detach(), linear.slope.detach()[:, 0], best.plain))
        if bool((best.value >= 0).all()):
            break
        climb.step(value.clamp(max=0).sum())
    return best


def empty_boxes(problem: Problem, lower: Tensor, upper: Tensor) -> Tensor:
    """Boxes of which some row A z <= b leaves nothing, beyond rounding: [boxes] of bool."""
    domain = problem.query.domain
    if not len(domain.rows):
        return torch.zeros(len(lower), dtype=torch.bool)
    least = lower @ domain.rows.clamp(min=0).T + upper @ domain.rows.clamp(max=0).T
    reach = torch.maximum(domain.lower.abs(), domain.upper.abs())
    slack = problem.unit * (domain.rows.abs() @ reach + domain.limits.abs())
    return (least - slack > domain.limits).any(1)


def _output(problem: Problem, lines: list[Lines], boxes: int) -> Linear:
    """The margin, linear in z."""
    on_a, on_d = problem.goal
    rows = on_a.expand(boxes, 1, -1)
    linear = backward(problem, lines, rows, None if on_d is None else on_d.expand(boxes, 1, -1), len(lines))
    constant = problem.query.constant
    return replace(linear, constant=linear.constant + constant, error=linear.error + problem.unit * abs(constant))


def _with_rows(problem: Problem, linear: Linear, multipliers: Tensor) -> Linear:
    """Weak duality: A z <= b, so adding multiplier . (A z - b) only lowers the margin."""
    domain = problem.query.domain
    if not len(domain.rows):
        return linear
    reach = torch.maximum(domain.lower.abs(), domain.upper.abs())
    rounding = problem.unit * (multipliers.detach() @ (domain.rows.abs() @ reach + domain.limits.abs()))
    return Linear(
        linear.slope + (multipliers @ domain.rows).unsqueeze(1),
        linear.constant - (multipliers @ domain.limits).unsqueeze(1),
        linear.error + rounding.unsqueeze(1),
    )


@dataclass
class _Climb:
    """Projected Adam on tensors whose entries stay in [0, 1], the last one's in [0, infinity).

    (torch.optim takes seconds to import and checks each step; this is its rule, betas 0.7 and 0.9.)
    """

    values: list[Tensor]
    strides: list[float]
    momenta: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    count: int = 0

    def fresh(self) -> Iterator[Tensor]:
        """The values, ready for a new graph."""
        self.values = [value.detach().requires_grad_() for value in self.values]
        return iter(self.values)

    def step(self, total: Tensor) -> None:
        """Up along the gradient."""
        slopes = torch.autograd.grad(total, self.values, allow_unused=True)
        self.momenta = self.momenta or [(torch.zeros_like(value), torch.zeros_like(value)) for value in self.values]
        self.count += 1
        with torch.no_grad():
            for place, slope in enumerate(slopes):
                if slope is not None:
                    self._move(place, slope)

    def _move(self, place: int, slope: Tensor) -> None:
        """One tensor."""
        mean, square = self.momenta[place]
        mean.mul_(0.7).add_(slope, alpha=0.3)
        square.mul_(0.9).addcmul_(slope, slope, value=0.1)
        ratio = (1 - 0.9**self.count) ** 0.5 / (1 - 0.7**self.count)
        moved = self.values[place] + self.strides[place] * ratio * mean / (square.sqrt() + 1e-12)
        self.values[place] = moved.clamp(min=0, max=None if place == len(self.values) - 1 else 1)


def _strides(problem: Problem, best: Bound, chosen: list[list[Tensor]]) -> list[float]:
    """0.25 for slopes; multipliers trade the margin's slope for rows, so that ratio is their natural unit."""
    rows = problem.query.domain.rows.abs()
    unit = float(0.3 * best.slope.abs().mean() / rows.mean().clamp(min=1e-12)) if len(rows) else 0.0
    return [0.25] * sum(len(slopes) for slopes in chosen) + [unit + 1e-9]


def _better(best: Bound, other: Bound) -> Bound:
    """Box by box."""
    wins = other.value > best.value
    slope = torch.where(wins.unsqueeze(1), other.slope, best.slope)
    return Bound(torch.where(wins, other.value, best.value), slope, best.plain)
