"""The page of an assurance case: what changed, the goal structure, and every node with its evidence; no script."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from expunge.assurance.evaluation import Standing, Status
from expunge.assurance.layout import MARKS, svg
from expunge.assurance.source import read, to_plain
from expunge.reports.html import page
from expunge.reports.sufficiency import drawings


@dataclass(frozen=True)
class CaseView:
    """A case for the page: a heading, its plain form (`Evaluation.to_json`), and perhaps the one before."""

    title: str
    now: Mapping[str, Any]
    before: Mapping[str, Any] | None = None


def case_page(title: str, views: Sequence[CaseView]) -> str:
    """One self-contained page; a click on a node of the picture leads to its evidence.

    **Raises:** `OperatorError("bad-case")` for a view that holds no case.
    """
    return page("case.html", title=title, views=[_view(number, view) for number, view in enumerate(views)])


def _view(number: int, view: CaseView) -> dict[str, Any]:
    case = read(view.now["case"])
    status = {name: Status(word) for name, word in view.now["status"].items()}
    picture = svg(case, {name: Standing(each, "") for name, each in status.items()}, f"#n{number}-")
    plain = to_plain(case)
    doubts = list(plain.get("defeaters", {}).values())
    bodies = [{"id": name, **body} for name, body in plain["nodes"].items()]
    nodes = [_node(number, view, body, status[body["id"]], doubts) for body in bodies]
    return {
        "title": view.title,
        "name": case.name,
        "verdict": str(status[case.top.id]),
        "mark": MARKS[status[case.top.id]],
        "was": None if view.before is None else view.before["status"].get(case.top.id),
        "counts": {str(each): sum(s is each for s in status.values()) for each in Status},
        "picture": Markup(picture),
        "nodes": nodes,
        "turned": [each for each in nodes if view.before is not None and each["was"] != each["status"]],
        "shifted": [each for each in nodes if each["moved"] and each["was"] == each["status"]],
        "ran": view.now.get("ran"),
        "solutions": len(case.solutions),
        "compared": view.before is not None,
        "properties": [each for each in nodes if each["proof"]],
        "open": [(each, kind) for each in nodes if (kind := _stop(each))],
    }


def _stop(node: Mapping[str, Any]) -> str:
    """Why the argument stops at this node, in two words; empty where it does not, or stops further down."""
    if node["status"] == Status.SUPPORTED:
        return ""
    if any(not doubt.get("answer") for doubt in node["doubts"]):
        return "open defeater"
    if node["kind"] == "away-goal":
        return "other case"
    if node["kind"] != "solution":
        return "marked undeveloped" if node.get("undeveloped") else ""
    if node["status"] == Status.STALE:
        return "stale"
    if node["evidence"] is None:
        return "no evidence"
    verdict = node["evidence"]["finding"]["verdict"]
    if node["status"] == Status.UNDERMINED:
        return "tampered with" if verdict != "fails" else "counterexample" if node["proof"] else "check failed"
    return "undecided"


def _node(
    number: int, view: CaseView, node: Mapping[str, Any], status: Status, doubts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    before = view.before or {"status": {}, "evidence": {}}
    now, past = _evidence(view.now, node["id"]), _evidence(before, node["id"])
    was = before["status"].get(node["id"])
    figures = _figures(now, past)
    return {
        **node,
        "anchor": f"n{number}-{node['id']}",
        "status": str(status),
        "mark": MARKS[status],
        "was": was,
        "links": [
            (name, f"#n{number}-{name}") for name in (*node.get("supported_by", ()), *node.get("in_context_of", ()))
        ],
        "evidence": now,
        "figures": figures,
        "words": now["finding"]["words"] if now else "",
        "words_before": past["finding"]["words"] if past else "",
        "moved": [each for each in figures if each[1] != each[2]] if view.before is not None else [],
        "proof": _details(now).get("proof"),
        "proof_before": _details(past).get("proof"),
        "drawings": drawings(_details(now)),
        "doubts": [each for each in doubts if each["against"] == node["id"]],
    }


def _figures(now: Mapping[str, Any] | None, past: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """Name, before, now."""
    new, old = (each["finding"]["figures"] if each else {} for each in (now, past))
    return [(name, _number(old.get(name)), _number(value)) for name, value in new.items()]


def _details(evidence: Mapping[str, Any] | None) -> Mapping[str, Any]:
    found = evidence["finding"].get("details", {}) if evidence else {}
    return found if isinstance(found, dict) else {}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _evidence(plain: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """What a signed record says, for reading only: its status above was judged with its signature."""
    text = plain["evidence"].get(name)
    if text is None:
        return None
    try:
        found: dict[str, Any] = json.loads(base64.b64decode(json.loads(text)["payload"]))
    except (ValueError, KeyError, TypeError):
        return None
    return found
