"""Draws the pictures that findings carry (`assurance.pictures`)."""

from collections.abc import Mapping
from typing import Any

from expunge.errors import ExpungeError
from expunge.reports.drawing import Drawing
from expunge.reports.figures import bars, lines
from expunge.reports.forms import Axis, Bar, Group, Series
from expunge.reports.numbers import Measured


def drawings(details: Mapping[str, Any]) -> list[Drawing]:
    """Every picture of a finding; one that is malformed is left out: evidence that was tampered with stops no page."""
    found = []
    for each in details.get("pictures", ()):
        try:
            found.append(_drawn(each))
        except (ExpungeError, AttributeError, KeyError, TypeError, ValueError):
            continue
    return found


def _drawn(picture: Mapping[str, Any]) -> Drawing:
    if picture["form"] == "bars":
        groups = [Group(name, (Bar("measured", Measured(value)),)) for name, value in picture["values"].items()]
        return bars(picture["title"], groups, Axis(_marked(picture)), mark=picture["mark"])
    series = [
        Series(each["label"], each["x"], each["y"], each.get("low", ()), each.get("high", ()))
        for each in picture["series"]
    ]
    return lines(picture["title"], series, Axis(picture["x"]), Axis(picture["y"]))


def _marked(picture: Mapping[str, Any]) -> str:
    return picture["axis"] if picture["mark"] is None else f"{picture['axis']} (line: threshold {picture['mark']:g})"
