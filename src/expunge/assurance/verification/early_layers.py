"""CROWN for the first two layers, where all boxes share their coefficients: a few large matrix products for all boxes.

The second layer's bounds are the same numbers as by `backward`, without its [boxes, neurons, neurons] tensors: the rows
that are pulled back are the weights themselves, so only the lines differ between boxes, and they meet the coordinates
first.
"""

import torch
from torch import Tensor

from expunge.assurance.verification.lines import Interval, Lines, SecondInterval
from expunge.assurance.verification.problem import Problem


def forward_bounds(problem: Problem, lines: list[Lines], lower: Tensor, upper: Tensor) -> Interval:
    """Bounds of layer `len(lines)` (0 or 1) on boxes [boxes, coordinates]."""
    if lines:
        return _second_layer(problem, lines[0], lower, upper)
    add, slack = problem.first_add, 8 * problem.unit * problem.sizes[0]
    low, high = _linear(problem.first, add, slack, lower, upper)
    if problem.move is None or problem.move_add is None:
        return Interval(low, high)
    moves = _linear(problem.move, problem.move_add, slack, lower, upper)
    other = _linear(problem.first + problem.move, add + problem.move_add, slack, lower, upper)
    return Interval(low, high, SecondInterval(*moves, *other))


def _linear(matrix: Tensor, add: Tensor, slack: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of matrix z + add, [boxes, neurons] twice."""
    middle = torch.addmm(add, (lower + upper) / 2, matrix.T)
    reach = torch.addmm(slack, (upper - lower) / 2, matrix.abs().T)
    return middle - reach, middle + reach


def _second_layer(problem: Problem, lines: Lines, lower: Tensor, upper: Tensor) -> Interval:
    """Each activation's lines as linear forms in z, then through the weights, lower and upper."""
    weight, bias = problem.network.weights[1], problem.network.biases[1]
    low, high = _forms(problem, lines)
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)
    signs = torch.cat([torch.cat([plus, minus], 1), torch.cat([minus, plus], 1)]).T
    ends = torch.ones(2 * len(weight), dtype=torch.float64)
    ends[: len(weight)] = -1.0
    slack = 8 * problem.unit * problem.sizes[1]
    least, most = _extreme(torch.cat([low, high], 3) @ signs, lower, upper, ends).split(len(weight), 2)
    least, most = least - slack, most + slack
    if len(least) == 1:
        return Interval(least[0] + bias, most[0] + bias)
    own_low, own_high = least[0] + bias, most[0] + bias
    other_low, other_high = torch.maximum(least[2], least[3]) + bias, torch.minimum(most[2], most[3]) + bias
    move_low = torch.maximum(least[1], other_low - own_high - slack)
    move_high = torch.minimum(most[1], other_high - own_low + slack)
    return Interval(own_low, own_high, SecondInterval(move_low, move_high, other_low, other_high))


def _forms(problem: Problem, lines: Lines) -> tuple[Tensor, Tensor]:
    """Lower and upper forms of h, and with two copies of D, h + D and h': [kinds, boxes, coordinates + 1, neurons].

    The last coordinate is the constant.
    """
    own = torch.cat([problem.first, problem.first_add[:, None]], 1).T
    low, high = _times(lines.low, own), _plus(_times(lines.up, own), lines.up_add)
    move = lines.move
    if move is None or problem.move is None or problem.move_add is None:
        return low[None], high[None]
    step = torch.cat([problem.move, problem.move_add[:, None]], 1).T
    step_low = _plus(_times(move.low_a, own) + _times(move.low_d, step), move.low_add)
    step_high = _plus(_times(move.up_a, own) + _times(move.up_d, step), move.up_add)
    other_low, other_high = _times(move.own_low, own + step), _plus(_times(move.own_up, own + step), move.own_up_add)
    return (
        torch.stack([low, step_low, low + step_low, other_low]),
        torch.stack([high, step_high, high + step_high, other_high]),
    )


def _times(slope: Tensor, form: Tensor) -> Tensor:
    """Each box's slopes on a shared form."""
    return slope.unsqueeze(1) * form


def _plus(form: Tensor, add: Tensor) -> Tensor:
    """A constant more."""
    form[:, -1] += add
    return form


def _extreme(form: Tensor, lower: Tensor, upper: Tensor, ends: Tensor) -> Tensor:
    """Smallest (where `ends` is -1) or largest (+1) value of forms on their boxes: [kinds, boxes, neurons]."""
    slope, constant = form[:, :, :-1], form[:, :, -1]
    centre, radius = ((lower + upper) / 2).unsqueeze(1), ((upper - lower) / 2).unsqueeze(1)
    return torch.matmul(centre, slope).squeeze(2) + ends * torch.matmul(radius, slope.abs()).squeeze(2) + constant
