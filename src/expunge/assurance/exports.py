"""A case for other readers: Markdown, and CycloneDX 1.6 declarations (claims, evidence, attestations)."""

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from expunge import __version__
from expunge.assurance.case import Case, Kind, Node
from expunge.assurance.evaluation import Evaluation, Standing, Status
from expunge.assurance.layout import MARKS


def markdown(evaluation: Evaluation) -> str:
    """The argument as nested lists, each node with its status, and a table of evidence."""
    case, standings = evaluation.case, evaluation.standings
    lines = [f"# {case.name}", "", f"**{evaluation.verdict}** · digest `{evaluation.digest}`", ""]
    lines += _outline(case, standings, case.top, 0, set())
    lines += ["", "| evidence | status | finding | formula | threshold |", "| --- | --- | --- | --- | --- |"]
    for node in case.solutions:
        standing = standings[node.id]
        found = None if standing.evidence is None else standing.evidence.finding
        formula, threshold = ("", "") if found is None else (found.formula, found.threshold)
        row = (standing.status, standing.why, formula, threshold)
        lines.append(f"| {node.id} | {' | '.join(map(_cell, row))} |")
    lines += [line for node, proof in proofs(evaluation) for line in _proof(node, proof)]
    lines += [
        f"\n- defeater {each.id} against {each.against}: {each.doubt} — {each.answer or 'open'}"
        for each in case.defeaters
    ]
    return "\n".join(lines) + "\n"


def proofs(evaluation: Evaluation) -> list[tuple[str, Mapping[str, Any]]]:
    """The solutions that verified a property, and what they say of it."""
    evidence = {node.id: evaluation.standings[node.id].evidence for node in evaluation.case.solutions}
    found = {name: each.finding.details.get("proof") for name, each in evidence.items() if each is not None}
    return [(name, proof) for name, proof in found.items() if proof is not None]


def _proof(node: str, proof: Mapping[str, Any]) -> list[str]:
    """A property's heading and work; a counterexample as a table."""
    work = [f"{proof['used'][name]} of {proof['budget'][name]} {name}" for name in ("boxes", "nodes")]
    lines = ["", f"## {node}: {proof['verdict']}", "", f"{proof['property']}. Used {' and '.join(work)}."]
    found = proof.get("counterexample")
    if found is None:
        return [*lines, "", f"{proof['why']}."] if "why" in proof else lines
    rows = [(each["name"], each["unit"], each["region"], each["value"], each.get("other")) for each in found["inputs"]]
    lines += ["", "| input | unit | region | value | then |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {n} | {u} | {r[0]:g} to {r[1]:g} | {v!r} | {'' if o is None else repr(o)} |" for n, u, r, v, o in rows
    ]
    other = repr(found["other_output"]) if "other_output" in found else ""
    return [*lines, f"| **prediction** | {found['unit']} | | {found['output']!r} | {other} |"]


def told(evaluation: Evaluation) -> dict[str, Any]:
    """The case with every node's standing and evidence as plain JSON: what the page shows, for machines."""
    nodes = []
    for node in evaluation.case.nodes:
        standing = evaluation.standings[node.id]
        evidence = None if standing.evidence is None else asdict(standing.evidence)
        plain = {"node": node.id, "kind": str(node.kind), "text": node.text, "status": str(standing.status)}
        nodes.append({**plain, "why": standing.why, "evidence": evidence})
    properties = [{"node": name, **proof} for name, proof in proofs(evaluation)]
    head = {"case": evaluation.case.name, "verdict": str(evaluation.verdict), "digest": evaluation.digest}
    return {**head, "fallen": list(evaluation.fallen), "nodes": nodes, "properties": properties}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _outline(case: Case, standings: Mapping[str, Standing], node: Node, depth: int, seen: set[str]) -> list[str]:
    standing = standings[node.id]
    line = f"{'  ' * depth}- {MARKS[standing.status]} **{node.id}** ({node.kind}, {standing.status}): {node.text}"
    if node.id in seen:
        return [f"{line} (see above)"]
    seen.add(node.id)
    below = [case.by_id[name] for name in (*node.in_context_of, *node.supported_by)]
    return [line, *(row for each in below for row in _outline(case, standings, each, depth + 1, seen))]


def cyclonedx(evaluation: Evaluation, timestamp: str) -> dict[str, Any]:
    """A CycloneDX 1.6 document: goals are claims, strategies their reasoning, solutions evidence, and the case an
    attestation whose score is the share of supported goals."""
    case, standings = evaluation.case, evaluation.standings
    goals = [node for node in case.nodes if node.kind in (Kind.GOAL, Kind.AWAY_GOAL)]
    supported = [node.id for node in goals if standings[node.id].status is Status.SUPPORTED]
    against = [node.id for node in goals if standings[node.id].status is Status.UNDERMINED]
    conformance = {"score": len(supported) / len(goals), "rationale": f"The case is {evaluation.verdict}."}
    declarations = {
        "assessors": [{"bom-ref": "assessor", "thirdParty": False, "organization": {"name": "Expunge"}}],
        "attestations": [
            {
                "summary": f"{case.name}: {evaluation.verdict}; case digest {evaluation.digest}",
                "assessor": "assessor",
                "map": [{"claims": supported, "counterClaims": against, "conformance": conformance}],
            }
        ],
        "claims": [_claim(case, node) for node in goals],
        "evidence": [_evidence(node, standings[node.id], evaluation.book, timestamp) for node in case.solutions],
        "targets": {"components": [{"type": "machine-learning-model", "bom-ref": "model", "name": case.name}]},
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": timestamp,
            "tools": {"components": [{"type": "application", "name": "expunge", "version": __version__}]},
        },
        "declarations": declarations,
    }


def _claim(case: Case, node: Node) -> dict[str, Any]:
    strategies = [case.by_id[name] for name in node.supported_by if case.by_id[name].kind is Kind.STRATEGY]
    below = [*node.supported_by, *(name for each in strategies for name in each.supported_by)]
    evidence = [name for name in below if case.by_id[name].kind is Kind.SOLUTION]
    claim: dict[str, Any] = {"bom-ref": node.id, "target": "model", "predicate": node.text, "evidence": evidence}
    if strategies:
        claim["reasoning"] = "; ".join(each.text for each in strategies)
    return claim


def _evidence(node: Node, standing: Standing, book: Mapping[str, bytes], timestamp: str) -> dict[str, Any]:
    made = timestamp if standing.evidence is None else standing.evidence.time
    body: dict[str, Any] = {"bom-ref": node.id, "propertyName": node.check, "description": node.text, "created": made}
    data: list[dict[str, Any]] = []
    if node.id in book:
        content = {"content": base64.b64encode(book[node.id]).decode(), "encoding": "base64"}
        data = [
            {"name": standing.why[:200], "contents": {"attachment": {**content, "contentType": "application/json"}}}
        ]
    return {**body, "data": data} if data else body
