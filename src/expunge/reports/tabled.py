"""The table beside each form of figure: the numbers that were drawn, or the places where curves are read."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from expunge.reports.drawing import Table
from expunge.reports.forms import Axis, Group, Sample, Series
from expunge.reports.numbers import Cell, Measured, Range, Unit

POINTS: Final = 12
"""Curves of more points than this stand in the table at this many of them."""

FALSE_POSITIVE_RATES: Final = (0.001, 0.01, 0.05, 0.1, 0.5)
"""Where the table of an ROC reads the curves."""

QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def bars(groups: Sequence[Group], names: Sequence[str], axis: Axis, band: str) -> Table:
    """A row a group, a column a series, and the band last where there is one."""
    banded = bool(band) and any(group.band for group in groups)
    rows = []
    for group in groups:
        found = {bar.series: bar.measured for bar in group.bars}
        ends = None if group.band is None else Range(*group.band)
        rows.append((group.label, *(found.get(name) for name in names), *([ends] if banded else [])))
    columns = (axis.label, *names, *([band] if banded else []))
    return Table(columns, tuple(rows), (Unit.PLAIN, *[axis.unit] * len(columns)))


def curves(series: Sequence[Series], x: Axis, y: Axis, note: str) -> Table:
    """A row for each x with a column for each curve, where they share few x or all; else as `points`."""
    shared = sorted({value for each in series for value in each.x})
    alike = all(len(each.x) == len(shared) for each in series)
    if any(len(set(each.x)) < len(each.x) for each in series) or (len(shared) > POINTS and not alike):
        return points(series, x, y, note)
    found = [{value: _measured(each, place) for place, value in enumerate(each.x)} for each in series]
    rows = tuple((shared[place], *(line.get(shared[place]) for line in found)) for place in _thinned(len(shared)))
    columns = (x.label, *(each.label for each in series)) if len(series) > 1 else (x.label, y.label)
    said = _drawn(len(rows), len(shared))
    return Table(columns, rows, (x.unit, *[y.unit] * len(series)), f"{said} {note}".strip())


def points(series: Sequence[Series], x: Axis, y: Axis, note: str = "") -> Table:
    """A row a point, thinned evenly where there are many."""
    rows: list[tuple[Cell, ...]] = []
    for each in series:
        rows += [(each.label, each.x[place], _measured(each, place)) for place in _thinned(len(each.x))]
    total = sum(len(each.x) for each in series)
    units = (Unit.PLAIN, x.unit, y.unit)
    return Table(("Series", x.label, y.label), tuple(rows), units, f"{_drawn(len(rows), total)} {note}".strip())


def _drawn(rows: int, total: int) -> str:
    return f"{rows} of the {total:,} points drawn, evenly chosen." if rows < total else ""


def clouds(found: Sequence[Series], x: Axis, y: Axis) -> Table:
    """A row a point where they are few; else for each cloud its size, and on each axis the median with 5 % and 95 %."""
    if all(len(each.x) <= POINTS for each in found):
        return points(found, x, y)
    rows: list[tuple[Cell, ...]] = [(each.label, len(each.x), _middle(each.x), _middle(each.y)) for each in found]
    columns = ("Series", "points", f"{x.label}: median", f"{y.label}: median")
    return Table(
        columns,
        tuple(rows),
        (Unit.PLAIN, Unit.COUNT, x.unit, y.unit),
        "In brackets, what 5\u202f% and 95\u202f% lie below.",
    )


def _middle(values: Sequence[float]) -> Measured:
    low, middle, high = (_quantile(values, share) for share in (0.05, 0.5, 0.95))
    return Measured(middle, low, high)


def roc(curves: Sequence[Series]) -> Table:
    """True-positive rates at fixed false-positive rates, and the area under each curve."""
    columns = ("Model", "AUC", *(f"TPR at FPR ≤ {_short(rate)}" for rate in FALSE_POSITIVE_RATES))
    rows: list[tuple[Cell, ...]] = []
    for each in curves:
        rows.append((each.label, area(each), *(_reading(each, rate) for rate in FALSE_POSITIVE_RATES)))
    finest = min((x for each in curves for x in each.x if x > 0), default=1.0)
    coarse = f"So few others make steps of {_short(round(finest, 4))} FPR: lower rates are read where none is accused."
    note = coarse if finest > FALSE_POSITIVE_RATES[0] else ""
    return Table(columns, tuple(rows), (Unit.PLAIN, Unit.PLAIN, *[Unit.SHARE] * len(FALSE_POSITIVE_RATES)), note)


def area(curve: Series) -> float:
    """Area under an ROC by the trapezoidal rule, which counts ties of scores as one half."""
    x, y = curve.x, curve.y
    return sum((x[i + 1] - x[i]) * (y[i + 1] + y[i]) / 2 for i in range(len(x) - 1))


def samples(found: Sequence[Sample], axis: Axis) -> Table:
    """Size and quantiles (the smallest value that the share has reached) of each sample."""
    names = ("smallest", *(f"{_short(share)} below" for share in QUANTILES[1:-1]), "largest")
    rows: list[tuple[Cell, ...]] = []
    for each in found:
        rows.append((each.label, len(each.values), *(_quantile(each.values, share) for share in QUANTILES)))
    return Table((axis.label, "values", *names), tuple(rows), (Unit.PLAIN, Unit.COUNT, *[axis.unit] * len(QUANTILES)))


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _measured(series: Series, place: int) -> Cell:
    if not series.low:
        return series.y[place]
    return Measured(series.y[place], series.low[place], series.high[place])


def _thinned(count: int) -> list[int]:
    if count <= POINTS:
        return list(range(count))
    return [round(number * (count - 1) / (POINTS - 1)) for number in range(POINTS)]


def _reading(curve: Series, rate: float) -> float:
    """The highest true-positive rate at a corner of the curve whose false-positive rate is at most `rate`."""
    return curve.y[max(0, bisect_right(curve.x, rate + 1e-12) - 1)]


def _short(share: float) -> str:
    return f"{100 * share:g}\u202f%"


def grid(corner: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]], unit: Unit) -> Table:
    """A named row of numbers each, all in one unit."""
    body: list[tuple[Cell, ...]] = [(name, *numbers) for name, numbers in rows]
    return Table((corner, *columns), tuple(body), (Unit.PLAIN, *[unit] * len(columns)))
