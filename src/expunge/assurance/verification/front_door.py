"""`verify`: attack, then bounds and branching, then mixed-integer programs for what remains."""

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
from expunge.assurance.verification.properties import Property, Query
from expunge.assurance.verification.relaxation import Problem, problem_of
from expunge.assurance.verification.verdicts import Counterexample, Effort, Proved, Unknown, Verdict, Violated
from expunge.errors import ProgrammerError
from expunge.progress import Progress, task


@dataclass(frozen=True)
class Budget:
    """How much work, never what is proved. `seconds` for the whole property; `batch` boxes at once; `steps` of slope
    optimisation per box; `starts` of the attack; `boxes` open at most before what remains goes to HiGHS; `complete`
    False leaves HiGHS out. Raises `bad-hyperparameter` for anything not positive."""

    seconds: float = 60.0
    batch: int = 256
    steps: int = 8
    starts: int = 128
    boxes: int = 200_000
    complete: bool = True

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.batch > 0 and self.steps >= 0 and self.starts > 0 and self.boxes > 0):
            raise ProgrammerError("bad-hyperparameter", "a verification budget is positive")


@dataclass
class _Search:
    """One query under way: `problem` has the deviation taken off; `asked` is the query as it was put."""

    problem: Problem
    asked: Problem
    deviation: float
    until: float
    budget: Budget
    tree: Tree
    programs: int = 0
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
    queries = wanted.queries(network)
    verdicts: list[Verdict] = []
    with task(progress, "verifying", len(queries)) as advance:
        for number, query in enumerate(queries):
            left = budget.seconds - (time.monotonic() - started)
            verdicts.append(
                _answer(
                    network, query, replace(budget, seconds=max(left, 0.01) / (len(queries) - number)), arithmetic, seed
                )
            )
            advance()
            if isinstance(verdicts[-1], Violated):
                break
    return _worst(verdicts, time.monotonic() - started)


def _answer(network: ReluNetwork, query: Query, budget: Budget, arithmetic: str, seed: int) -> Verdict:
    """One query."""
    started = time.monotonic()
    asked = problem_of(network, query)
    off = deviation(asked) if arithmetic == "deployed" else 0.0
    problem = problem_of(network, replace(query, constant=query.constant - off))
    search = _Search(problem, asked, off, started + budget.seconds, budget, root(problem))
    points, margins = attack(asked, budget.starts, 30, seed)
    if len(margins):
        search.tree.seen = float(margins[0]) - off
        search.tree.point = search.replays(points[:32])
    if search.tree.point is None:
        _decide(search, started)
    return _verdict(search, arithmetic, time.monotonic() - started)


def _decide(search: _Search, started: float) -> None:
    """Branch for a share of the time; HiGHS for the rest; then branch again with what is left."""
    budget = search.budget
    share = started + budget.seconds * (0.5 if budget.complete else 1.0)
    _explore(search, share)
    tree = search.tree
    decided = budget.complete
    while decided and tree.open and tree.point is None and time.monotonic() < search.until:
        decided = _milp(search)


def _explore(search: _Search, until: float) -> None:
    """Branch and bound up to a moment."""
    budget = search.budget
    explore(
        search.problem,
        search.tree,
        until=until,
        batch=budget.batch,
        steps=budget.steps,
        most=budget.boxes,
        replays=search.replays,
        advance=lambda amount: None,
    )


def _milp(search: _Search) -> bool:
    """One program for the last open box, or for all of them where they are too many; False where it decides nothing."""
    tree, problem = search.tree, search.problem
    whole = tree.open > 64
    low = tree.lower.amin(0) if whole else tree.lower[-1]
    high = tree.upper.amax(0) if whole else tree.upper[-1]
    solved = solve_box(problem, low, high, search.until - time.monotonic())
    search.programs += 1
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


def _verdict(search: _Search, arithmetic: str, seconds: float) -> Verdict:
    """What the search came to."""
    tree = search.tree
    effort = Effort(seconds, tree.boxes, search.programs)
    if tree.point is not None:
        return Violated(_counterexample(search.asked, tree.point), effort)
    if not tree.open:
        return Proved(tree.closed, search.by, arithmetic, search.deviation, effort)
    why = "the budget ran out"
    if tree.seen < 0:
        why = "the margin is within the deviation of the deployed arithmetic"
    return Unknown(min(tree.lowest(), 0.0), tree.seen, why, effort)


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


def _worst(verdicts: list[Verdict], seconds: float) -> Verdict:
    """Violated before unknown before proved; efforts add up."""
    parts = [verdict.effort for verdict in verdicts]
    effort = Effort(seconds, sum(part.boxes for part in parts), sum(part.programs for part in parts))
    violated = [verdict for verdict in verdicts if isinstance(verdict, Violated)]
    unknown = [verdict for verdict in verdicts if isinstance(verdict, Unknown)]
    proved = [verdict for verdict in verdicts if isinstance(verdict, Proved)]
    if violated:
        return replace(violated[0], effort=effort)
    if unknown:
        return replace(min(unknown, key=lambda verdict: verdict.lower), effort=effort)
    weakest = min(proved, key=lambda verdict: verdict.bound)
    by = "milp" if any(verdict.by == "milp" for verdict in proved) else "bounds"
    return replace(weakest, by=by, deviation=max(verdict.deviation for verdict in proved), effort=effort)
