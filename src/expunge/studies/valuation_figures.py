"""Pictures of the study `valuation`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from expunge.reports import Axis, Bar, Group, Measured, Series, StudyFigure, Tone, Unit
from expunge.reports.figures import bars, lines
from expunge.studies.claims import mean_interval
from expunge.studies.valuation_task import EXACT

Row = dict[str, Any]

SHOWN = 24
"""Owners in the bar chart: the highest and the lowest values."""


def valuation_figures(rows: Sequence[Row]) -> list[StudyFigure]:
    """Values, error against cost, removal curves, updates."""
    return [_values(rows), _convergence(rows), _times(rows), _removal(rows), _before_and_after(rows), _exits(rows)]


def _values(rows: Sequence[Row]) -> StudyFigure:
    first = [row for row in rows if row["kind"] == "value"]
    own = sorted((row for row in first if row["seed"] == first[0]["seed"]), key=_worth)
    shown = own if len(own) <= SHOWN else own[: SHOWN // 2] + own[-SHOWN // 2 :]
    groups = [
        Group(
            f"owner {row['owner']}",
            (
                Bar("estimated, 95 %", _measured(row["value"], row["half_width"])),
                Bar("by enumeration", Measured(row["exact"])),
            ),
        )
        for row in shown
    ]
    drawing = bars("What each owner's data is worth", groups, Axis("S-Shapley value, in accuracy"), mark=0.0)
    caption = "One seed; the owners with the highest and the lowest values. Values add up to what all owners add."
    return StudyFigure(drawing, caption)


def _before_and_after(rows: Sequence[Row]) -> StudyFigure:
    first = [row for row in rows if row["kind"] == "after"]
    own = sorted((row for row in first if row["seed"] == first[0]["seed"]), key=_moved)
    groups = [
        Group(
            f"owner {row['owner']}",
            (
                Bar("before the deletion", _measured(row["before"], row["before_half_width"]), Tone.BEFORE),
                Bar("after, updated", _measured(row["after"], row["after_half_width"]), Tone.AFTER),
            ),
        )
        for row in own[: SHOWN // 2]
    ]
    drawing = bars("Values before and after one owner left", groups, Axis("S-Shapley value, in accuracy"), mark=0.0)
    caption = "One seed; the owners whose values moved most. Intervals at 95 %."
    return StudyFigure(drawing, caption)


def _moved(row: Row) -> float:
    return -abs(float(row["after"] - row["before"]))


def _worth(row: Row) -> float:
    return -float(row["value"])


def _measured(value: float, half: float) -> Measured:
    return Measured(value, value - half, value + half)


def _convergence(rows: Sequence[Row]) -> StudyFigure:
    own = [row for row in rows if row["kind"] == "convergence" and row["complete"]]
    series = []
    for name in dict.fromkeys(row["estimator"] for row in own):
        budgets = sorted({row["budget"] for row in own if row["estimator"] == name})
        points = [[r for r in own if r["estimator"] == name and r["budget"] == budget] for budget in budgets]
        cost = [float(np.mean([row["evaluations"] for row in point])) for point in points]
        error = [float(np.mean([row["rmse"] for row in point])) for point in points]
        series.append(Series(name, cost, error))
    drawing = lines(
        "Error against cost",
        series,
        Axis("Utilities evaluated", Unit.COUNT, log=True),
        Axis("Root mean squared error", log=True),
    )
    caption = "Against enumeration; budgets at which an estimator leaves an owner without an estimate are left out."
    return StudyFigure(drawing, caption)


def _times(rows: Sequence[Row]) -> StudyFigure:
    own = [row for row in rows if row["kind"] == "time" and row["complete"]]
    series = []
    for name in dict.fromkeys(row["estimator"] for row in own):
        line = [row for row in own if row["estimator"] == name]
        series.append(Series(name, [row["seconds"] for row in line], [max(row["rmse"], EXACT) for row in line]))
    drawing = lines(
        "Error against time",
        series,
        Axis("Seconds of one core", Unit.SECONDS, log=True),
        Axis("Root mean squared error", log=True),
    )
    caption = "Against enumeration; each estimator starts from nothing and trains what it needs. One run, first seed."
    return StudyFigure(drawing, caption)


def _removal(rows: Sequence[Row]) -> StudyFigure:
    own = [row for row in rows if row["kind"] == "removal"]
    series = []
    for name in dict.fromkeys(row["order"] for row in own):
        steps = sorted({row["removed"] for row in own if row["order"] == name})
        points = [[r["accuracy"] for r in own if r["order"] == name and r["removed"] == step] for step in steps]
        middle = [float(np.mean(point)) for point in points]
        ends = [mean_interval(point) or (centre, centre) for point, centre in zip(points, middle, strict=True)]
        low, high = [max(0.0, end[0]) for end in ends], [min(1.0, end[1]) for end in ends]
        series.append(Series(name, steps, middle, low, high))
    drawing = lines(
        "Accuracy while owners are removed",
        series,
        Axis("Owners removed", Unit.COUNT),
        Axis("Share right on the test set", Unit.SHARE),
    )
    caption = "A fifth of the owners have flipped labels; each point is a model trained on the owners that are left."
    return StudyFigure(drawing, caption)


_EXITS = {"single": "one owner", "batched": "three owners", "defaults": "one, at defaults"}


def _exits(rows: Sequence[Row]) -> StudyFigure:
    own = [row for row in rows if row["kind"] == "exit"]
    groups = []
    for kind in dict.fromkeys(row["exit"] for row in own):
        here = [row for row in own if row["exit"] == kind]
        pair = (
            ("update", "update_seconds"),
            ("valuing anew from kept constituents", "warm_seconds"),
            ("valuing anew", "recompute_seconds"),
        )
        groups.append(Group(_EXITS[kind], tuple(Bar(name, _mean(here, key)) for name, key in pair)))
    drawing = bars("Time to values of equal width after a deletion", groups, Axis("Seconds", Unit.SECONDS, log=True))
    caption = (
        "The update starts from values and constituents that are there. One and three owners: from values twice as "
        "narrow as the result; at defaults: from values of half-width 0.01, as a workspace does. Same run."
    )
    return StudyFigure(drawing, caption)


def _mean(rows: Sequence[Row], key: str) -> Measured:
    return Measured(float(np.mean([row[key] for row in rows])))
