"""A reader for pages: what a browser would see of the structure, with every fault of the markup counted."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest

VOID = {"meta", "br", "wbr", "hr", "img", "link", "input", "col"}
LOADING = {"src", "srcset", "data", "action", "poster", "background", "formaction", "ping"}
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "a", "div", "header", "main", "section", "footer", "h1", "h2",
    "h3", "p", "dl", "dt", "dd", "small", "span", "strong", "em", "ul", "li", "code", "pre", "wbr", "figure",
    "figcaption", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "data", "time", "details",
    "summary", "svg", "g", "path", "defs", "use", "text", "tspan", "clippath", "rect", "circle",
}  # fmt: skip


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    inside: list[Any] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.inside)

    def all(self, *tags: str) -> list["Element"]:
        found = [self] if self.tag in tags else []
        return found + [each for part in self.inside if isinstance(part, Element) for each in part.all(*tags)]

    def classed(self, name: str) -> list["Element"]:
        mine = [self] if name in self.attributes.get("class", "").split() else []
        return mine + [each for part in self.inside if isinstance(part, Element) for each in part.classed(name)]


class Page(HTMLParser):
    """Parsed strictly: a tag that is unknown, unclosed or closed out of turn is a fault."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html, self._faults = html, []
        self.root = Element("#", {})
        self._open = [self.root]
        self.feed(html)
        self.close()
        self._faults += [f"<{element.tag}> never closed" for element in self._open[1:]]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if len({name for name, _ in attrs}) != len(attrs):
            self._faults.append(f"<{tag}> repeats an attribute")
        if tag not in ALLOWED:
            self._faults.append(f"<{tag}> is not one of ours")
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].inside.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if self._open[-1].tag != tag:
            self._faults.append(f"</{tag}> closes <{self._open[-1].tag}>")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].inside.append(data)

    def faults(self) -> list[str]:
        """Everything that is wrong: markup, references, identifiers, figures without title or table."""
        return self._faults + _reference_faults(self) + _figure_faults(self)

    @property
    def numbers(self) -> list[tuple[float, str]]:
        """Exact value and shown text of every number that is marked."""
        return [(json.loads(each.attributes["value"]), each.text) for each in self.root.all("data")]

    @property
    def words(self) -> str:
        body = self.root.all("body")[0]
        return re.sub(r"\s+", " ", body.text)


def _reference_faults(page: Page) -> list[str]:
    elements = [each for each in page.root.all(*ALLOWED) if each is not page.root]
    found = [f"{e.tag} {name}" for e in elements for name in e.attributes if name in LOADING and e.tag != "data"]
    found += [f"{e.tag} on*" for e in elements for name in e.attributes if name.startswith("on")]
    targets = [e.attributes["href"] for e in elements if "href" in e.attributes]
    ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
    found += [f"leads elsewhere: {target}" for target in targets if target.removeprefix("#") not in ids]
    found += [f"twice: {name}" for name in set(ids) if ids.count(name) > 1]
    styles = [e.attributes.get("style", "") + e.attributes.get("clip-path", "") for e in elements]
    sheet = "".join(e.text for e in page.root.all("style"))
    pointed = re.findall(r"url\(([^)]*)\)", " ".join([*styles, sheet]))
    found += [f"url {target}" for target in pointed if target.removeprefix("#") not in ids]
    found += ["@import"] if "@import" in sheet else []
    found += [
        "http in a tag" for e in elements for value in e.attributes.values() if re.match(r"\s*(https?:)?//", value)
    ]
    return found


def _figure_faults(page: Page) -> list[str]:
    found = []
    for svg in page.root.all("svg"):
        titles = {each.attributes["id"] for each in svg.all("title") if each.text}
        named = svg.attributes.get("aria-label") or svg.attributes.get("aria-labelledby") in titles
        if svg.attributes.get("role") != "img" or not named:
            found.append("a figure without a name")
    for pair in page.root.classed("pair"):
        if not pair.all("svg") or not pair.all("table"):
            found.append("a figure without its table")
    if len(page.root.classed("drawing")) != sum(len(pair.classed("drawing")) for pair in page.root.classed("pair")):
        found.append("a figure outside a pair")
    for table in page.root.all("table"):
        heads = table.all("th")
        if not heads or any("scope" not in head.attributes for head in heads):
            found.append("a table without headers")
        widths = {len(row.all("th", "td")) for row in table.all("tr") if "colspan" not in str(row)}
        if len(widths) != 1:
            found.append(f"a table with rows of {widths} cells")
    return found


@pytest.fixture(scope="session")
def read() -> Callable[[str], Page]:
    """Reads a page."""
    return Page
