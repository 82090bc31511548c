"""Robustness against its definition, step by step, and against rtamt where it is installed."""

import itertools
from typing import Any

import numpy as np
import pytest

from expunge.assurance.temporal import (
    Above,
    Always,
    And,
    Below,
    Eventually,
    Formula,
    Not,
    Or,
    Signals,
    Until,
    implies,
    parse,
    robustness,
)
from expunge.errors import OperatorError

RNG = np.random.default_rng(0)
SIGNALS: Signals = {"x": RNG.normal(size=17), "y": RNG.normal(size=17)}
ATOMS = (Above("x", 0.3), Below("y", -0.1))


def naive(formula: Formula, t: int) -> float:
    """The definition, at one step."""
    if isinstance(formula, Above):
        return float(SIGNALS[formula.signal][t] - formula.level)
    if isinstance(formula, Below):
        return float(formula.level - SIGNALS[formula.signal][t])
    if isinstance(formula, Not):
        return -naive(formula.inner, t)
    if isinstance(formula, And | Or):
        return (min if isinstance(formula, And) else max)(naive(each, t) for each in formula.inner)
    assert isinstance(formula, Always | Eventually | Until)
    end = 17 if formula.last is None else min(17, t + formula.last + 1)
    window = range(t + formula.first, end)
    if isinstance(formula, Always):
        return min((naive(formula.inner, s) for s in window), default=np.inf)
    if isinstance(formula, Eventually):
        return max((naive(formula.inner, s) for s in window), default=-np.inf)
    return max(
        (min([naive(formula.then, s), *(naive(formula.before, r) for r in range(t, s))]) for s in window),
        default=-np.inf,
    )


WINDOWS = [(0, None), (0, 0), (0, 3), (2, 2), (1, 6), (3, None), (5, 40), (20, 25)]


@pytest.mark.parametrize("window", WINDOWS)
def test_robustness_is_what_the_definition_says(window: tuple[int, int | None]) -> None:
    a, b = ATOMS
    formulas: list[Formula] = [
        Always(a, *window),
        Eventually(And((a, b)), *window),
        Until(a, b, *window),
        Not(Until(Not(a), Or((a, b)), *window)),
        Always(implies(a, Eventually(b, *window))),
    ]
    for formula, t in itertools.product(formulas, range(17)):
        assert formula.robustness(SIGNALS)[t] == pytest.approx(naive(formula, t)), (formula, t)


def test_many_traces_at_once_are_each_alone() -> None:
    many = {"x": RNG.normal(size=(30, 5)), "y": RNG.normal(size=(30, 5))}
    formula = Always(implies(Above("x", 1), Eventually(Below("y", 0), 0, 4)))
    alone = [robustness(formula, {name: values[:, n] for name, values in many.items()}) for n in range(5)]
    assert robustness(formula, many).tolist() == alone


def test_no_smaller_change_of_the_signals_turns_the_verdict() -> None:
    formula = Until(*ATOMS, 0, 9)
    size = abs(float(robustness(formula, SIGNALS)))
    for _ in range(200):
        moved = {name: values + RNG.uniform(-1, 1, 17) * 0.999 * size for name, values in SIGNALS.items()}
        assert (robustness(formula, moved) > 0) == (robustness(formula, SIGNALS) > 0)


def test_plain_json_becomes_a_formula() -> None:
    source = ["always", ["implies", ["<", "x", 70], ["eventually", ["not", [">", "y", 80]], 0, 30]]]
    expected = Always(implies(Below("x", 70), Eventually(Not(Above("y", 80)), 0, 2)))
    assert parse(source, 15, ["x", "y"]) == expected
    assert parse(["until", [">", "x", 1], ["and", ["<", "y", 2], [">", "x", 0]], 15, 30], 15, ["x", "y"]) == Until(
        Above("x", 1), And((Below("y", 2), Above("x", 0))), 1, 2
    )


@pytest.mark.parametrize(
    "source",
    [[], "always", ["never", ["<", "x", 1]], ["<", "z", 1], ["<", "x"], ["always", ["<", "x", 1], 3], ["and"], None,
     ["always", ["<", "x", 1], 9, 3], ["not", ["<", "x", 1], ["<", "x", 1]], ["<", "x", "low"], 7],
)  # fmt: skip
def test_what_is_no_formula_is_one_line(source: Any) -> None:
    with pytest.raises(OperatorError) as caught:
        parse(source, 15, ["x"])
    assert caught.value.code == "bad-case"


def test_rtamt_agrees() -> None:
    rtamt = pytest.importorskip("rtamt", reason="rtamt is not installed")
    words = {
        "always[0:4] (x >= 0.3)": Always(Above("x", 0.3), 0, 4),
        "eventually[1:6] (y <= -0.1)": Eventually(Below("y", -0.1), 1, 6),
        "(x >= 0.3) until[0:5] (y <= -0.1)": Until(*ATOMS, 0, 5),
        "always[0:3] ((x >= 0.3) implies (eventually[0:5] (y <= -0.1)))": Always(
            implies(ATOMS[0], Eventually(ATOMS[1], 0, 5)), 0, 3
        ),
    }
    data = {name: [[t, float(v)] for t, v in enumerate(values)] for name, values in SIGNALS.items()}
    for text, formula in words.items():
        spec = rtamt.StlDiscreteTimeSpecification()
        spec.declare_var("x", "float")
        spec.declare_var("y", "float")
        spec.spec = text
        spec.parse()
        theirs = spec.evaluate({"time": list(range(17)), **{k: [v for _, v in s] for k, s in data.items()}})
        for t, value in theirs[:8]:  # near the end the two differ in what lies behind it
            assert formula.robustness(SIGNALS)[int(t)] == pytest.approx(value), (text, t)
