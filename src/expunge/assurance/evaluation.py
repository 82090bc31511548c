"""Evaluating a case: which checks must run again, and what each node's status then is.

A solution is *supported* by evidence that holds; *undermined* where its check failed or its evidence was tampered with;
*stale* where model, data or code moved on; *undeveloped* where there is no evidence or it decides nothing. A goal
or strategy has the worst status of what supports it, in the order supported < undeveloped < stale < undermined. An
open defeater undermines its node. Context that is doubted undermines the nodes that stand in it.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from expunge import __version__
from expunge.assurance.case import Case, Kind, Node
from expunge.assurance.evidence import Check, Evidence, Finding, Verdict, bound, content, opened
from expunge.assurance.rules import check_form
from expunge.assurance.source import read, write
from expunge.errors import ExpungeError, OperatorError
from expunge.ledger import dsse, strict_json
from expunge.progress import Progress, task


class Status(StrEnum):
    """How a node stands, from best to worst."""

    SUPPORTED = "supported"
    UNDEVELOPED = "undeveloped"
    STALE = "stale"
    UNDERMINED = "undermined"


ORDER = tuple(Status)


@dataclass(frozen=True)
class Standing:
    """A node's status, and why in a sentence; its evidence where there is some."""

    status: Status
    why: str
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Evaluation:
    """A case with the standing of each node, the signed evidence it rests on, and the checks that were run for it."""

    case: Case
    standings: Mapping[str, Standing]
    book: Mapping[str, bytes]
    ran: tuple[str, ...] = ()

    @property
    def verdict(self) -> Status:
        """The status of the top goal."""
        return self.standings[self.case.top.id].status

    @property
    def digest(self) -> str:
        """SHA-256 over the case, its statuses and what its evidence says, in hex: what a receipt names.

        When and by which key evidence was signed is not part of it: whoever measures everything again on the same model
        and data comes to the same digest.
        """
        told = {**self.to_json(), "evidence": {name: content(data) for name, data in sorted(self.book.items())}}
        return hashlib.sha256(strict_json.canonical(told)).hexdigest()

    @property
    def fallen(self) -> tuple[str, ...]:
        """Goals that are not supported and have no supporting goal to blame: where the argument breaks."""
        bad = {name for name, each in self.standings.items() if each.status is not Status.SUPPORTED}
        goals = [n for n in self.case.nodes if n.id in bad and n.kind in (Kind.GOAL, Kind.AWAY_GOAL)]
        return tuple(n.id for n in goals if not any(g.id in _below(self.case, n) for g in goals if g is not n))

    def to_json(self) -> dict[str, Any]:
        """Plain form; the case as its source, for nodes have an order and canonical JSON has none."""
        return {
            "case": write(self.case),
            "status": {name: str(each.status) for name, each in self.standings.items()},
            "evidence": {name: data.decode() for name, data in sorted(self.book.items())},
        }


@dataclass(frozen=True)
class Scene:
    """What checks look at: things by name and their digests; the signer of new evidence, trusted keys, the time.

    `others` holds the verdicts of other cases, for away goals.
    """

    subjects: Mapping[str, Any]
    digests: Mapping[str, str]
    signer: dsse.Signer
    keys: Sequence[bytes]
    now: str
    others: Mapping[str, Status] = field(default_factory=dict)


def evaluate(
    case: Case,
    checks: Mapping[str, Check],
    scene: Scene,
    book: Mapping[str, bytes] | None = None,
    *,
    again: Collection[str] = (),
    progress: Progress | None = None,
) -> Evaluation:
    """Run the checks whose evidence is missing or stale, and those of `again`, and nothing else; then judge every node.

    Evidence that was tampered with is never measured over by itself: it stays as it is, undermined, until a person
    names its node in `again`.

    A check that is unknown, that cannot run, or whose inputs are not there leaves its solution undeveloped.

    **Raises:** `OperatorError("bad-case")` for a malformed case.
    """
    check_form(case)
    kept = dict(book or {})
    for name in again:
        case.node(name)
        kept.pop(name, None)
    due = [node for node in case.solutions if _due(node, checks, scene, kept.get(node.id))]
    with task(progress, "evaluating the case", len(due)) as advance:
        for node in due:
            kept[node.id] = _measured(node, checks[node.check], scene).seal(scene.signer)
            advance()
    kept = {node.id: kept[node.id] for node in case.solutions if node.id in kept}
    return Evaluation(case, standings(case, checks, scene, kept), kept, tuple(node.id for node in due))


def standings(case: Case, checks: Mapping[str, Check], scene: Scene, book: Mapping[str, bytes]) -> dict[str, Standing]:
    """Every node's standing on the evidence at hand; runs no check."""
    check_form(case)
    found: dict[str, Standing] = {}
    for node in case.nodes:
        _judge(case, node, checks, scene, book, found)
    return found


def _reads(node: Node, check: Check) -> dict[str, str]:
    """What the scene calls each input: with `group` among the arguments, rows are those of that group's people."""
    group = node.arguments.get("group")
    narrowed = () if group is None else [name for name in check.inputs if name.endswith(" rows")]
    return {name: f"{name} of {group}" if name in narrowed else name for name in check.inputs}


def _missing(node: Node, check: Check, scene: Scene) -> list[str]:
    return [name for name in _reads(node, check).values() if name not in scene.digests]


def _due(node: Node, checks: Mapping[str, Check], scene: Scene, data: bytes | None) -> bool:
    check = checks.get(node.check)
    if check is None or _missing(node, check, scene):
        return False
    return data is None or _own(node, checks, scene, data).status is Status.STALE


def _measured(node: Node, check: Check, scene: Scene) -> Evidence:
    reads = _reads(node, check)
    try:
        finding = check.run({name: scene.subjects[there] for name, there in reads.items()}, node.arguments)
    except ExpungeError as error:
        finding = Finding(Verdict.UNDECIDED, f"the check could not run: {error} [{error.code}]")
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # a stranger's table must stop no deletion
        finding = Finding(Verdict.UNDECIDED, f"the check could not run: {type(error).__name__}: {str(error)[:80]}")
    digests = {there: scene.digests[there] for there in reads.values()}
    return Evidence(node.id, node.check, bound(node, check), digests, finding, scene.now, __version__)


def _outdated(node: Node, check: Check, scene: Scene, evidence: Evidence) -> list[str]:
    names = _reads(node, check).values()
    moved = [name for name in names if evidence.inputs.get(name) != scene.digests.get(name)]
    moved += ["the check's arguments"] if evidence.arguments != bound(node, check) else []
    return moved + (["the code"] if evidence.version != __version__ else [])


def _own(node: Node, checks: Mapping[str, Check], scene: Scene, data: bytes | None) -> Standing:
    """A solution by its evidence."""
    check = checks.get(node.check)
    if check is None:
        return Standing(Status.UNDEVELOPED, f"no check is called {node.check}")
    if data is None:
        missing = _missing(node, check, scene)
        return Standing(
            Status.UNDEVELOPED, f"no evidence yet{': there is no ' + ', '.join(missing) if missing else ''}"
        )
    evidence = opened(data, scene.keys)
    if isinstance(evidence, str):
        return Standing(Status.UNDERMINED, evidence)
    if evidence.node != node.id or evidence.check != node.check:
        return Standing(Status.UNDERMINED, f"evidence tampered with: it was measured for {evidence.node}")
    if moved := _outdated(node, check, scene, evidence):
        return Standing(Status.STALE, f"moved on since it was measured: {', '.join(moved)}", evidence)
    return Standing(_STATUS[evidence.finding.verdict], evidence.finding.words, evidence)


_STATUS = {
    Verdict.HOLDS: Status.SUPPORTED,
    Verdict.FAILS: Status.UNDERMINED,
    Verdict.UNDECIDED: Status.UNDEVELOPED,
}


def _judge(
    case: Case,
    node: Node,
    checks: Mapping[str, Check],
    scene: Scene,
    book: Mapping[str, bytes],
    found: dict[str, Standing],
) -> Standing:
    if node.id in found:
        return found[node.id]
    below = [_judge(case, case.by_id[name], checks, scene, book, found) for name in node.supported_by]
    around = [_judge(case, case.by_id[name], checks, scene, book, found) for name in node.in_context_of]
    doubt = next((each for each in case.defeaters if each.against == node.id and not each.answer), None)
    if doubt is not None:
        standing = Standing(Status.UNDERMINED, f"defeater {doubt.id} is open: {doubt.doubt}")
    elif node.kind is Kind.SOLUTION:
        standing = _own(node, checks, scene, book.get(node.id))
    elif node.kind is Kind.AWAY_GOAL:
        other = scene.others.get(node.module)
        words = f"there is no case {node.module} here" if other is None else f"the case {node.module} is {other}"
        standing = Standing(other or Status.UNDEVELOPED, words)
    elif node.undeveloped:
        standing = Standing(Status.UNDEVELOPED, "marked undeveloped")
    else:
        standing = _worst(node, below + around)
    found[node.id] = standing
    return standing


def _worst(node: Node, parts: Sequence[Standing]) -> Standing:
    if not parts:
        return Standing(Status.SUPPORTED, "stated")
    worst = max(parts, key=lambda each: ORDER.index(each.status)).status
    names = [*node.supported_by, *node.in_context_of]
    blamed = [name for name, each in zip(names, parts, strict=True) if each.status is worst]
    if worst is Status.SUPPORTED:
        return Standing(worst, "everything below is supported")
    return Standing(worst, f"{worst}: {', '.join(blamed)}")


def _below(case: Case, node: Node) -> set[str]:
    found: set[str] = set()
    open_ = list(node.supported_by)
    while open_:
        name = open_.pop()
        found.add(name)
        open_ += case.by_id[name].supported_by
    return found


def why(evaluation: Evaluation, name: str) -> dict[str, Any]:
    """A node with its standing, evidence, defeaters, and the chain down to what is to blame.

    **Raises:** `OperatorError("unknown-node")`.
    """
    node = evaluation.case.node(name)
    standing = evaluation.standings[name]
    chain, at = [], node
    while True:
        now = evaluation.standings[at.id]
        chain.append({"node": at.id, "status": str(now.status), "why": now.why, "text": at.text})
        worse = [n for n in (*at.supported_by, *at.in_context_of) if evaluation.standings[n].status is now.status]
        if not worse or now.status is Status.SUPPORTED:
            break
        at = evaluation.case.by_id[worse[0]]
    evidence = None if standing.evidence is None else asdict(standing.evidence)
    doubts = [asdict(each) for each in evaluation.case.defeaters if each.against == name]
    return {"chain": chain, "evidence": evidence, "defeaters": doubts}


def restored(plain: Any, checks: Mapping[str, Check], scene: Scene) -> Evaluation:
    """An evaluation from its plain form, judged anew; raises `OperatorError("bad-case")`."""
    if not isinstance(plain, dict) or not isinstance(plain.get("evidence"), dict) or type(plain.get("case")) is not str:
        raise OperatorError("bad-case", "this is no evaluated case")
    case = read(plain["case"])
    book = {str(name): str(text).encode() for name, text in plain["evidence"].items()}
    return Evaluation(case, standings(case, checks, scene, book), book)
