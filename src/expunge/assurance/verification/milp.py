"""Completeness: the margin's minimum on a box as a mixed-integer linear program, solved by HiGHS.

Tjeng, Xiao, Tedrake, "Evaluating Robustness of Neural Networks with Mixed Integer Programming" (ICLR 2019), equation 4:
h >= 0, h >= a, h <= a - l (1 - s), h <= u s with s binary for each undecided neuron.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from expunge.assurance.verification.lines import SecondInterval
from expunge.assurance.verification.problem import Problem
from expunge.assurance.verification.relaxation import hidden_bounds

TOLERANCE = 1e-6
"""HiGHS keeps rows to 1e-7 and integers to 1e-6; taken off the bound after weighing (see `_slack`)."""


@dataclass(frozen=True, eq=False)
class Solved:
    """A lower bound of the margin on the box (after the solver's tolerances), the best point, if any, and the work."""

    bound: float
    point: Tensor | None
    nodes: int


@dataclass
class _Program:
    """Rows, bounds and integrality, as they are written down."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    binary: list[int] = field(default_factory=list)
    entries: list[tuple[int, int, float]] = field(default_factory=list)
    row_lower: list[float] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)

    def variable(self, low: float, high: float, *, binary: bool = False) -> int:
        """A new column."""
        self.lower.append(low)
        self.upper.append(high)
        self.binary.append(int(binary))
        return len(self.lower) - 1

    def row(self, terms: list[tuple[int, float]], low: float, high: float) -> None:
        """low <= sum of coefficient * column <= high."""
        self.entries.extend((len(self.row_lower), column, value) for column, value in terms if value)
        self.row_lower.append(low)
        self.row_upper.append(high)


def solve_box(problem: Problem, lower: Tensor, upper: Tensor, nodes: int) -> Solved:
    """The margin's minimum over one box [coordinates], or the best bound that `nodes` of HiGHS's tree allow."""
    with torch.no_grad():
        layers, _ = hidden_bounds(problem, lower[None], upper[None])
    program = _Program()
    z = [program.variable(*pair) for pair in zip(lower.tolist(), upper.tolist(), strict=True)]
    for row, limit in zip(problem.query.domain.rows.tolist(), problem.query.domain.limits.tolist(), strict=True):
        program.row(list(zip(z, row, strict=True)), -np.inf, limit)
    first, add = problem.first.numpy(), problem.first_add.numpy()
    own = _copy(program, problem, z, first, add, [(layer.lower[0], layer.upper[0]) for layer in layers])
    objective = _goal(problem, own, problem.query.first)
    if problem.move is not None and problem.move_add is not None and problem.query.second is not None:
        first, add = first + problem.move.numpy(), add + problem.move_add.numpy()
        moved = [layer.second for layer in layers if layer.second is not None]
        bounds = [(layer.lower[0], layer.upper[0]) for layer in moved]
        other = _copy(program, problem, z, first, add, bounds)
        objective += _goal(problem, other, problem.query.second)
        for layer, here, there in zip(moved, own, other, strict=True):
            _tie(program, layer, here, there)
    bound, point, used = _run(program, objective, nodes)
    constant = problem.query.constant + float(problem.goal[0] @ problem.network.biases[-1])
    best = None if point is None else torch.tensor(point[: len(z)])
    return Solved(bound + constant - _slack(problem), best, used)


def _copy(
    program: _Program,
    problem: Problem,
    z: list[int],
    first: Float[np.ndarray, "neurons coordinates"],
    add: Float[np.ndarray, " neurons"],
    bounds: list[tuple[Tensor, Tensor]],
) -> list[list[int]]:
    """All hidden layers of one copy: the columns of each layer's activations."""
    below, columns = z, []
    for layer, (low, high) in enumerate(bounds):
        weight = first if layer == 0 else problem.network.weights[layer].numpy()
        bias = add if layer == 0 else problem.network.biases[layer].numpy()
        below = [
            _neuron(program, list(zip(below, row, strict=True)), float(shift), least, most)
            for row, shift, least, most in zip(weight.tolist(), bias.tolist(), low.tolist(), high.tolist(), strict=True)
        ]
        columns.append(below)
    return columns


def _neuron(program: _Program, terms: list[tuple[int, float]], bias: float, low: float, high: float) -> int:
    """One activation h = relu(terms + bias), terms + bias in [low, high]."""
    h = program.variable(max(low, 0.0), max(high, 0.0))
    if high <= 0:
        return h
    minus = [(column, -value) for column, value in terms]
    if low >= 0:
        program.row([(h, 1.0), *minus], bias, bias)
        return h
    s = program.variable(0.0, 1.0, binary=True)
    program.row([(h, 1.0), *minus], bias, np.inf)
    program.row([(h, 1.0), *minus, (s, -low)], -np.inf, bias - low)
    program.row([(h, 1.0), (s, -high)], -np.inf, 0.0)
    return h


def _tie(program: _Program, layer: SecondInterval, own: list[int], other: list[int]) -> None:
    """The copies stay together: min(0, d) <= h' - h <= max(0, d), with the interval of d."""
    lows, highs = layer.move_lower[0].clamp(max=0).tolist(), layer.move_upper[0].clamp(min=0).tolist()
    for here, there, low, high in zip(own, other, lows, highs, strict=True):
        program.row([(there, 1.0), (here, -1.0)], low, high)


def _goal(problem: Problem, columns: list[list[int]], goal: Tensor) -> list[tuple[int, float]]:
    """The margin's coefficients on the last hidden layer."""
    return list(zip(columns[-1], (goal @ problem.network.weights[-1]).tolist(), strict=True))


def _run(
    program: _Program, objective: list[tuple[int, float]], nodes: int
) -> tuple[float, Float[np.ndarray, " columns"] | None, int]:
    """Dual bound, best point and nodes; +infinity where the box is empty."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    cost = np.zeros(len(program.lower))
    np.add.at(cost, [column for column, _ in objective], [value for _, value in objective])
    rows, columns, values = zip(*program.entries, strict=True) if program.entries else ((), (), ())
    matrix = csr_array((values, (rows, columns)), shape=(len(program.row_lower), len(cost)))
    result = milp(
        cost,
        integrality=program.binary,
        bounds=Bounds(program.lower, program.upper),
        constraints=LinearConstraint(matrix, program.row_lower, program.row_upper),
        options={"node_limit": nodes},
    )
    used = int(getattr(result, "mip_node_count", None) or 0)
    if result.status == 2:
        return float("inf"), None, used
    bound = result.mip_dual_bound
    return (-float("inf") if bound is None or not np.isfinite(bound) else float(bound)), result.x, used


def _slack(problem: Problem) -> float:
    """What rows kept only to the tolerance can be worth: each neuron's error times its weight in the margin."""
    goal = problem.query.first.abs()
    if problem.query.second is not None:
        goal = goal + problem.query.second.abs()
    total, layers = 0.0, len(problem.sizes) - 1
    for layer in range(layers - 1, -1, -1):
        goal = goal @ problem.network.weights[layer + 1].abs()
        total += float(goal @ (1 + problem.sizes[layer]))
    return TOLERANCE * (1 + total)
