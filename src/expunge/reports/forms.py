"""What figures are given: axes, bars, curves, clouds and samples, checked when they are made."""

from collections.abc import Sequence
from dataclasses import dataclass

from expunge.errors import ProgrammerError
from expunge.reports.drawing import Tone
from expunge.reports.numbers import Measured, Unit, check_finite


@dataclass(frozen=True)
class Axis:
    """What an axis shows: words, unit, logarithmic or not; ends and ticks where the data are not to choose them."""

    label: str
    unit: Unit = Unit.PLAIN
    log: bool = False
    low: float | None = None
    high: float | None = None
    ticks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Bar:
    """One bar: which series it belongs to, and its value with interval."""

    series: str
    measured: Measured
    tone: Tone | None = None


@dataclass(frozen=True)
class Group:
    """Bars that stand together, with the reference band (the noise floor) that they are to be read against."""

    label: str
    bars: tuple[Bar, ...]
    band: tuple[float, float] | None = None


@dataclass(frozen=True)
class Series:
    """Points of one curve or cloud, with lower and upper ends where they have intervals.

    **Raises:** `ProgrammerError("bad-figure")` for unequal lengths, NaN and infinity.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    tone: Tone | None = None

    def __post_init__(self) -> None:
        check_finite(*self.x, *self.y, *self.low, *self.high)
        lengths = {len(self.x), len(self.y), len(self.low) or len(self.y), len(self.high) or len(self.y)}
        if len(lengths) != 1 or bool(self.low) != bool(self.high) or not self.x:
            raise ProgrammerError("bad-figure", "a series needs as many x as y, and both ends of its intervals")


@dataclass(frozen=True)
class Sample:
    """Values of one series without x: a sample, or a value for each spoke.

    **Raises:** `ProgrammerError("bad-figure")` for no value, NaN and infinity.
    """

    label: str
    values: Sequence[float]
    tone: Tone | None = None

    def __post_init__(self) -> None:
        check_finite(*self.values)
        if not self.values:
            raise ProgrammerError("bad-figure", "a sample needs a value")


def needed(items: Sequence[object], form: str) -> None:
    """Refuse an empty figure.

    **Raises:** `ProgrammerError("bad-figure")`.
    """
    if not items:
        raise ProgrammerError("bad-figure", f"{form} of nothing")
