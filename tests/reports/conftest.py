"""A strict reader for pages, and a real deletion to make pages of: train on digits, unlearn, audit, sign, log."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import expunge_verify
from expunge.auditing import (
    RMIA,
    Accuracy,
    ConfidenceMIA,
    Divergence,
    LiRA,
    RelearningTime,
    Subject,
    audit,
    retrain_references,
)
from expunge.ledger import bundle as bundles
from expunge.ledger import merkle
from expunge.ledger.checkpoints import sign_checkpoint
from expunge.ledger.receipts import (
    Claim,
    Cost,
    DataChange,
    Figure,
    Forgotten,
    MethodUsed,
    ModelChange,
    Receipt,
    Reference,
    Request,
    Screening,
)
from expunge.ledger.signatures import SigningKey
from expunge.networks import MLP
from expunge.records import Records
from expunge.records.commitments import commitments
from expunge.records.tombstones import DataTree
from expunge.reports.story import DeletionStory
from expunge.training import SGD, Recipe, Sharding, train
from expunge.unlearning import Method, Retrain, Sharded, Unlearned, unlearn

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


OVERFITTED = Recipe(network=MLP((32,)), optimiser=SGD(lr=0.1), epochs=60, batch_size=16)
SHARDED = Recipe(network=MLP((32,)), optimiser=SGD(lr=0.1), epochs=20, batch_size=16, sharding=Sharding(4, 2))


def audited(subject: Subject, shadows: int) -> dict[str, Any]:
    audits = (Accuracy(), Divergence(), ConfidenceMIA(), LiRA(shadows), RMIA(shadows), RelearningTime(looks=3))
    return audit(subject, audits).to_json()


def receipt_of(
    unlearned: Unlearned, old: str, records: Records, forget: tuple[str, ...], salts: list[bytes], audit: dict[str, Any]
) -> Receipt:
    marks = commitments(records, salts)
    tree, places = DataTree(marks), records.rows(forget)
    figures = [_figure(found) for found in audit["readings"]]
    body = {name: value for name, value in unlearned.method.items() if name != "kind"}
    claim = {**asdict(unlearned.claim), "kind": unlearned.claim.kind.value}
    return Receipt(
        request=Request("5f0c2c1e-9b1d-4f7e-8a64-3f1f6f0f9d10", "2026-01-05T08:00:00Z", "2026-02-05T08:00:00Z",
                        "2026-01-05T08:12:41Z", "gdpr-article-17 version 1"),
        forgotten=Forgotten([marks[place].hex() for place in places], "SHA-256 of salt and record"),
        model=ModelChange(old, unlearned.trained.model.digest),
        data=DataChange(tree.root.hex(), tree.bury(places).root.hex()),
        method=MethodUsed(unlearned.method["kind"], body),
        claim=Claim(**claim),
        audit=figures,
        screening=Screening("accepted", ("the requester owns every record",)),
        cost=Cost(unlearned.cost.seconds, unlearned.cost.gradient_evaluations, unlearned.retraining_evaluations,
                  unlearned.cost.peak_memory, unlearned.retraining_evaluations // 3),
        platform=unlearned.trained.log.platform,
        not_covered=("Backups made before the deletion.", "Copies of the model that were exported earlier.",
                     "Models distilled from the old one that were not registered."),
        degraded=unlearned.degraded,
    )  # fmt: skip


def _figure(found: dict[str, Any]) -> Figure:
    after, floor = found["after"], found["floor"]
    interval = None if after["low"] is None else (after["low"], after["high"])
    reference = Reference("retrained references", found["references"][0]["value"], floor)
    return Figure(found["name"], after["value"], interval, 0.95, reference, found["note"] or found["finding"])


def bundled(receipt: Receipt, key: SigningKey, before: int = 6) -> bytes:
    """The receipt as leaf `before` of a log of `before + 2` leaves."""
    envelope = receipt.seal(key)
    entry = expunge_verify.Bundle(envelope, 0, (), "", (), (), ()).entry
    entries = [bytes([n]) * 32 for n in range(before)] + [entry, b"\xff" * 32]
    leaves = [expunge_verify.leaf_hash(each) for each in entries]
    nodes = merkle.grow(lambda wanted: {}, 0, leaves)
    fetch = lambda wanted: {node: nodes[node] for node in wanted}  # noqa: E731
    head = expunge_verify.Checkpoint("log.example/expunge", len(leaves), merkle.root(fetch, len(leaves)))
    proof = tuple(merkle.inclusion(fetch, before, len(leaves)))
    note = sign_checkpoint(head, key)
    return bundles.to_bytes(expunge_verify.Bundle(envelope, before, proof, note, (), (key.public,), ()))


@dataclass(frozen=True)
class Told:
    """A story, the files behind it, and what no page may show."""

    story: DeletionStory
    bundle: Path
    model: Path
    audit: dict[str, Any]
    salts: list[bytes]
    owners: tuple[str, ...]
    ids: tuple[str, ...]


def tell(folder: Path, records: Records, owner: str, recipe: Recipe, method: Method, shadows: int = 16) -> Told:
    """The story of deleting `owner`."""
    trained, forget = train(recipe, records), records.owned_by(owner)
    unlearned = unlearn(trained, records, forget, method)
    started = time.monotonic()
    unlearn(trained, records, forget, Retrain())
    seconds = time.monotonic() - started
    left = records.without(forget)
    gone = records.select(records.rows(forget)).train
    subject = Subject(
        recipe,
        trained.model,
        unlearned.trained.model,
        gone,
        left.train,
        left.test,
        retrain_references(recipe, left.train, 3),
    )
    found = audited(subject, shadows)
    salts = [bytes([7]) + n.to_bytes(31, "big") for n in range(len(records))]
    receipt = receipt_of(unlearned, trained.model.digest, records, forget, salts, found)
    bundle, model = folder / "5f0c2c1e.bundle.json", folder / "model.safetensors"
    bundle.write_bytes(bundled(receipt, SigningKey(b"\x07" * 32)))
    model.write_bytes(unlearned.trained.model.file)
    words = method.describe()
    plain = {"summary": words.summary, "source": words.source}
    story = DeletionStory.of(bundle, model, audit=found, method=plain, retraining_seconds=seconds)
    return Told(story, bundle, model, found, salts, records.owners, records.ids)


@pytest.fixture(scope="session")
def told(few: Records, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """An owner of the digits deleted from a sharded model. Owner and record ids are canaries."""
    planted = replace(
        few,
        owners=tuple(f"canary-{owner}" for owner in few.owners),
        ids=tuple(f"canary-{record}" for record in few.ids),
    )
    return tell(tmp_path_factory.mktemp("deletion"), planted, planted.train.owners[0], SHARDED, Sharded(), shadows=8)
