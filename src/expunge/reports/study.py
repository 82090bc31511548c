"""The report of a study: its claims against their marks, its figures each beside its table, and every row."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape

from expunge.errors import ProgrammerError
from expunge.reports.drawing import Drawing, Table
from expunge.reports.html import page
from expunge.reports.numbers import Cell, Measured, Unit, printable
from expunge.reports.sparks import bullet, mark, strip, target_words

KEYS: Final = ("study", "version", "platform", "data", "scale", "seeds", "seconds", "rows", "claims")
"""What `results.json` holds."""

OPEN_ROWS: Final = 40
"""Longer tables of rows are folded."""

SHOWN_ROWS: Final = 500
"""Rows beyond these are in `results.json` only; the page says so."""


@dataclass(frozen=True)
class StudyFigure:
    """A figure of a study of `expunge.reports.figures`, which brings its table, and a sentence on how to read it."""

    drawing: Drawing
    caption: str = ""


@dataclass(frozen=True)
class _Claim:
    """A claim as its row shows it."""

    name: Markup
    value: Measured | None
    target: str
    verdict: str
    words: str
    why: str
    caveat: str
    picture: Markup


def study_report(results: Mapping[str, Any], figures: Sequence[StudyFigure]) -> str:
    """One self-contained page from `results.json` and the study's figures.

    **Raises:** `ProgrammerError("bad-figure")` for results that lack a key, NaN and infinity.
    """
    if missing := [key for key in KEYS if key not in results]:
        raise ProgrammerError("bad-figure", f"the results lack {', '.join(missing)}")
    claims = [_claim(claim) for claim in results["claims"]]
    return page(
        "study.html",
        results=results,
        claims=claims,
        summary=_summary(claims),
        figures=figures,
        rows=_rows(results["rows"]),
        strips=_strips(results["rows"]),
        left_out=max(0, len(results["rows"]) - SHOWN_ROWS),
        folded=len(results["rows"]) > OPEN_ROWS,
    )


def _claim(claim: Mapping[str, Any]) -> _Claim:
    value, target = claim["value"], claim.get("target")
    verdict, words = _verdict(value, claim.get("holds"))
    interval = claim.get("interval") or (None, None)
    measured = None if value is None else Measured(float(value), *interval)
    picture = Markup("") if measured is None else bullet(measured.value, measured.interval, target)
    why, caveat = claim.get("why") or "", "the interval crosses the mark" if _crosses(measured, target) else ""
    return _Claim(_breakable(claim["name"]), measured, target_words(target), verdict, words, why, caveat, picture)


def _breakable(name: str) -> Markup:
    """A name that wraps after its dots and underscores, not in the middle of a word."""
    return Markup(re.sub(r"([._])(?=.)", r"\1<wbr>", str(escape(printable(name)))))


def _crosses(measured: Measured | None, target: str | None) -> bool:
    """Whether the value is on one side of the mark and its interval on both: the verdict may then be chance."""
    goal = mark(target)
    if measured is None or measured.interval is None or goal is None or goal[0] == "=":
        return False
    return measured.interval[0] < goal[1] < measured.interval[1]


def _verdict(value: object, holds: bool | None) -> tuple[str, str]:
    if value is None:
        return "open", "no answer"
    if holds is None:
        return "none", "no mark"
    return ("yes", "holds") if holds else ("no", "does not hold")


def _summary(claims: Sequence[_Claim]) -> str:
    count = {kind: sum(claim.verdict == kind for claim in claims) for kind in ("yes", "no", "open", "none")}
    judged = count["yes"] + count["no"]
    said = [
        f"{count['yes']} of {judged} claims that have a mark hold" if judged else "No claim was held against a mark"
    ]
    if count["open"]:
        said.append(f"{count['open']} cannot be answered on this data")
    if count["none"]:
        said.append(f"{count['none']} {'is' if count['none'] == 1 else 'are'} reported without a mark")
    return "; ".join(said) + "."


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _rows(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = _columns(rows)
    body = tuple(tuple(_content(row.get(name)) for name in names) for row in rows[:SHOWN_ROWS])
    units = tuple(Unit.SECONDS if name.endswith("seconds") else Unit.PLAIN for name in names)
    return Table(tuple(name.replace("_", " ") for name in names), body, units)


def _content(value: Any) -> Cell:
    if value is None or isinstance(value, str | int | float):
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _strips(rows: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """How the numbers of each column spread, for the table's foot; nothing for words and for a single number."""
    return [_strip([row.get(name) for row in rows]) for name in _columns(rows)]


def _strip(values: Sequence[Any]) -> Markup:
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return strip(numbers) if len(numbers) > 1 else Markup("")
