"""The ground under every figure: a canvas, a palette that follows light and dark, and clean inline SVG.

Figures are drawn by matplotlib and rewritten: colours become CSS variables, text stays text in the page's own font,
identifiers are few and carry a prefix, and nothing refers to anywhere else. The same input gives the same bytes.
"""

import io
import re
import textwrap
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from expunge.errors import ProgrammerError
from expunge.reports.numbers import Cell, Unit, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Tone(StrEnum):
    """Colour, marker and dash of a series: the first three name the models of a deletion, the others are free."""

    BEFORE = "before"
    AFTER = "after"
    RETRAINED = "retrained"
    GREEN = "green"
    PURPLE = "purple"
    OCHRE = "ochre"
    SKY = "sky"


LIGHT: Final = {
    "before": "#c2500a",
    "after": "#0a62a8",
    "retrained": "#6d6a68",
    "green": "#00795a",
    "purple": "#b0458c",
    "ochre": "#8a6d00",
    "sky": "#2f8fc4",
    "ink": "#1c2530",
    "muted": "#57626f",
    "rule": "#d5d9d6",
}
"""Palette on light paper: name to colour. Drawn in these, they become `var(--name)` in the page."""

DARK: Final = {
    "before": "#f2935a",
    "after": "#62aef0",
    "retrained": "#b3aea8",
    "green": "#45c39c",
    "purple": "#e394c8",
    "ochre": "#d8b84a",
    "sky": "#8fd0f5",
    "ink": "#e6e9ea",
    "muted": "#9fabb7",
    "rule": "#343d47",
}
"""The same on dark paper."""

PAPER: Final = {"light": "#fbfbf8", "dark": "#14191f"}

SEQUENCE: Final = (Tone.AFTER, Tone.BEFORE, Tone.GREEN, Tone.PURPLE, Tone.OCHRE, Tone.RETRAINED, Tone.SKY)
"""Tones of series that name none, in order."""

MARKERS: Final = {
    Tone.BEFORE: "o",
    Tone.AFTER: "s",
    Tone.RETRAINED: "D",
    Tone.GREEN: "^",
    Tone.PURPLE: "v",
    Tone.OCHRE: "P",
    Tone.SKY: "X",
}
DASHES: Final[dict[Tone, Any]] = {
    Tone.BEFORE: (0, (6, 2)),
    Tone.AFTER: "-",
    Tone.RETRAINED: (0, (2, 1.5)),
    Tone.GREEN: (0, (6, 2, 1, 2)),
    Tone.PURPLE: (0, (4, 1, 1, 1, 1, 1)),
    Tone.OCHRE: (0, (1, 1)),
    Tone.SKY: (0, (9, 3)),
}
"""Colour is never the only sign: every tone has its marker and its dash."""

WIDTH: Final = 360
"""Width of every figure in points; the page shows it between 0.9 and 1.3 times as large."""

LONGEST_LABEL: Final = 44
SIDE_LABEL: Final = 22


@dataclass(frozen=True)
class Table:
    """The numbers of a figure. The first column heads the rows; `units` are the columns', by position.

    **Raises:** `ProgrammerError("bad-figure")` for a row with more or fewer cells than there are columns.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    units: tuple[Unit, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ProgrammerError("bad-figure", "a table's row has not as many cells as the table has columns")

    def unit(self, column: int) -> Unit:
        """The unit of a column; `PLAIN` where none was named."""
        return self.units[column] if column < len(self.units) else Unit.PLAIN

    def is_words(self, column: int) -> bool:
        """Whether the column holds words alone, and stands flush left."""
        return all(isinstance(row[column], str) for row in self.rows)


@dataclass(frozen=True)
class Drawing:
    """A figure: what it shows in one sentence, its SVG, and the table of what was drawn."""

    title: str
    svg: str
    table: Table

    def inline(self, key: str) -> Markup:
        """The SVG for a page in which `key` stands for this figure alone, so that no identifier is there twice."""
        svg = re.sub(r'(\bid="|="#|url\(#|aria-labelledby=")d-', lambda found: f"{found[1]}{key}-", self.svg)
        return Markup(svg)


@dataclass
class Canvas:
    """A matplotlib figure with one pair of axes in the house style; `svg` is set when the `with` block ends."""

    figure: "Figure"
    axes: "Axes"
    svg: str = field(default="", init=False)


@contextmanager
def canvas(title: str, height: float) -> Iterator[Canvas]:
    """A canvas `WIDTH` by `height` points; matplotlib's settings are the caller's again afterwards."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_settings()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the reader's fonts draw the text, not ours
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        drawn = Canvas(figure, figure.add_subplot())
        yield drawn
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawn.svg = clean(buffer.getvalue(), title)


def _settings() -> Any:
    ink, muted, rule = LIGHT["ink"], LIGHT["muted"], LIGHT["rule"]
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "expunge",
        "text.parse_math": False,
        "axes.unicode_minus": True,
        "font.family": "DejaVu Sans",
        "font.size": 10.5,
        "axes.labelsize": 10.5,
        "xtick.labelsize": 10,
        "ytick.labelsize": 10,
        "legend.fontsize": 10.5,
        "text.color": ink,
        "axes.labelcolor": muted,
        "axes.edgecolor": muted,
        "xtick.color": muted,
        "ytick.color": muted,
        "grid.color": rule,
        "grid.linewidth": 0.6,
        "axes.linewidth": 0.7,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "lines.linewidth": 1.6,
        "lines.markersize": 4.5,
    }


def label(text: str, most: int = LONGEST_LABEL) -> str:
    """`text` fit for a drawing: printable, short; a leading underscore would hide it from matplotlib's legend."""
    clean_text = printable(text)
    short = clean_text if len(clean_text) <= most else clean_text[: most - 1] + "…"
    return f" {short}" if short.startswith("_") else short


def side_labels(axes: "Axes", texts: Sequence[tuple[float, str]]) -> None:
    """A `label` to the left of the axes at each height, in at most two lines of `SIDE_LABEL` letters.

    Lines are drawn one by one: matplotlib would place those of one text by the widths of a font that the page lacks.
    """
    for y, text in texts:
        lines = textwrap.wrap(label(text), SIDE_LABEL, max_lines=2, placeholder="…") or [""]
        for number, line in enumerate(lines):
            shift = 6.0 * (len(lines) - 1) - 12.0 * number
            axes.annotate(
                line, (0, y), (-5, shift), ("axes fraction", "data"), "offset points",
                ha="right", va="center", fontsize=10, color=LIGHT["muted"], annotation_clip=False,
            )  # fmt: skip


def legend(axes: "Axes", handles: Sequence[Any], names: Sequence[str]) -> None:
    """A key above the axes, read row by row, in as many columns as fit."""
    labels = [label(name) for name in names]
    columns = next(count for count in range(len(labels), 0, -1) if count == 1 or _key_width(labels, count) <= WIDTH)
    order = [place for column in range(columns) for place in range(column, len(labels), columns)]
    shown = [handles[place] for place in order], [labels[place] for place in order]
    axes.legend(*shown, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=columns, columnspacing=1.2)


def _key_width(labels: Sequence[str], columns: int) -> float:
    """Points, at 5.6 a letter and 40 for the sample of the line."""
    return sum(40 + 5.6 * max(map(len, labels[column::columns])) for column in range(columns))


def tones(chosen: Sequence[Tone | None]) -> list[Tone]:
    """A tone for each series: the one it names, else the next free one of `SEQUENCE`, round and round."""
    free = [tone for tone in SEQUENCE if tone not in chosen] or list(SEQUENCE)
    unnamed = iter(range(len(chosen)))
    return [free[next(unnamed) % len(free)] if tone is None else tone for tone in chosen]


def clean(svg: str, title: str) -> str:
    """Inline SVG from matplotlib's: no prologue, namespaces, style sheet or metadata; `d-` before every identifier."""
    root = ET.fromstring(svg)
    _strip(root)
    kept = set(re.findall(r"#([\w.-]+)", " ".join(value for each in root.iter() for value in each.attrib.values())))
    for element in root.iter():
        _attributes(element, kept)
    height = root.attrib["viewBox"].split()[3]
    inside = list(root)
    root.clear()
    root.attrib.update(
        {"class": "drawing", "viewBox": f"0 0 {WIDTH} {float(height):g}", "role": "img", "aria-labelledby": "d-title"}
    )
    name = ET.SubElement(root, "title", {"id": "d-title"})
    name.text = printable(title)
    root.extend(inside)
    return re.sub(r"\s*\n\s*", "\n", ET.tostring(root, encoding="unicode"))


def _strip(root: ET.Element) -> None:
    """Drop what a page must not carry: matplotlib's style rule is for all elements of a document, not for its own."""
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for child in list(element):
            is_empty_patch = child.tag.endswith("}path") and child.get("style") == "fill: none"
            if child.tag.endswith(("}style", "}metadata")) or is_empty_patch:
                element.remove(child)


def _attributes(element: ET.Element, kept: set[str]) -> None:
    found = dict(element.attrib)
    element.attrib.clear()
    for name, value in found.items():
        short = name.rpartition("}")[2]
        if short == "id":
            if value in kept:
                element.set("id", f"d-{value}")
        elif short == "style":
            element.set("style", _style(value))
        else:
            pointing = short in ("href", "clip-path")
            element.set(short, value.replace("#", "#d-") if pointing else _compact(value))


def _style(style: str) -> str:
    style = re.sub(r"font-family:[^;]*;?\s*", "", style)
    style = re.sub(r"(font: [\d.]+px) [^;]*", r"\1 var(--sans, sans-serif)", style)
    style = re.sub(r"(?<!\()#[0-9a-f]{6}\b", lambda found: _VARIABLES.get(found[0], found[0]), style)
    return _compact(re.sub(r"url\(#", "url(#d-", style))


def _compact(text: str) -> str:
    """Two decimals are a hundredth of a point."""
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), text)


_VARIABLES: Final = {colour: f"var(--{name}, {colour})" for name, colour in LIGHT.items()}
