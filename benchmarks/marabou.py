"""Marabou (maraboupy 2.0) on our queries: the independent second opinion, for tests and benchmarks.

maraboupy runs on Python 3.11 and is in no extra: `pip install maraboupy==2.0.0` beside Expunge.
"""

import time
from dataclasses import dataclass

from expunge.assurance.verification import ReluNetwork
from expunge.assurance.verification.export import margin_layers
from expunge.assurance.verification.problem import problem_of
from expunge.assurance.verification.properties import Query


@dataclass(frozen=True)
class Opinion:
    """`sat` (violated), `unsat` (proved), or what else Marabou said; seconds; the point z for `sat`."""

    answer: str
    seconds: float
    point: tuple[float, ...] | None = None


def ask(network: ReluNetwork, query: Query, seconds: int) -> Opinion:
    """Is there a z in the domain with margin(z) <= 0?"""
    from maraboupy import MarabouCore

    problem = MarabouCore.InputQuery()
    domain = query.domain
    below = list(range(len(domain.lower)))
    layers = [(weight.tolist(), bias.tolist()) for weight, bias in margin_layers(problem_of(network, query))]
    problem.setNumberOfVariables(len(below) + sum(2 * len(bias) for _, bias in layers[:-1]) + 1)
    for place, (low, high) in enumerate(zip(domain.lower.tolist(), domain.upper.tolist(), strict=True)):
        problem.setLowerBound(place, low)
        problem.setUpperBound(place, high)
        problem.markInputVariable(place, place)
    for row, limit in zip(domain.rows.tolist(), domain.limits.tolist(), strict=True):
        problem.addEquation(_equation(MarabouCore, below, row, limit, MarabouCore.Equation.LE))
    fresh = len(below)
    for number, (weight, bias) in enumerate(layers):
        here = list(range(fresh, fresh + len(bias)))
        fresh += len(bias)
        for variable, row, add in zip(here, weight, bias, strict=True):
            equation = _equation(MarabouCore, [*below, variable], [*row, -1.0], -add, MarabouCore.Equation.EQ)
            problem.addEquation(equation)
        if number < len(layers) - 1:
            below = list(range(fresh, fresh + len(bias)))
            fresh += len(bias)
            for variable, active in zip(here, below, strict=True):
                MarabouCore.addReluConstraint(problem, variable, active)
                problem.setLowerBound(active, 0.0)
    problem.setUpperBound(fresh - 1, 0.0)
    problem.markOutputVariable(fresh - 1, 0)
    return _solve(MarabouCore, problem, len(domain.lower), seconds)


def _equation(core, variables, values, limit, kind):
    equation = core.Equation(kind)
    for variable, value in zip(variables, values, strict=True):
        if value:
            equation.addAddend(value, variable)
    equation.setScalar(limit)
    return equation


def _solve(core, problem, coordinates: int, seconds: int) -> Opinion:
    options = core.Options()
    options._timeoutInSeconds = seconds
    options._verbosity = 0
    started = time.perf_counter()
    answer, values, _ = core.solve(problem, options, "")
    taken = time.perf_counter() - started
    point = tuple(values[place] for place in range(coordinates)) if answer == "sat" else None
    return Opinion(answer, taken, point)
