"""Where to halve a box: a few promising coordinates are tried, and the one whose halves are bounded best is taken.

Filtered smart branching (De Palma et al., "Improved Branch and Bound for Neural Network Verification via Lagrangian
Decomposition", 2021), on coordinates of the input instead of neurons. With two copies the coordinates include how far
each input moves: halved there, the sign of the difference of many neurons is known at once.
"""

import torch
from torch import Tensor

from expunge.assurance.verification.lines import Interval
from expunge.assurance.verification.optimisation import Bound, empty_boxes, margin_bound
from expunge.assurance.verification.problem import Problem
from expunge.assurance.verification.relaxation import hidden_bounds


def halves(
    problem: Problem,
    layers: list[Interval],
    bound: Bound,
    lower: Tensor,
    upper: Tensor,
    todo: Tensor,
    tries: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Both halves of each undecided box, and lower bounds of the margin on them: [halves, coordinates] twice, [halves].

    Each score puts `tries` coordinates forward; with 0 their sum decides alone. Halves that rows of the domain leave
    empty have an infinite bound.
    """
    scores = [score[todo] for score in _scores(problem, layers, bound, lower, upper)]
    lower, upper, value = lower[todo], upper[todo], bound.value[todo]
    axes = _candidates(scores, upper > lower, tries)
    boxes, tries = axes.shape
    low, high = _cut(lower.repeat_interleave(tries, 0), upper.repeat_interleave(tries, 0), axes.reshape(-1, 1))
    bounds = _bounds(problem, low, high)
    missing = bounds.clamp(max=0).view(2, boxes, tries).sum(0)
    best = missing.argmax(1)  # of equals the first: the sum of the scores decides
    chosen = (torch.arange(boxes) * tries + best).repeat(2) + torch.arange(2).repeat_interleave(boxes) * boxes * tries
    return low[chosen], high[chosen], torch.maximum(bounds[chosen], value.repeat(2))


def _candidates(scores: list[Tensor], wide: Tensor, tries: int) -> Tensor:
    """The best coordinate by the sum of the scores, then the best by each: [boxes, tries]."""
    kept = [torch.where(wide, score, -1.0) for score in scores]
    most = min(tries, wide.shape[1])
    best = torch.where(wide, sum(scores), -1.0).argmax(1, keepdim=True)
    return torch.cat([best, *(score.topk(most, 1).indices for score in kept)], 1)


def _cut(lower: Tensor, upper: Tensor, axis: Tensor) -> tuple[Tensor, Tensor]:
    """All left halves, then all right halves."""
    middle = (lower.gather(1, axis) + upper.gather(1, axis)) / 2
    return torch.cat([lower, lower.scatter(1, axis, middle)]), torch.cat([upper.scatter(1, axis, middle), upper])


def _bounds(problem: Problem, lower: Tensor, upper: Tensor) -> Tensor:
    """Plain CROWN."""
    with torch.no_grad():
        layers, lines = hidden_bounds(problem, lower, upper)
        value = margin_bound(problem, layers, lines, lower, upper, 0).value
    return torch.where(empty_boxes(problem, lower, upper), torch.inf, value)


def _scores(problem: Problem, layers: list[Interval], bound: Bound, lower: Tensor, upper: Tensor) -> list[Tensor]:
    """What halving a coordinate could gain: in the linear bound itself, and in the gaps of the first layer's lines,
    each neuron's gap shared out by how much of its width comes from the coordinate. Each [boxes, coordinates]."""
    width = upper - lower
    scores = [width * bound.plain.abs()]
    if not layers:
        return scores
    weight, first = _influence(problem), layers[0]
    if problem.move is None or first.second is None:
        return [*scores, _shared(weight * _gap(first.lower, first.upper), width, problem.first)]
    second = first.second
    low, high = torch.minimum(first.lower, second.lower), torch.maximum(first.upper, second.upper)
    weight = weight * ((low < 0) & (high > 0))
    moved = torch.maximum(second.move_upper, -second.move_lower)
    return [
        *scores,
        _shared(weight * _gap(second.move_lower, second.move_upper), width, problem.move),
        _shared(weight * moved, width, problem.first),
    ]


def _gap(lower: Tensor, upper: Tensor) -> Tensor:
    """Largest distance between max(0, x) and its chord on [lower, upper]."""
    return -lower.clamp(max=0) * upper.clamp(min=0) / (upper - lower).clamp(min=1e-300)


def _shared(gaps: Tensor, width: Tensor, reads: Tensor) -> Tensor:
    """Gaps [boxes, neurons] onto coordinates, by the neuron's width that comes from each."""
    whole = (width @ reads.abs().T).clamp(min=1e-300)
    return (gaps / whole) @ reads.abs() * width


def _influence(problem: Problem) -> Tensor:
    """How much each first-layer neuron can weigh in the margin: |goal| |W_L| ... |W_1|."""
    on_a, on_d = problem.goal
    weight = on_a.abs() if on_d is None else on_a.abs() + on_d.abs()
    for layer in reversed(problem.network.weights[1:]):
        weight = weight @ layer.abs()
    return weight
