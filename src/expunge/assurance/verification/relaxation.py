"""Interval bounds and CROWN: linear bounds propagated backward, many boxes at once, with an outward margin.

Zhang et al., "Efficient Neural Network Robustness Certification with General Activation Functions" (NeurIPS 2018),
theorem 3.2, in float64. Every bound that leaves this file is moved outward by more than the rounding that went into it
(see docs/assurance.md).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.assurance.verification.early_layers import forward_bounds
from expunge.assurance.verification.lines import Interval, Lines, SecondInterval, default_slopes, lines_of
from expunge.assurance.verification.network import ReluNetwork
from expunge.assurance.verification.problem import FLOAT64_UNIT, Problem


@dataclass(frozen=True, eq=False)
class Linear:
    """margin(z) >= slope . z + constant - error on each box: [boxes, specs, coordinates], [boxes, specs] twice."""

    slope: Tensor
    constant: Tensor
    error: Tensor


def backward(problem: Problem, lines: list[Lines], on_a: Tensor, on_d: Tensor | None, layer: int) -> Linear:
    """A lower bound of on_a . a + on_d . d in `layer`, linear in z. Coefficients [boxes, specs, neurons]."""
    network, sizes = problem.network, problem.sizes
    constant = on_a @ network.biases[layer] if layer else on_a @ problem.first_add
    error = _weight(on_a, on_d) @ sizes[layer]
    for below in range(layer - 1, -1, -1):
        weight = network.weights[below + 1]
        on_a, on_d = on_a @ weight, None if on_d is None else on_d @ weight
        error = error + _weight(on_a, on_d) @ sizes[below]
        on_a, on_d, added = lines[below].pull(on_a, on_d)
        constant = constant + added + on_a @ (network.biases[below] if below else problem.first_add)
    slope = on_a @ problem.first
    if on_d is not None and problem.move is not None and problem.move_add is not None:
        slope, constant = slope + on_d @ problem.move, constant + on_d @ problem.move_add
    return Linear(slope, constant, problem.unit * error)


def minimum(linear: Linear, lower: Tensor, upper: Tensor) -> Tensor:
    """The smallest value of each linear bound on its box, less its error: [boxes, specs]."""
    centre, radius = (lower + upper) / 2, (upper - lower) / 2
    radius = radius * (1 + 4 * FLOAT64_UNIT)
    inner = torch.matmul(linear.slope, centre.unsqueeze(2)) - torch.matmul(linear.slope.abs(), radius.unsqueeze(2))
    return inner.squeeze(2) + linear.constant - linear.error


def hidden_bounds(problem: Problem, lower: Tensor, upper: Tensor) -> tuple[list[Interval], list[Lines]]:
    """Bounds of every hidden layer on each box [boxes, coordinates], by CROWN with default slopes, and their lines."""
    layers: list[Interval] = []
    lines: list[Lines] = []
    for layer in range(len(problem.sizes) - 1):
        if layer < 2:
            interval = forward_bounds(problem, lines, lower, upper)
        else:
            interval = _bound_layer(problem, lines, layer, lower, upper)
        layers.append(interval)
        lines.append(lines_of(interval, default_slopes(interval)))
    return layers, lines


def interval_bounds(network: ReluNetwork, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Interval arithmetic on boxes of inputs: lower and upper bounds of the outputs, outward: [boxes, outputs]."""
    unit = 16 * (max(network.widths) + 8) * FLOAT64_UNIT
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        low, high = (lower.clamp(min=0), upper.clamp(min=0)) if layer else (lower, upper)
        centre, radius = (low + high) / 2, (high - low) / 2
        slack = unit * (torch.maximum(low.abs(), high.abs()) @ weight.abs().T + bias.abs())
        middle, spread = centre @ weight.T + bias, radius @ weight.abs().T + slack
        lower, upper = middle - spread, middle + spread
    return lower, upper


def _weight(on_a: Tensor, on_d: Tensor | None) -> Tensor:
    """How much rounding can matter: the coefficients without their signs."""
    return on_a.detach().abs() if on_d is None else on_a.detach().abs() + 2 * on_d.detach().abs()


def _bound_layer(problem: Problem, lines: list[Lines], layer: int, lower: Tensor, upper: Tensor) -> Interval:
    """a, d and a + d of one layer: unit coefficients with both signs."""
    size, boxes = len(problem.sizes[layer]), len(lower)
    unit, zero = torch.eye(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    if problem.move is None:
        rows = torch.cat([unit, -unit]).expand(boxes, -1, -1)
        low, high = minimum(backward(problem, lines, rows, None, layer), lower, upper).split(size, 1)
        return Interval(low, -high)
    rows = torch.cat([unit, -unit, zero, zero, unit, -unit]).expand(boxes, -1, -1)
    moves = torch.cat([zero, zero, unit, -unit, unit, -unit]).expand(boxes, -1, -1)
    parts = minimum(backward(problem, lines, rows, moves, layer), lower, upper).split(size, 1)
    return Interval(parts[0], -parts[1], SecondInterval(parts[2], -parts[3], parts[4], -parts[5]))
