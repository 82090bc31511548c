"""Pictures of findings as plain JSON, so that they are signed with their evidence; `reports.sufficiency` draws them."""

from collections.abc import Mapping, Sequence
from typing import Any


def bars(title: str, axis: str, values: Mapping[str, float], mark: float | None = None) -> dict[str, Any]:
    """One bar each, and the threshold as a line at `mark`."""
    return {"form": "bars", "title": title, "axis": axis, "values": dict(values), "mark": mark}


def curve(title: str, x: str, y: str, series: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Curves: each has `label`, `x`, `y`, and perhaps `low` and `high`."""
    return {"form": "lines", "title": title, "x": x, "y": y, "series": [dict(each) for each in series]}


def shown(*pictures: Mapping[str, Any]) -> dict[str, Any]:
    """Details of a finding that holds these pictures."""
    return {"pictures": [dict(each) for each in pictures]}


def grid(
    title: str, x: str, y: str, points: Sequence[Sequence[float]], borders: Mapping[str, Sequence[Sequence[float]]]
) -> dict[str, Any]:
    """Points over the borders of zones: `points` are x and y, each border as well."""
    lines = [{"label": name, "x": list(ends[0]), "y": list(ends[1])} for name, ends in borders.items() if ends[0]]
    return {"form": "grid", "title": title, "x": x, "y": y, "points": [list(each) for each in points], "borders": lines}
