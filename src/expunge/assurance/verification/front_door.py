"""`verify`: plain bounds, then an attack, then branching, then mixed-integer programs for what remains."""

import time
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from expunge.assurance.verification.attack import attack, keeps_rows
from expunge.assurance.verification.branching import Tree, explore, root
from expunge.assurance.verification.deviation import deviation
from expunge.assurance.verification.milp import solve_box
from expunge.assurance.verification.network import ReluNetwork
from expunge.assurance.verification.problem import Problem, problem_of
from expunge.assurance.verification.properties import Property, Query
from expunge.assurance.verification.verdicts import Counterexample, Effort, Proved, Unknown, Verdict, Violated
from expunge.errors import ProgrammerError
from expunge.progress import Progress, task

FIRST = 256
"""Boxes with plain bounds and trials, before anything else is asked."""

PLAIN = 200_000
"""Neurons bounded with plain bounds and no trials: on small networks opening a box costs less than choosing it well."""


@dataclass(frozen=True)
class Budget:
    """How much work, never what is proved; counted, not timed, so that a slow machine comes to the same verdict.

    **Arguments:**

    - `boxes`: opened by branch and bound for the whole property; `nodes` of HiGHS's search tree for what remains.
    - `batch` boxes at once; `steps` of slope optimisation per box; `tries`: coordinates that each score puts forward
      to be halved on trial, 0 for scores alone; `starts` of the attack.
    - `waiting`: boxes open at most before what remains goes to HiGHS; `complete` False leaves HiGHS out.

    **Raises:** `bad-hyperparameter` for anything not positive.
    """

    boxes: int = 150_000
    nodes: int = 2_000
    batch: int = 256
    steps: int = 8
    tries: int = 2
    starts: int = 128
    waiting: int = 200_000
    complete: bool = True

    def __post_init__(self) -> None:
        if min(self.boxes, self.nodes, self.batch, self.starts, self.waiting) < 1 or min(self.steps, self.tries) < 0:
            raise ProgrammerError("bad-hyperparameter", "a verification budget is positive")


@dataclass
class _Search:
    """One query under way: `problem` has the deviation taken off; `asked` is the query as it was put."""

    problem: Problem
    asked: Problem
    deviation: float
    budget: Budget
    tree: Tree
    programs: int = 0
    nodes: int = 0
    by: str = "bounds"

    def replays(self, points: Tensor) -> Tensor | None:
        """The point with the smallest margin through the deployed network, if that breaks the property."""
        points = points[keeps_rows(self.asked, points)]
        if not len(points):
            return None
        margins = self.asked.margin_deployed(points)
        return points[margins.argmin()] if float(margins.min()) < 0 else None


def verify(
    network: ReluNetwork,
    wanted: Property,
    *,
    budget: Budget | None = None,
    arithmetic: Literal["deployed", "real"] = "deployed",
    seed: int = 0,
    progress: Progress | None = None,
) -> Verdict:
    """Prove the property for every point of its region, find a counterexample that replays, or say what is open.

    **Arguments:**

    - `network`: from [`fold`][].
    - `wanted`: one of the five kinds, or any object with `queries`.
    - `arithmetic`: "deployed" proves it of the module in its own float32 (the largest possible deviation is taken
      off the margin), "real" of the real-valued network. A counterexample is always replayed through the module.
    - `seed`: of the attack's starting points.

    **Raises** `bad-region` where the region does not fit the network.
    """
    budget = budget or Budget()
    started = time.monotonic()
    searches = [_begin(network, query, budget, arithmetic) for query in wanted.queries(network)]
    with task(progress, "verifying", 2 * len(searches)) as advance:
        for search in searches:
            _glance(search)
            if search.tree.open and not any(other.tree.point is not None for other in searches):
                _attack(search, seed)
            advance()
        for number, search in enumerate(searches):
            if any(other.tree.point is not None for other in searches):
                break
            _decide(search, *_share(budget, searches, number))
            advance()
    return _answer(searches, arithmetic, budget, time.monotonic() - started)


def _share(budget: Budget, searches: list[_Search], number: int) -> tuple[int, int]:
    """Boxes and nodes for one query: what those before it left, in equal parts."""
    left = len(searches) - number
    boxes = budget.boxes - sum(part.tree.boxes for part in searches)
    nodes = budget.nodes - sum(part.nodes for part in searches)
    return max(boxes // left, 1), max(nodes // left, 1)


def _begin(network: ReluNetwork, query: Query, budget: Budget, arithmetic: str) -> _Search:
    """One query, the deployed arithmetic's deviation taken off its margin."""
    asked = problem_of(network, query)
    off = deviation(asked) if arithmetic == "deployed" else 0.0
    problem = problem_of(network, replace(query, constant=query.constant - off))
    return _Search(problem, asked, off, budget, root(problem))


def _glance(search: _Search) -> None:
    """Plain bounds of the whole domain and of some parts decide most queries, in milliseconds."""
    _explore(search, search.tree, min(FIRST, max(search.budget.boxes // 8, 1)), 0, search.budget.tries)


def _explore(search: _Search, tree: Tree, boxes: int, steps: int, tries: int) -> None:
    """So many boxes more of the tree."""
    batch, waiting = search.budget.batch, search.budget.waiting
    explore(
        search.problem,
        tree,
        boxes=boxes,
        batch=batch,
        steps=steps,
        tries=tries,
        waiting=waiting,
        replays=search.replays,
    )


def _attack(search: _Search, seed: int) -> None:
    """A violation that is easily found saves the proof that cannot be."""
    enough = -10 * search.deviation
    points, margins = attack(search.asked, search.budget.starts, 30, seed, enough)
    if len(margins):
        search.tree.seen = float(margins[0]) - search.deviation
        search.tree.point = search.replays(points[:32])


def _decide(search: _Search, boxes: int, nodes: int) -> None:
    """Cheap boxes for a while, then good ones while there are boxes, then HiGHS for what is open."""
    budget, last = search.budget, search.tree.boxes + boxes
    if search.tree.open and boxes >= 4:
        _plainly(search, boxes // 4)
    tree = search.tree
    _explore(search, tree, last - tree.boxes, budget.steps, budget.tries)
    decided = budget.complete
    while decided and tree.open and tree.point is None and search.nodes < nodes:
        decided = _milp(search, nodes - search.nodes)


def _plainly(search: _Search, boxes: int) -> None:
    """The whole domain again, with many boxes that cost little each; what it leaves open is forgotten."""
    copies = 1 if search.problem.query.second is None else 2
    neurons = copies * sum(search.problem.network.widths[1:-1])
    tree = root(search.problem)
    tree.seen = search.tree.seen
    _explore(search, tree, min(boxes, PLAIN // neurons), 0, 0)
    decided = not tree.open or tree.point is not None
    boxes, seen = tree.boxes + search.tree.boxes, tree.seen
    search.tree = replace(tree if decided else search.tree, boxes=boxes, seen=seen)


def _milp(search: _Search, nodes: int) -> bool:
    """One program for the last open box, or for all of them where they are too many; False where it decides nothing."""
    tree, problem = search.tree, search.problem
    whole = tree.open > 64
    low = tree.lower.amin(0) if whole else tree.lower[-1]
    high = tree.upper.amax(0) if whole else tree.upper[-1]
    solved = solve_box(problem, low, high, nodes)
    search.programs, search.nodes = search.programs + 1, search.nodes + max(solved.nodes, 1)
    search.by = "milp"
    if solved.point is not None:
        tree.point = search.replays(torch.clamp(solved.point, low, high)[None])
    keep = 0 if whole else tree.open - 1
    if solved.bound >= 0:
        tree.closed = min(tree.closed, solved.bound)
        tree.lower, tree.upper, tree.bounds = tree.lower[:keep], tree.upper[:keep], tree.bounds[:keep]
        return True
    if whole:
        tree.bounds = tree.bounds.clamp(min=solved.bound)
    return False


def _answer(searches: list[_Search], arithmetic: str, budget: Budget, seconds: float) -> Verdict:
    """Violated before unknown before proved."""
    boxes, programs, nodes = zip(*((part.tree.boxes, part.programs, part.nodes) for part in searches), strict=True)
    effort = Effort(seconds, sum(boxes), sum(programs), sum(nodes))
    for search in searches:
        if search.tree.point is not None:
            return Violated(_counterexample(search.asked, search.tree.point), effort)
    undecided = [search.tree for search in searches if search.tree.open]
    if undecided:
        tree = min(undecided, key=lambda tree: tree.lowest())
        near = tree.seen < 0
        spent = f"the budget of {budget.boxes} boxes and {budget.nodes if budget.complete else 0} nodes ran out"
        why = "the margin is within the deviation of the deployed arithmetic" if near else spent
        return Unknown(min(tree.lowest(), 0.0), tree.seen, why, effort)
    by = "milp" if any(search.by == "milp" for search in searches) else "bounds"
    bound = min(search.tree.closed for search in searches)
    return Proved(bound, by, arithmetic, max(search.deviation for search in searches), effort)


def _counterexample(problem: Problem, z: Tensor) -> Counterexample:
    """The point in physical units, with what the deployed network says there."""
    query, network = problem.query, problem.network
    x, other = query.points(z[None])
    margin = float(problem.margin_deployed(z[None]))
    output = tuple(network.run_deployed(x)[0].tolist())
    if other is None:
        return Counterexample(query.name, tuple(x[0].tolist()), output, margin)
    outputs = tuple(network.run_deployed(other)[0].tolist())
    return Counterexample(query.name, tuple(x[0].tolist()), output, margin, tuple(other[0].tolist()), outputs)
