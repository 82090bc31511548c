"""What figures put on their axes. Only `figures` calls these; matplotlib's axes never leave the two files."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from expunge.reports.drawing import DASHES, LIGHT, MARKERS, Tone, label, legend, side_labels, tones
from expunge.reports.forms import Axis, Bar, Group, Sample, Series
from expunge.reports.numbers import Unit, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, RULE = LIGHT["ink"], LIGHT["muted"], LIGHT["rule"]

MARKED_POINTS: Final = 24
"""Curves of more points than this carry no markers."""


class Toned(Protocol):
    """Anything that may name its tone."""

    @property
    def tone(self) -> Tone | None:
        """The tone, or `None` for the next free one."""


T = TypeVar("T", bound=Toned)


def toned(items: Sequence[T]) -> list[tuple[T, Tone]]:
    """Each item with its tone."""
    return list(zip(items, tones([item.tone for item in items]), strict=True))


def tone_of(names: Sequence[str], found: Sequence[Bar]) -> dict[str, Tone]:
    """The tone of each series of bars: the first that one of its bars names."""
    named = {bar.series: bar.tone for bar in reversed(found) if bar.tone is not None}
    return dict(zip(names, tones([named.get(name) for name in names]), strict=True))


def stroke(tone: Tone) -> dict[str, Any]:
    """Colour and dash of a line."""
    return {"color": LIGHT[tone], "linestyle": DASHES[tone]}


def style(axes: "Axes", axis: Axis, which: str) -> None:
    """Label, scale, ends and tick words of the axis `which` ("x" or "y")."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    side = axes.xaxis if which == "x" else axes.yaxis
    set_scale, set_ends = (axes.set_xscale, axes.set_xlim) if which == "x" else (axes.set_yscale, axes.set_ylim)
    if axis.log:
        set_scale("log")
        side.set_major_locator(LogLocator(numticks=7))
        side.set_minor_locator(NullLocator())
    else:
        side.set_major_locator(MaxNLocator(5 if which == "x" else 6, steps=[1, 2, 2.5, 5, 10]))
    if axis.ticks:
        side.set_major_locator(FixedLocator(axis.ticks))
    side.set_major_formatter(FuncFormatter(lambda value, _: _tick(float(value), axis)))
    side.set_label_text(label(axis.label))
    if axis.low is not None or axis.high is not None:
        set_ends(axis.low, axis.high)


def _tick(value: float, axis: Axis) -> str:
    if axis.unit is Unit.COUNT and abs(value) >= 10_000:
        return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value / 1e3:g}k"
    text = shown(value, axis.unit)
    head, point, tail = text.partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    decimals = tail[:digits].rstrip("0")
    return head + (point + decimals if decimals else "") + tail[digits:]


def groups(axes: "Axes", found: Sequence[Group], colours: Mapping[str, Tone]) -> None:
    """Bars from the top down; groups of several carry their label above, groups of one at the side."""
    single = all(len(group.bars) == 1 for group in found)
    top, ticks = 0.0, []
    for group in found:
        first = top if single else top + 0.85
        if not single:
            _heading(axes, group.label, top + 0.1)
        if group.band is not None:
            low, high = group.band
            axes.barh(first + len(group.bars) / 2 - 0.5, high - low, len(group.bars) + 0.1, low, **_BAND)
        for row, bar in enumerate(group.bars):
            _bar(axes, bar, first + row, colours[bar.series], "" if single else MARKERS[colours[bar.series]])
        ticks.append((first, group.label))
        top = first + len(group.bars) + (0.0 if single else 0.25)
    axes.set_ylim(top - (0.4 if single else 0.6), -0.6)
    axes.set_yticks([])
    side_labels(axes, ticks if single else [])


_BAND: Final[dict[str, Any]] = {"color": MUTED, "alpha": 0.22, "linewidth": 0, "zorder": 0.5}


def _heading(axes: "Axes", text: str, y: float) -> None:
    axes.annotate(
        label(text), (0, y), xycoords=("axes fraction", "data"), va="center", fontsize=10.5, annotation_clip=False
    )


def _bar(axes: "Axes", bar: Bar, y: float, tone: Tone, marker: str) -> None:
    measured = bar.measured
    axes.barh(y, measured.value, 0.62, color=LIGHT[tone], alpha=0.85, linewidth=0)
    if measured.interval is not None:
        low, high = measured.interval
        axes.plot([low, high], [y, y], color=INK, linewidth=1.1, marker="|", markersize=5)
    axes.plot([measured.value], [y], color=INK, marker=marker, markersize=3.6, linestyle="none")


def key_of_bars(axes: "Axes", names: Sequence[str], colours: Mapping[str, Tone], band: str) -> None:
    """The key: a swatch with its marker for each series, and the band."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=LIGHT[colours[name]], linewidth=6, alpha=0.85, marker=MARKERS[colours[name]],
               markersize=3.6, markerfacecolor=INK, markeredgecolor=INK)
        for name in names
    ]  # fmt: skip
    if band:
        handles.append(Patch(color=MUTED, alpha=0.22, linewidth=0))
    legend(axes, handles, [*names, *([band] if band else [])])


def curve(axes: "Axes", series: Series, tone: Tone) -> Any:
    """A line with its interval shaded; markers where the points are few."""
    few = len(series.x) <= MARKED_POINTS
    if series.low:
        axes.fill_between(series.x, series.low, series.high, color=LIGHT[tone], alpha=0.16, linewidth=0)
    (handle,) = axes.plot(series.x, series.y, marker=MARKERS[tone] if few else None, **stroke(tone))
    return handle


def roc(axes: "Axes", series: Series, tone: Tone, low: float) -> Any:
    """Straight from point to point, so that ties count one half as in the area; what lies under `low` is on the edge,
    for zero has no place on a logarithmic axis.
    """
    x, y, bottom, top = ([max(value, low) for value in side] for side in (series.x, series.y, series.low, series.high))
    if bottom:
        axes.fill_between(x, bottom, top, color=LIGHT[tone], alpha=0.16, linewidth=0)
    (handle,) = axes.plot(x, y, **stroke(tone))
    return handle


def border(axes: "Axes", line: Series) -> None:
    """A line between zones, with its name where it ends."""
    axes.plot(line.x, line.y, color=MUTED, linewidth=0.8)
    axes.annotate(line.label, (line.x[-1], line.y[-1]), color=MUTED, fontsize=7, ha="right", va="bottom")


def cloud(axes: "Axes", series: Series, tone: Tone) -> Any:
    """Points, with whiskers where they have intervals."""
    if series.low:
        axes.vlines(series.x, series.low, series.high, color=LIGHT[tone], linewidth=0.8, alpha=0.7)
    (handle,) = axes.plot(
        series.x, series.y, color=LIGHT[tone], marker=MARKERS[tone], linestyle="none", alpha=0.75, markeredgewidth=0
    )
    return handle


def stairs(axes: "Axes", sample: Sample, tone: Tone, last: float) -> Any:
    """The distribution function of a sample, drawn on to `last`, where all samples have ended."""
    ordered = sorted(sample.values)
    shares = [rank / len(ordered) for rank in range(len(ordered) + 1)]
    (handle,) = axes.plot([ordered[0], *ordered, last], [*shares, 1.0], drawstyle="steps-post", **stroke(tone))
    return handle


def matrix(axes: "Axes", values: Sequence[Sequence[float]], axis: Axis) -> None:
    """Coloured cells with their numbers, black or white by the cell's lightness."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex
    from matplotlib.patches import Rectangle

    everything = [value for row in values for value in row]
    low = min(everything) if axis.low is None else axis.low
    high = max(everything) if axis.high is None else axis.high
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            share = 0.5 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))
            red, green, blue, _ = colormaps["cividis"](share)
            text = "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 else "#ffffff"
            axes.add_patch(
                Rectangle((column - 0.48, row - 0.47), 0.96, 0.94, color=to_hex((red, green, blue)), linewidth=0)
            )
            axes.text(column, row, shown(value, axis.unit), ha="center", va="center", color=text, fontsize=10)


def web(axes: "Axes", spokes: Sequence[str], axis: Axis, low: float, high: float) -> None:
    """Rings at quarters of the scale, spokes and their labels."""
    corners = _corners(len(spokes))
    for ring in (0.25, 0.5, 0.75, 1.0):
        outline = [(ring * x, ring * y) for x, y in [*corners, corners[0]]]
        axes.plot(*zip(*outline, strict=True), color=RULE, linewidth=0.7)
        if ring in (0.5, 1.0):
            text = shown(low + ring * (high - low), axis.unit)
            turn = math.pi / len(spokes)
            axes.text(
                ring * math.sin(turn), ring * math.cos(turn), text, fontsize=9, color=MUTED, ha="center", va="center"
            )
    for (x, y), name in zip(corners, spokes, strict=True):
        axes.plot([0, x], [0, y], color=RULE, linewidth=0.7)
        side = "center" if abs(x) < 0.2 else "left" if x > 0 else "right"
        axes.text(1.1 * x, 1.14 * y, label(name, 14), ha=side, va="center", fontsize=10.5)


def shape(axes: "Axes", sample: Sample, tone: Tone, low: float, high: float) -> Any:
    """One closed outline; values beyond the scale are drawn on its edge."""
    span = (high - low) or 1.0
    sizes = [min(1.0, max(0.0, (value - low) / span)) for value in sample.values]
    points = [(size * x, size * y) for size, (x, y) in zip(sizes, _corners(len(sizes)), strict=True)]
    (handle,) = axes.plot(*zip(*points, points[0], strict=True), marker=MARKERS[tone], **stroke(tone))
    axes.fill(*zip(*points, strict=True), color=LIGHT[tone], alpha=0.08, linewidth=0)
    return handle


def _corners(count: int) -> list[tuple[float, float]]:
    turns = [2 * math.pi * number / count for number in range(count)]
    return [(math.sin(turn), math.cos(turn)) for turn in turns]
