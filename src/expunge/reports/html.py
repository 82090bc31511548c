"""Pages: one self-contained file each, with style and figures inside and nothing to load."""

from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from expunge.reports.drawing import DARK, LIGHT, PAPER, Drawing, Table
from expunge.reports.numbers import Unit, cell, marked, printable

if TYPE_CHECKING:
    import jinja2


BESIDE: Final = 54
"""Letters that fit beside a figure."""


def page(template: str, **content: object) -> str:
    """The HTML of `template` (a file of this room) filled with `content`; every text in it is escaped."""
    keys = (f"figure-{number}" for number in count(1))
    return _environment().get_template(template).render(**content, place=_Placer(keys)) + "\n"


class _Placer:
    """Puts drawings into one page, each under a key of its own."""

    def __init__(self, keys: Iterator[str]) -> None:
        self._keys = keys

    def __call__(self, drawing: Drawing) -> Markup:
        return drawing.inline(next(self._keys))


@cache
def _environment() -> "jinja2.Environment":
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("expunge.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=lambda value, unit="plain", spread=None: marked(value, Unit(unit), spread),
        cell=lambda value, unit="plain": cell(value, Unit(unit)),
        digest=digest,
        capitalize_first=lambda text: text[:1].upper() + text[1:],
    )
    made.tests["wide"] = is_wide
    made.globals["palette"] = _palette
    return made


def is_wide(table: Table) -> bool:
    """Whether a table is too wide to stand beside its figure: by letters, for no browser is here to ask."""
    body = [[Markup(cell(content, table.unit(n))).striptags() for n, content in enumerate(row)] for row in table.rows]
    words = [[max(name.split(), key=len, default="")] for name in table.columns]
    columns = [words[n] + [line for row in body for line in row[n].split(" [")] for n in range(len(words))]
    return sum(min(22, max(map(len, column))) + 2.5 for column in columns) > BESIDE


def digest(text: str) -> Markup:
    """A digest in full, in groups of eight so that eyes can compare it; copying it gives it without spaces."""
    groups = [text[start : start + 8] for start in range(0, len(text), 8)]
    return Markup('<code class="digest">{}</code>').format(Markup("<wbr>").join(groups))


def _palette(scheme: str) -> Markup:
    colours: dict[str, Any] = LIGHT if scheme == "light" else DARK
    lines = [f"--paper: {PAPER[scheme]};", *(f"--{name}: {colour};" for name, colour in colours.items())]
    return Markup(" ".join(lines))
