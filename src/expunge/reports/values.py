"""The page of a workspace's values: the owners with the highest and lowest, and what the last deletion moved."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from expunge import __version__
from expunge.reports.drawing import Tone
from expunge.reports.figures import bars
from expunge.reports.forms import Axis, Bar, Group
from expunge.reports.html import page
from expunge.reports.numbers import Measured
from expunge.reports.study import StudyFigure

MOST: Final = 24
"""Owners in one figure."""

Line = Mapping[str, Any]


def values_report(
    facts: Mapping[str, Any], lines: Sequence[Line], previous: Mapping[str, Sequence[float | None]]
) -> str:
    """One self-contained page.

    **Arguments:**

    - `facts`: `shards`, `shared`, `evaluations`, and `lead`, a sentence on how the values came about.
    - `lines`: `owner`, `value`, `half_width` (None where unknown) of each owner.
    - `previous`: value and half-width of the same owners before the last deletion; empty where there was none.

    **Raises:** `ProgrammerError("bad-figure")` for no line, NaN and infinity.
    """
    ordered = sorted(lines, key=_worth)
    shown = ordered if len(ordered) <= MOST else [*ordered[: MOST // 2], *ordered[-MOST // 2 :]]
    groups = [Group(line["owner"], (Bar("value", _measured(line["value"], line["half_width"])),)) for line in shown]
    axis = Axis("S-Shapley value, in accuracy")
    first = StudyFigure(bars("Value per owner", groups, axis, mark=0.0), _which(len(shown), len(ordered)))
    figures = [first, _moved(ordered, previous, axis)] if previous else [first]
    return page("values.html", version=__version__, figures=figures, owners=len(lines), **facts)


def _moved(lines: Sequence[Line], previous: Mapping[str, Sequence[float | None]], axis: Axis) -> StudyFigure:
    """The owners whose values moved most at the last deletion."""
    known = [
        (abs(line["value"] - (previous[line["owner"]][0] or 0.0)), line) for line in lines if line["owner"] in previous
    ]
    most = [line for _, line in sorted(known, key=_distance)[: MOST // 2]]
    groups = [
        Group(
            line["owner"],
            (
                Bar("before", _measured(previous[line["owner"]][0] or 0.0, previous[line["owner"]][1]), Tone.BEFORE),
                Bar("after", _measured(line["value"], line["half_width"]), Tone.AFTER),
            ),
        )
        for line in most
    ]
    caption = "The owners whose values moved most at the last deletion; both measured on the same test records."
    return StudyFigure(bars("Before and after the last deletion", groups, axis, mark=0.0), caption)


def _which(shown: int, count: int) -> str:
    return "All owners." if shown == count else f"The {shown // 2} highest and the {shown // 2} lowest of {count}."


def _worth(line: Line) -> float:
    return -float(line["value"])


def _distance(pair: tuple[float, Line]) -> float:
    return -pair[0]


def _measured(value: float, half: float | None) -> Measured:
    return Measured(value) if half is None else Measured(value, value - half, value + half)
