"""Word-sized figures that stand in a table's row: a claim against its mark, and how a column's numbers spread."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from markupsafe import Markup

from expunge.reports.numbers import Measured, Range, Unit, printable, shown

WIDTH: Final = 150
HEIGHT: Final = 22
MARGIN: Final = 6

_MARK = re.compile(
    r"\s*(?P<sign>>=|<=|==?|>|<|≥|≤)?\s*(?P<number>[-+]?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]{1,3})?)\s*(?:%|x)?\s*"
)


def mark(target: str | None) -> tuple[str, float] | None:
    """Sign and number of a mark such as `">= 5"` or `">= 5, in points"`; `None` for a mark in words.

    >>> mark(">= 5"), mark("<= 2, in points"), mark("1"), mark("every row")
    (('>', 5.0), ('<', 2.0), ('=', 1.0), None)
    """
    number, comma, _ = (target or "").partition(",")
    found = _MARK.fullmatch(number)
    if found is None or (comma and not found["sign"]):
        return None
    sign = (found["sign"] or "=")[0].replace("≥", ">").replace("≤", "<")
    return sign, float(found["number"])


def target_words(target: str | None) -> str:
    """The mark as people write it."""
    said = printable(target or "").replace(">=", "≥").replace("<=", "≤")
    return re.sub(r"^([<>≥≤]) ", "\\1\u00a0", said)


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


def _svg(said: str, parts: Sequence[Markup], height: int = HEIGHT) -> Markup:
    kind = "bullet" if height == HEIGHT else "lanes"
    head = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(kind, WIDTH, height, said)
    return head + Markup("").join(parts) + Markup("</svg>")


LANES: Final = 46
"""Height of a picture of three lanes."""


def lanes(
    before: Measured | None,
    after: Measured | None,
    references: Sequence[Measured],
    floor: Range | None,
    unit: Unit = Unit.PLAIN,
) -> Markup:
    """Before, after and the retrained references one under the other on a scale of their own, over the noise floor."""
    everyone = [one for one in (before, after, *references) if one is not None]
    if not everyone:
        return Markup("")
    ends = [end for one in everyone for end in (one.value, *(one.interval or ()))]
    ends += [] if floor is None else [floor.low, floor.high]
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def x(value: float) -> float:
        return float(MARGIN + (WIDTH - 2 * MARGIN) * (value - low) / span)

    parts = [] if floor is None else [_floor(x(floor.low), x(floor.high))]
    parts += [] if before is None else _lane(x, before, 9, "before")
    parts += [] if after is None else _lane(x, after, 23, "after")
    parts += [part for one in references for part in _lane(x, one, 37, "retrained")]
    return _svg(_said(before, after, floor, unit), parts, LANES)


def _said(before: Measured | None, after: Measured | None, floor: Range | None, unit: Unit) -> str:
    words = [f"{name} {shown(one.value, unit)}" for name, one in (("before", before), ("after", after)) if one]
    words += [f"noise floor {shown(floor.low, unit)} to {shown(floor.high, unit)}"] if floor else []
    return ", ".join(words)


def _floor(start: float, end: float) -> Markup:
    width = max(end - start, 1.5)
    shape = '<rect x="{:.1f}" y="0" width="{:.1f}" height="{}" style="fill: var(--retrained)" opacity="0.2"/>'
    return Markup(shape).format(start - (width - (end - start)) / 2, width, LANES)


_SIGNS: Final = {
    "before": "M{x:.1f} 5a4 4 0 1 0 .01 0",
    "after": "M{l:.1f} 19.5h7v7h-7z",
    "retrained": "M{x:.1f} 32.4l4.4 4.6l-4.4 4.6l-4.4 -4.6z",
}


def _lane(x: Callable[[float], float], one: Measured, y: float, tone: str) -> list[Markup]:
    """The interval and the model's sign: circle, square, diamond, as everywhere on the page."""
    at = x(one.value)
    sign = Markup('<path d="{}" style="fill: var(--{})"/>').format(_SIGNS[tone].format(x=at, l=at - 3.5), tone)
    if one.interval is None:
        return [sign]
    start, end = (x(value) for value in one.interval)
    line = Markup('<path d="M{:.1f} {}H{:.1f}" style="stroke: var(--{})" stroke-width="1.6"/>')
    return [line.format(start, y, end, tone), sign]
