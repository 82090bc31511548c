"""Word-sized figures that stand in a table's row: a claim against its mark, and how a column's numbers spread."""

import re
from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from expunge.reports.numbers import shown

WIDTH: Final = 150
HEIGHT: Final = 22
MARGIN: Final = 6

_MARK = re.compile(
    r"\s*(?P<sign>>=|<=|==?|>|<|≥|≤)?\s*(?P<number>[-+]?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]{1,3})?)\s*(?:%|x)?\s*"
)


def mark(target: str | None) -> tuple[str, float] | None:
    """Sign and number of a mark such as `">= 5"`; `None` for a mark in words.

    >>> mark(">= 5"), mark("1"), mark("every row")
    (('>', 5.0), ('=', 1.0), None)
    """
    found = _MARK.fullmatch(target or "")
    if found is None:
        return None
    sign = (found["sign"] or "=")[0].replace("≥", ">").replace("≤", "<")
    return sign, float(found["number"])


def target_words(target: str | None) -> str:
    """The mark as people write it."""
    return (target or "").replace(">=", "≥").replace("<=", "≤")


def bullet(value: float, interval: Sequence[float] | None, target: str | None) -> Markup:
    """Value and interval on a line of their own scale, with the mark and, shaded, the side on which the claim holds."""
    goal = mark(target)
    ends = [value, *(interval or ()), *([goal[1]] if goal else [])]
    low, high = min(ends), max(ends)
    span = (high - low) or abs(high) or 1.0

    def x(number: float) -> str:
        return f"{MARGIN + (WIDTH - 2 * MARGIN) * (0.12 + 0.76 * (number - low) / span):.1f}"

    parts = [_line(f"{MARGIN}", f"{WIDTH - MARGIN}", "rule", 1)]
    if goal is not None:
        parts.insert(0, _side(goal[0], x(goal[1])))
        parts.append(Markup('<path d="M{0} 3V19" style="stroke: var(--ink)" stroke-width="1.5"/>').format(x(goal[1])))
    if interval is not None:
        parts.append(_line(x(interval[0]), x(interval[1]), "after", 3))
    parts.append(Markup('<circle cx="{}" cy="11" r="4" style="fill: var(--after)"/>').format(x(value)))
    said = f"value {shown(value)}" + (f", mark {target_words(target)}" if target else "")
    return _svg(said, parts)


def strip(values: Sequence[float]) -> Markup:
    """A dot for each number between the smallest and the largest."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    middle = 0.5 if high == low else 0.0
    dots = [f"{MARGIN + (WIDTH - 2 * MARGIN) * (middle + (value - low) / span):.1f}" for value in values]
    parts = [_line(f"{MARGIN}", f"{WIDTH - MARGIN}", "rule", 1)]
    parts += [
        Markup('<circle cx="{}" cy="11" r="3" style="fill: var(--after)" opacity="0.5"/>').format(x) for x in dots
    ]
    return _svg(f"{len(values)} numbers from {shown(low)} to {shown(high)}", parts)


def _side(sign: str, x: str) -> Markup:
    start, end = {">": (x, f"{WIDTH}"), "<": ("0", x)}.get(sign, (x, x))
    shape = '<rect x="{}" y="3" width="{:.1f}" height="16" style="fill: var(--good)" opacity="0.16"/>'
    return Markup(shape).format(start, float(end) - float(start))


def _line(start: str, end: str, colour: str, width: float) -> Markup:
    line = '<path d="M{} 11H{}" style="stroke: var(--{})" stroke-width="{}"/>'
    return Markup(line).format(start, end, colour, width)


def _svg(said: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="bullet" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, said)
    return head + Markup("").join(parts) + Markup("</svg>")
