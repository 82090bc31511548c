"""Numbers as people read them: units, as many digits as the interval warrants, and the exact value kept beside them.

Every number on a page stands in an HTML `<data>` element whose `value` is the number as the JSON has it, so that what
is read and what was measured can be compared by machine.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from markupsafe import Markup

from expunge.errors import ProgrammerError

SPACE: Final = "\u202f"
"""Narrow and unbreakable: between a number and its unit."""

MINUS: Final = "\u2212"
MISSING: Final = "\u2013"


class Unit(StrEnum):
    """What a number counts, which decides how it is shown."""

    PLAIN = "plain"
    """Three significant digits."""

    EXACT = "exact"
    """As it was set, not measured: hyper-parameters, epsilon, delta."""

    SHARE = "share"
    """In [0, 1], shown in per cent."""

    POINTS = "points"
    """Points of 100, one decimal."""

    COUNT = "count"
    """Whole numbers with thousands marked."""

    SECONDS = "seconds"
    """Wall time, in the largest unit that keeps it readable."""

    BYTES = "bytes"
    """Memory, in powers of 1024."""

    TIMES = "times"
    """A ratio of costs."""


@dataclass(frozen=True)
class Measured:
    """A value with its interval, where it has one.

    **Raises:** `ProgrammerError("bad-figure")` for a number that is not finite or an interval upside down.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        check_finite(self.value, *(end for end in (self.low, self.high) if end is not None))
        if (self.low is None) != (self.high is None) or (self.low or 0) > (self.high or 0):
            raise ProgrammerError("bad-figure", "an interval has two ends, the lower one first")

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends, or `None`."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def spread(self) -> float | None:
        """Width of the interval, or `None`."""
        return None if self.low is None or self.high is None else self.high - self.low


@dataclass(frozen=True)
class Range:
    """Two ends without a value between them, such as a noise floor; shown as one number where they read alike.

    **Arguments:** `spread`: as in `shown`; by default the range's own width.
    """

    low: float
    high: float
    spread: float | None = None


Cell = str | int | float | bool | Measured | Range | None
"""What may stand in a table: words, numbers, yes and no, a measurement, a range, or nothing."""


def check_finite(*values: float) -> None:
    """Refuse NaN and infinity: neither can be drawn or written as JSON.

    **Raises:** `ProgrammerError("bad-figure")`.
    """
    if not all(math.isfinite(value) for value in values):
        raise ProgrammerError("bad-figure", "NaN or infinity among the numbers to be shown")


def shown(value: float, unit: Unit = Unit.PLAIN, spread: float | None = None) -> str:
    """`value` in `unit`, for people.

    **Arguments:** `spread`: width of the interval around the value: digits that it makes meaningless are not shown.

    **Raises:** `ProgrammerError("bad-figure")` for NaN and infinity.

    >>> shown(0.8734211), shown(0.5, Unit.SHARE), shown(71392, Unit.COUNT), shown(0.8734211, spread=0.2)
    ('0.873', '50.0\\u202f%', '71,392', '0.87')
    """
    check_finite(value)
    text = _FORMATS[unit](value, spread)
    magnitude = text.lstrip("-")
    is_zero = not any(digit in "123456789" for digit in magnitude)
    return magnitude if value >= 0 or is_zero else MINUS + magnitude


def marked(value: float, unit: Unit = Unit.PLAIN, spread: float | None = None) -> Markup:
    """`shown` in a `<data>` element that carries the exact value."""
    number: float = int(value) if isinstance(value, bool) else value
    return Markup('<data value="{}">{}</data>').format(repr(number), shown(number, unit, spread))


def with_interval(measured: Measured, unit: Unit = Unit.PLAIN) -> Markup:
    """The value, and its interval in brackets where there is one that is not a point."""
    low, high = measured.interval or (measured.value, measured.value)
    if low == high:
        return marked(measured.value, unit)
    spread = high - low
    value, ends = marked(measured.value, unit, spread), [marked(end, unit, spread) for end in (low, high)]
    return Markup('{} <span class="interval">[{}, {}]</span>').format(value, *ends)


def cell(content: Cell, unit: Unit = Unit.PLAIN) -> Markup:
    """One table cell's content."""
    if content is None:
        return Markup('<span class="missing" title="no figure">{}</span>').format(MISSING)
    if isinstance(content, bool):
        return Markup('<data value="{}">{}</data>').format(int(content), "yes" if content else "no")
    if isinstance(content, Measured):
        return with_interval(content, unit)
    if isinstance(content, Range):
        return _range(content, unit)
    if isinstance(content, int) and unit is Unit.PLAIN:
        return marked(content, Unit.COUNT)
    return Markup.escape(printable(content)) if isinstance(content, str) else marked(content, unit)


def printable(text: str) -> str:
    """`text` with spaces for what does not print: control characters, lone surrogates, and signs that turn the
    direction of writing, by which a page can be made to read otherwise than it is.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in (SPACE, "\u00a0") else " " for sign in text)


def _range(content: Range, unit: Unit) -> Markup:
    spread = content.spread or content.high - content.low
    low, high = (marked(end, unit, spread) for end in (content.low, content.high))
    return low if low.striptags() == high.striptags() else Markup("{} to {}").format(low, high)


def _decimals(spread: float | None, otherwise: int, most: int = 4) -> int:
    """Enough decimals for two digits of half the interval."""
    if not spread:
        return otherwise
    return max(0, min(most, 1 - math.floor(math.log10(spread / 2))))


def _plain(value: float, spread: float | None) -> str:
    size = abs(value)
    if value == int(value) and size < 1000 and not spread:
        return f"{int(value)}"
    if size >= 1e6 or 0 < max(size, spread or 0) < 1e-3:
        return _powers(value)
    digits = 0 if size == 0 else 2 - math.floor(math.log10(size))
    return f"{value:,.{_decimals(spread, max(0, digits))}f}"


def _powers(value: float) -> str:
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}{SPACE}×{SPACE}10{power}"


def _share(value: float, spread: float | None) -> str:
    small = 0 < abs(value) < 1e-3
    decimals = 3 if small else _decimals(None if spread is None else 100 * spread, 1, 2)
    return f"{100 * value:.{decimals}f}{SPACE}%"


def _seconds(value: float, spread: float | None) -> str:
    if abs(value) < 1:
        return f"{1000 * value:.3g}{SPACE}ms" if abs(value) < 0.9995 else f"1.0{SPACE}s"
    if abs(value) < 60:
        return f"{value:.{_decimals(spread, 1)}f}{SPACE}s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{SPACE}h {minutes}{SPACE}min" if hours else f"{minutes}{SPACE}min {seconds}{SPACE}s"


def _bytes(value: float, spread: float | None) -> str:
    del spread
    size, names = value, ["B", "KiB", "MiB", "GiB", "TiB"]
    while abs(size) >= 1024 and len(names) > 1:
        size, names = size / 1024, names[1:]
    return f"{size:.0f}{SPACE}B" if names[0] == "B" else f"{size:.1f}{SPACE}{names[0]}"


def _exact(value: float, spread: float | None) -> str:
    del spread
    return f"{value:.9g}"


def _points(value: float, spread: float | None) -> str:
    return f"{value:.{_decimals(spread, 1, 2)}f}"


def _count(value: float, spread: float | None) -> str:
    return f"{round(value):,}" if value == int(value) else _plain(value, spread)


def _times(value: float, spread: float | None) -> str:
    if 0.01 <= value < 1:
        return f"{value:.2f}{SPACE}×"
    return f"{_plain(value, spread)}{SPACE}×"


_FORMATS: Final[dict[Unit, Callable[[float, float | None], str]]] = {
    Unit.PLAIN: _plain,
    Unit.EXACT: _exact,
    Unit.SHARE: _share,
    Unit.POINTS: _points,
    Unit.COUNT: _count,
    Unit.SECONDS: _seconds,
    Unit.BYTES: _bytes,
    Unit.TIMES: _times,
}
