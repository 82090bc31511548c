"""On tiny networks the truth is known by enumeration: verdicts agree just below and just above it."""

import functools
from dataclasses import replace

import pytest
from verification_problems import exact_minimum, network

from expunge.assurance.verification import (
    BoundedOutput,
    Budget,
    HalfSpace,
    Hazard,
    LocalRobustness,
    Monotone,
    Path,
    Proved,
    Rate,
    Region,
    Unknown,
    Violated,
    verify,
)
from expunge.assurance.verification.milp import solve_box
from expunge.assurance.verification.network import ReluNetwork
from expunge.assurance.verification.problem import problem_of
from expunge.assurance.verification.properties import Property, Query

AREA = Region((-1.0, -1.0), (1.0, 1.0))
CUT = Region((-1.0, -1.0), (1.0, 1.0), (HalfSpace((1.0, 1.0), 0.2),), (Path((0, 1), -0.5, 0.5),))


class Shifted:
    """The first query of a property with its margin raised by a constant."""

    def __init__(self, wanted: Property, by: float) -> None:
        self._wanted, self._by = wanted, by

    def queries(self, network: ReluNetwork) -> tuple[Query, ...]:
        first = self._wanted.queries(network)[0]
        return (replace(first, constant=first.constant + self._by),)


def kinds(area: Region) -> list[Property]:
    return [
        Hazard(area, 0.1),
        BoundedOutput(area, -0.5, 5.0),
        LocalRobustness(area, (0.2, 0.1), 0.3),
        Monotone(area, (0.5, 0.0), False, 0.05),
        Rate(area, ((0, 1),), (0.0, -0.3), (0.0, 0.3), 0.4),
    ]


@functools.cache
def known(area: Region, kind: int, seed: int) -> float:
    model = tiny(kind, 10 * kind + seed)
    return exact_minimum(problem_of(model, kinds(area)[kind].queries(model)[0]))


def tiny(kind: int, seed: int) -> ReluNetwork:
    return network(*((2, 4, 3, 1) if kind < 2 else (2, 2, 2, 1)), seed=seed)


SOME = [0, 2, 4, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (1, 3))]


@pytest.mark.parametrize("area", [AREA, CUT], ids=["box", "cut"])
@pytest.mark.parametrize("kind", SOME)
@pytest.mark.parametrize("complete", [True, False], ids=["with HiGHS", "bounds only"])
def test_verdicts_turn_where_enumeration_says(area: Region, kind: int, complete: bool) -> None:
    wanted = kinds(area)[kind]
    for seed in range(2):
        model = tiny(kind, 10 * kind + seed)
        least = known(area, kind, seed)
        budget = Budget(complete=complete)
        holds = verify(model, Shifted(wanted, 2e-3 - least), budget=budget)
        assert isinstance(holds, Proved)
        assert 0 <= holds.bound <= 2e-3
        assert isinstance(verify(model, Shifted(wanted, -2e-3 - least), budget=budget), Violated)


@pytest.mark.parametrize("kind", range(5))
def test_the_mixed_integer_program_finds_the_minimum(kind: int) -> None:
    model = tiny(kind, 10 * kind)
    problem = problem_of(model, kinds(CUT)[kind].queries(model)[0])
    solved = solve_box(problem, problem.query.domain.lower, problem.query.domain.upper, 10_000)
    assert known(CUT, kind, 0) - 2e-3 < solved.bound <= known(CUT, kind, 0)
    assert solved.point is not None


def test_what_bounds_leave_open_the_program_decides() -> None:
    model = network(4, 10, 10, 1, seed=3)
    area = Region((-1.0,) * 4, (1.0,) * 4)
    lowest = problem_of(model, Hazard(area, 0.0, below=False).queries(model)[0])
    least = solve_box(lowest, lowest.query.domain.lower, lowest.query.domain.upper, 10_000).bound
    wanted = Hazard(area, least - 1e-3, below=False)
    # One open box at most: branching stops at once and everything is left to HiGHS.
    verdict = verify(model, wanted, budget=Budget(waiting=1, batch=1, steps=0))
    assert isinstance(verdict, Proved)
    assert (verdict.by, verdict.effort.programs >= 1) == ("milp", True)


def test_a_spent_budget_is_unknown_with_the_gap() -> None:
    model = network(12, 32, 32, 1, seed=0)
    wanted = LocalRobustness(Region((-1.0,) * 12, (1.0,) * 12), (0.3,) * 12, 3.0)
    verdict = verify(model, wanted, budget=Budget(boxes=100, complete=False))
    assert isinstance(verdict, Unknown)
    assert verdict.lower < 0 < verdict.gap
    assert verdict.upper >= verdict.lower


def test_within_the_rounding_of_the_deployed_network_nothing_is_claimed() -> None:
    model = network(2, 4, 3, 1, seed=0)
    wanted = Hazard(AREA, 0.0)
    least = exact_minimum(problem_of(model, wanted.queries(model)[0]))
    edge = Shifted(wanted, 1e-8 - least)
    assert isinstance(verify(model, edge, budget=Budget(boxes=3_000, nodes=300)), Unknown)
    assert isinstance(verify(model, edge, budget=Budget(complete=False), arithmetic="real"), Proved)


def test_an_empty_region_holds_nothing() -> None:
    model = network(2, 4, 1, seed=0)
    empty = Region((0.0, 0.0), (1.0, 1.0), (HalfSpace((1.0, 1.0), -1.0),))
    verdict = verify(model, Hazard(empty, -100.0))
    assert isinstance(verdict, Proved)
