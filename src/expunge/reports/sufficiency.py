"""Draws the pictures that findings carry (`assurance.pictures`), and the page on whether raw data are sufficient."""

from collections.abc import Mapping
from typing import Any

from expunge import __version__
from expunge.assurance.evidence import Finding, Verdict
from expunge.errors import ExpungeError
from expunge.reports.drawing import Drawing
from expunge.reports.figures import bars, lines, scatter
from expunge.reports.forms import Axis, Bar, Group, Series
from expunge.reports.html import page
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


def sufficiency_page(name: str, findings: Mapping[str, Finding]) -> str:
    """One self-contained page: each question with its verdict, formula, threshold and pictures."""
    shown = [(question, finding, drawings(finding.details)) for question, finding in findings.items()]
    failed = [question for question, finding in findings.items() if finding.verdict is not Verdict.HOLDS]
    return page("sufficiency.html", name=name, version=__version__, shown=shown, failed=failed)


def _drawn(picture: Mapping[str, Any]) -> Drawing:
    if picture["form"] == "bars":
        groups = [Group(name, (Bar("measured", Measured(value)),)) for name, value in picture["values"].items()]
        return bars(picture["title"], groups, Axis(_marked(picture)), mark=picture["mark"])
    if picture["form"] == "grid":
        return _grid(picture)
    series = [
        Series(each["label"], each["x"], each["y"], each.get("low", ()), each.get("high", ()))
        for each in picture["series"]
    ]
    return lines(picture["title"], series, Axis(picture["x"]), Axis(picture["y"]))


def _grid(picture: Mapping[str, Any]) -> Drawing:
    borders = [Series(each["label"], each["x"], each["y"]) for each in picture["borders"]]
    points = [Series("points", *picture["points"])]
    return scatter(picture["title"], points, Axis(picture["x"]), Axis(picture["y"]), borders=borders)


def _marked(picture: Mapping[str, Any]) -> str:
    return picture["axis"] if picture["mark"] is None else f"{picture['axis']} (line: threshold {picture['mark']:g})"
