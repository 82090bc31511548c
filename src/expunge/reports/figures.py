"""One helper for each form of figure. Each returns a drawing together with the table of the numbers it shows."""

from collections.abc import Sequence

from expunge.errors import ProgrammerError
from expunge.reports import marks, tabled
from expunge.reports.drawing import LIGHT, Drawing, canvas, label, legend, side_labels
from expunge.reports.forms import Axis, Group, Sample, Series, needed
from expunge.reports.numbers import Unit, check_finite


def bars(title: str, groups: Sequence[Group], axis: Axis, *, mark: float | None = None, band: str = "") -> Drawing:
    """Horizontal bars with intervals; a shaded band behind each group, and a line at `mark` through all.

    **Arguments:** `band`: what the shaded band is, for the key and the table.
    """
    needed(groups, "bars")
    names = list(dict.fromkeys(bar.series for group in groups for bar in group.bars))
    colours = marks.tone_of(names, [bar for group in groups for bar in group.bars])
    rows = sum(len(group.bars) + 0.9 for group in groups)
    with canvas(title, 66 + 17 * rows) as drawn:
        marks.groups(drawn.axes, groups, colours)
        marks.style(drawn.axes, axis, "x")
        drawn.axes.grid(visible=False, axis="y")
        drawn.axes.spines["left"].set_visible(False)
        drawn.axes.tick_params(axis="y", length=0)
        if mark is not None:
            drawn.axes.axvline(mark, color=LIGHT["ink"], linewidth=0.8)
        named = band if any(group.band for group in groups) else ""
        if named or any(len(group.bars) > 1 for group in groups):
            marks.key_of_bars(drawn.axes, names, colours, named)
    return Drawing(title, drawn.svg, tabled.bars(groups, names, axis, band))


def lines(
    title: str, series: Sequence[Series], x: Axis, y: Axis, *, band: tuple[float, float] | None = None, note: str = ""
) -> Drawing:
    """Curves with a shaded interval each; `band` is a horizontal reference, explained by `note`."""
    needed(series, "lines")
    with canvas(title, 240) as drawn:
        if band is not None:
            drawn.axes.axhspan(*band, color=LIGHT["muted"], alpha=0.16, linewidth=0)
        handles = [marks.curve(drawn.axes, each, tone) for each, tone in marks.toned(series)]
        marks.style(drawn.axes, x, "x")
        marks.style(drawn.axes, y, "y")
        legend(drawn.axes, handles, [each.label for each in series])
    return Drawing(title, drawn.svg, tabled.curves(series, x, y, note))


def roc(title: str, curves: Sequence[Series], *, log: bool = False) -> Drawing:
    """Receiver operating characteristics on linear axes, or on logarithmic ones, where low false-positive rates show.

    **Arguments:** `curves`: `x` false-positive rates ascending from 0 to 1, `y` true-positive rates.
    """
    needed(curves, "roc")
    floor = min((rate for each in curves for rate in (*each.x, *each.y) if rate > 0), default=1e-3)
    low = max(1e-4, floor / 1.5) if log else 0.0
    ends = (low, 1.0) if log else (-0.01, 1.01)
    with canvas(title, 292) as drawn:
        drawn.axes.plot([low, 1], [low, 1], color=LIGHT["muted"], linewidth=0.8)
        handles = [marks.roc(drawn.axes, each, tone, low) for each, tone in marks.toned(curves)]
        marks.style(drawn.axes, Axis("False-positive rate", Unit.SHARE, log, *ends), "x")
        marks.style(drawn.axes, Axis("True-positive rate", Unit.SHARE, log, *ends), "y")
        drawn.axes.set_box_aspect(0.72)
        legend(drawn.axes, handles, [each.label for each in curves])
    return Drawing(title, drawn.svg, tabled.roc(curves))


def scatter(
    title: str,
    clouds: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    diagonal: bool = False,
    borders: Sequence[Series] = (),
) -> Drawing:
    """Points, each cloud with its own marker; `diagonal` draws the line of equality, `borders` lines between zones."""
    needed(clouds, "scatter")
    with canvas(title, 270) as drawn:
        if diagonal:
            drawn.axes.axline((0, 0), slope=1, color=LIGHT["muted"], linewidth=0.8)
        for each in borders:
            marks.border(drawn.axes, each)
        handles = [marks.cloud(drawn.axes, each, tone) for each, tone in marks.toned(clouds)]
        marks.style(drawn.axes, x, "x")
        marks.style(drawn.axes, y, "y")
        legend(drawn.axes, handles, [each.label for each in clouds])
    return Drawing(title, drawn.svg, tabled.clouds(clouds, x, y))


def heatmap(
    title: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], axis: Axis
) -> Drawing:
    """A matrix: every cell is coloured (cividis, which colour-blind readers see alike) and carries its number.

    **Arguments:** `values`: one row for each of `rows`, one number for each of `columns`; `axis`: what they are.

    **Raises:** `ProgrammerError("bad-figure")` for a matrix of another shape, NaN and infinity.
    """
    needed(rows, "heatmap")
    check_finite(*(value for row in values for value in row))
    if len(values) != len(rows) or any(len(row) != len(columns) for row in values):
        raise ProgrammerError("bad-figure", "the matrix has not as many rows and columns as there are labels")
    with canvas(title, 56 + 26 * len(rows)) as drawn:
        marks.matrix(drawn.axes, values, axis)
        drawn.axes.set_xticks(range(len(columns)), [label(name, max(3, 44 // len(columns))) for name in columns])
        drawn.axes.set_yticks([])
        side_labels(drawn.axes, list(enumerate(rows)))
        drawn.axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        drawn.axes.grid(visible=False)
        drawn.axes.tick_params(length=0)
        drawn.axes.spines[:].set_visible(False)
    body = list(zip(rows, values, strict=True))
    return Drawing(title, drawn.svg, tabled.grid(axis.label, columns, body, axis.unit))


def radar(title: str, spokes: Sequence[str], shapes: Sequence[Sample], axis: Axis) -> Drawing:
    """Closed shapes over spokes that share one scale, from `axis.low` (0) at the centre to `axis.high` (the largest).

    **Raises:** `ProgrammerError("bad-figure")` for fewer than three spokes or shapes that do not fit them.
    """
    if len(spokes) < 3 or not shapes or any(len(shape.values) != len(spokes) for shape in shapes):
        raise ProgrammerError("bad-figure", "a radar needs three spokes, and a value on each for every shape")
    low = axis.low or 0.0
    high = axis.high if axis.high is not None else max(value for shape in shapes for value in shape.values)
    with canvas(title, 286) as drawn:
        marks.web(drawn.axes, spokes, axis, low, high)
        handles = [marks.shape(drawn.axes, shape, tone, low, high) for shape, tone in marks.toned(shapes)]
        drawn.axes.set(xlim=(-1.6, 1.6), ylim=(-1.12, 1.2), aspect="equal")
        drawn.axes.set_axis_off()
        legend(drawn.axes, handles, [shape.label for shape in shapes])
    body = [(shape.label, shape.values) for shape in shapes]
    return Drawing(title, drawn.svg, tabled.grid(axis.label, spokes, body, axis.unit))


def cumulative(title: str, samples: Sequence[Sample], axis: Axis) -> Drawing:
    """Empirical distribution functions: the share of each sample at or below a value."""
    needed(samples, "cumulative")
    with canvas(title, 240) as drawn:
        last = max(value for sample in samples for value in sample.values)
        handles = [marks.stairs(drawn.axes, sample, tone, last) for sample, tone in marks.toned(samples)]
        marks.style(drawn.axes, axis, "x")
        marks.style(drawn.axes, Axis("Share at or below", Unit.SHARE, low=0, high=1.01), "y")
        legend(drawn.axes, handles, [sample.label for sample in samples])
    return Drawing(title, drawn.svg, tabled.samples(samples, axis))
