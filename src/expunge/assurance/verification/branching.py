"""Branch and bound: boxes that linear bounds cannot decide are halved, many boxes in one batch."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from expunge.assurance.verification.attack import keeps_rows
from expunge.assurance.verification.halving import halves
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
    tries: int,
    waiting: int,
    replays: Callable[[Tensor], Tensor | None],
) -> None:
    """Bound and halve until nothing is open, a violation replays (`tree.point`), or the work is done.

    The work: `boxes` more of them bounded, or `waiting` open at once; `steps` and `tries` as in `Budget`. `replays`
    gets candidate points and returns one at which the deployed network fails, or None.
    """
    last, trying = tree.boxes + boxes, False
    while tree.open and tree.open <= waiting and tree.boxes < last and tree.point is None:
        lower, upper, before = _take(tree, min(batch, last - tree.boxes))
        tree.boxes += len(lower)
        trying = not trying  # in turn: a try that closes one half at once may leave the other as it was
        keep = ~empty_boxes(problem, lower, upper)
        lower, upper, before = lower[keep], upper[keep], before[keep]
        if not len(lower):
            continue
        with torch.no_grad():
            layers, lines = hidden_bounds(problem, lower, upper)
        bound = margin_bound(problem, layers, lines, lower, upper, steps)
        done = bound.value >= 0
        if bool(done.any()):
            tree.closed = min(tree.closed, float(bound.value[done].min()))
        _look(problem, tree, bound, lower, upper, replays)
        if tree.point is None and not bool(done.all()):
            value = torch.maximum(bound.value, before)
            _put(tree, halves(problem, layers, replace(bound, value=value), lower, upper, ~done, tries * trying))


def _take(tree: Tree, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """The youngest boxes and their bounds: depth first keeps the list short."""
    taken = tree.lower[-batch:], tree.upper[-batch:], tree.bounds[-batch:]
    tree.lower, tree.upper, tree.bounds = tree.lower[:-batch], tree.upper[:-batch], tree.bounds[:-batch]
    return taken


def _put(tree: Tree, children: tuple[Tensor, Tensor, Tensor]) -> None:
    """Children that their bounds already decide are closed, the others are open."""
    lower, upper, bounds = children
    done = bounds >= 0
    if bool(done.any()):
        tree.closed = min(tree.closed, float(bounds[done].min()))
    tree.lower = torch.cat([tree.lower, lower[~done]])
    tree.upper = torch.cat([tree.upper, upper[~done]])
    tree.bounds = torch.cat([tree.bounds, bounds[~done]])


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
