"""Branch and bound: boxes that linear bounds cannot decide are halved, many boxes in one batch."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from expunge.assurance.verification.attack import keeps_rows
from expunge.assurance.verification.lines import Interval
from expunge.assurance.verification.optimisation import Bound, empty_boxes, margin_bound
from expunge.assurance.verification.problem import Problem
from expunge.assurance.verification.relaxation import hidden_bounds


@dataclass
class Tree:
    """Where the search stands: open boxes, the lowest bound of closed ones, the lowest margin seen at a point."""

    lower: Tensor
    upper: Tensor
    bounds: Tensor
    closed: float = float("inf")
    seen: float = float("inf")
    boxes: int = 0
    point: Tensor | None = field(default=None)

    @property
    def open(self) -> int:
        """Boxes that are left."""
        return len(self.bounds)

    def lowest(self) -> float:
        """Lower bound of the margin over the whole domain."""
        return min(self.closed, float(self.bounds.min()) if self.open else float("inf"))


def root(problem: Problem) -> Tree:
    """The whole domain as one box."""
    domain = problem.query.domain
    return Tree(domain.lower[None], domain.upper[None], torch.full((1,), -torch.inf, dtype=torch.float64))


def explore(
    problem: Problem,
    tree: Tree,
    *,
    boxes: int,
    batch: int,
    steps: int,
    waiting: int,
    replays: Callable[[Tensor], Tensor | None],
) -> None:
    """Bound and halve until nothing is open, a violation replays (`tree.point`), or the work is done.

    The work: `boxes` more of them bounded, or `waiting` open at once. `replays` gets candidate points and returns one
    at which the deployed network fails, or None.
    """
    influence, last = _influence(problem), tree.boxes + boxes
    while tree.open and tree.open <= waiting and tree.boxes < last and tree.point is None:
        lower, upper = _take(tree, min(batch, last - tree.boxes))
        tree.boxes += len(lower)
        keep = ~empty_boxes(problem, lower, upper)
        lower, upper = lower[keep], upper[keep]
        if not len(lower):
            continue
        with torch.no_grad():
            layers, lines = hidden_bounds(problem, lower, upper)
        bound = margin_bound(problem, layers, lines, lower, upper, steps)
        done = bound.value >= 0
        if bool(done.any()):
            tree.closed = min(tree.closed, float(bound.value[done].min()))
        _look(problem, tree, bound, lower, upper, replays)
        _halve(problem, tree, influence, layers, bound, lower, upper, ~done)


def _take(tree: Tree, batch: int) -> tuple[Tensor, Tensor]:
    """The youngest boxes: depth first keeps the list short."""
    lower, upper = tree.lower[-batch:], tree.upper[-batch:]
    tree.lower, tree.upper, tree.bounds = tree.lower[:-batch], tree.upper[:-batch], tree.bounds[:-batch]
    return lower, upper


def _look(
    problem: Problem,
    tree: Tree,
    bound: Bound,
    lower: Tensor,
    upper: Tensor,
    replays: Callable[[Tensor], Tensor | None],
) -> None:
    """Try each box's centre and the corner where its linear bound is smallest."""
    points = torch.cat([torch.where(bound.slope > 0, lower, upper), (lower + upper) / 2])
    points = points[keeps_rows(problem, points)]
    if not len(points):
        return
    margins = problem.margin(points)
    tree.seen = min(tree.seen, float(margins.min()))
    if tree.seen < 0 and bool((margins < 0).any()):
        tree.point = replays(points[margins < 0])


def _halve(
    problem: Problem,
    tree: Tree,
    influence: Tensor,
    layers: list[Interval],
    bound: Bound,
    lower: Tensor,
    upper: Tensor,
    todo: Tensor,
) -> None:
    """Halve undecided boxes where the undecided neurons of the first layer see the most width."""
    first = layers[0] if layers else None
    width = (upper - lower)[todo]
    score = width * bound.slope[todo].abs() * 1e-3
    if first is not None:
        score = score + width * (_undecided(first)[todo] * influence @ _reads(problem))
    axis = torch.where(width > 0, score, -1.0).argmax(1, keepdim=True)
    lower, upper, bounds = lower[todo], upper[todo], bound.value[todo]
    middle = (lower.gather(1, axis) + upper.gather(1, axis)) / 2
    left, right = upper.scatter(1, axis, middle), lower.scatter(1, axis, middle)
    tree.lower = torch.cat([tree.lower, lower, right])
    tree.upper = torch.cat([tree.upper, left, upper])
    tree.bounds = torch.cat([tree.bounds, bounds, bounds])


def _undecided(layer: Interval) -> Tensor:
    """Neurons whose ReLU is not yet linear in a box, as 0 and 1; either copy counts."""
    open_ = (layer.lower < 0) & (layer.upper > 0)
    if layer.second is not None:
        open_ = open_ | ((layer.second.lower < 0) & (layer.second.upper > 0))
    return open_.double()


def _influence(problem: Problem) -> Tensor:
    """How much each first-layer neuron can weigh in the margin: |goal| |W_L| ... |W_1|."""
    on_a, on_d = problem.goal
    weight = on_a.abs() if on_d is None else on_a.abs() + on_d.abs()
    for layer in reversed(problem.network.weights[1:]):
        weight = weight @ layer.abs()
    return weight


def _reads(problem: Problem) -> Tensor:
    """How strongly each first-layer neuron reads each coordinate."""
    return problem.first.abs() if problem.move is None else problem.first.abs() + problem.move.abs()
