"""Cases in a workspace: its own (`case.yaml`), and one for every deletion; evidence signed by the workspace's key."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from expunge.assurance import (
    Case,
    DeletionHonoured,
    Evaluation,
    Scene,
    Status,
    counterexamples,
    evaluate,
    read,
    restored,
    write,
)
from expunge.assurance.arguments import check_arguments
from expunge.assurance.checks import CHECKS
from expunge.assurance.inputs import subjects_of
from expunge.assurance.proofs import network_of, property_of
from expunge.errors import ExpungeError, OperatorError
from expunge.journey import artifacts, honoured, keys, receipting
from expunge.journey.artifacts import WORKSPACE
from expunge.ledger import log, objects, receipts, strict_json
from expunge.ledger.store import Store, Transaction
from expunge.progress import Progress
from expunge.records.preparation import feature_names
from expunge.reports.case import CaseView, case_page

SOURCE: Final = "case.yaml"
HOLDER: Final = "case"


def source(folder: Path) -> Case | None:
    """The workspace's own case; None where there is no `case.yaml`. **Raises:** `OperatorError("bad-case")`."""
    path = folder / SOURCE
    try:
        case = read(path.read_text("utf-8")) if path.is_file() else None
    except UnicodeDecodeError:
        raise OperatorError("bad-case", f"{SOURCE} is not UTF-8 text") from None
    if case is not None:
        check_arguments(case)
    return case


def scene(store: Store, holder: str) -> Scene:
    """Model and records that `holder` points at, for the checks of the workspace's case."""
    records, model = artifacts.read_records(store, holder), artifacts.read_model(store, holder)
    subjects, digests = subjects_of(model, records)
    return _signed(store, subjects, digests, {})


def _signed(
    store: Store, subjects: Mapping[str, Any], digests: Mapping[str, str], others: Mapping[str, Status]
) -> Scene:
    with store.reading() as connection:
        signer, trusted = keys.current_key(connection, store.folder), log.history(connection).keys
    return Scene(subjects, digests, signer, trusted, receipts.timestamp(datetime.now(UTC)), others)


def _digest(plain: Any) -> str:
    return hashlib.sha256(strict_json.canonical(plain)).hexdigest()


def _stored(store: Store, holder: str, role: str) -> Any:
    digest = artifacts.digest_of(store, holder, role)
    return None if digest is None else objects.read_json(store, digest)


def check(store: Store, again: Collection[str] = (), progress: Progress | None = None) -> Evaluation:
    """Evaluate the workspace's case, run what must run, and keep the evidence.

    **Raises:** `OperatorError("no-such-file")` without `case.yaml`; `OperatorError("bad-case" | "not-trained")`.
    """
    case = source(store.folder)
    if case is None:
        raise OperatorError("no-such-file", f"the workspace has no {SOURCE}: docs/assurance.md says how to write one")
    kept = _stored(store, HOLDER, "workspace") or {"evidence": {}}
    done = evaluate(case, CHECKS, scene(store, WORKSPACE), _book(kept), again=again, progress=progress)
    with store.transaction() as tx:
        objects.put_json(tx, done.to_json(), "case", (HOLDER, "workspace"))
    return done


def _book(plain: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in plain["evidence"].items()}


def doubt(store: Store, node: str, words: str, by: str) -> Case:
    """Raise a defeater in `case.yaml`; raises `OperatorError("unknown-node")` and as `check`."""
    return _changed(store, lambda case, now: case.doubted(node, words, by, now))


def answer(store: Store, defeater: str, words: str) -> Case:
    """Answer a defeater in `case.yaml`; raises `OperatorError("unknown-node" | "illegal-move")` and as `check`."""
    return _changed(store, lambda case, now: case.answered(defeater, words, now))


def _changed(store: Store, change: Any) -> Case:
    case = source(store.folder)
    if case is None:
        raise OperatorError("no-such-file", f"the workspace has no {SOURCE}")
    changed: Case = change(case, receipts.timestamp(datetime.now(UTC)))
    path = store.folder / SOURCE
    partial = path.with_name(f".{SOURCE}.partial")
    partial.write_text(write(changed), "utf-8")
    partial.replace(path)
    return changed


def after_deletion(
    store: Store, holder: str, request: str, steps: Mapping[str, Any], progress: Progress | None
) -> dict[str, Any]:
    """Both cases on what the run made: the workspace's own, and *deletion honoured* for this request. Plain JSON.

    A case that cannot be evaluated stops no deletion: what is wrong stands in `degraded`, and the verdict says it.
    """
    with store.reading() as connection:
        new = holder if "model" in objects.held(connection, holder) else WORKSPACE
    before, degraded, own = _stored(store, HOLDER, "workspace"), [], None
    try:
        case = source(store.folder)
        if case is not None:
            own = evaluate(case, CHECKS, scene(store, new), _book(before or {"evidence": {}}), progress=progress)
    except ExpungeError as error:
        degraded.append(f"The workspace's assurance case was not evaluated: {error} [{error.code}]")
    found = _honoured(store, new, request, steps, own)
    return {
        "digest": found.digest,
        "verdict": _verdict(found, own),
        "degraded": degraded,
        "before": before,
        "after": None if own is None else {**own.to_json(), "ran": list(own.ran)},
        "deletion": found.to_json(),
    }


def _verdict(found: Evaluation, own: Evaluation | None) -> str:
    within = found.standings["G-within"].status
    words = f"within what the provider controls: {within}; everywhere: {found.verdict}"
    if own is None:
        return words
    fallen = f" ({', '.join(own.fallen)})" if own.fallen else ""
    return f"{words}; case {own.case.name}: {own.verdict}{fallen}"


def _honoured(
    store: Store, holder: str, request: str, steps: Mapping[str, Any], own: Evaluation | None, **more: Any
) -> Evaluation:
    claim = steps["unlearn"]["claim"]
    pattern = DeletionHonoured(
        request,
        claim["kind"],
        steps["unlearn"]["method"],
        str(claim.get("theorem") or ""),
        own.case.name if own else "",
        own.digest if own else "",
        receipting.NOT_COVERED,
    )
    tree = artifacts.read_tree(store, holder)
    subjects = {**steps, "tree": tree}
    digests = {**{name: _digest(record) for name, record in steps.items()}, "tree": tree.root.hex()}
    others = {own.case.name: own.verdict} if own else {}
    return evaluate(pattern.case(), honoured.CHECKS, _signed(store, subjects, digests, others))


def keep(tx: Transaction, request: str, found: Mapping[str, Any]) -> None:
    """With the receipt: the evaluated cases under it, and the workspace's case moved on."""
    objects.put_json(tx, dict(found), "case", (f"receipt/{request}", "case"))
    if found["after"] is not None:
        plain = {name: value for name, value in found["after"].items() if name != "ran"}
        objects.put_json(tx, plain, "case", (HOLDER, "workspace"))


def summary(store: Store, request: str, page: Path) -> dict[str, Any] | None:
    """What a request's cases say; None for receipts from before there were cases."""
    found = _stored(store, f"receipt/{request}", "case")
    if found is None:
        return None
    after = found["after"]
    solutions = len(read(after["case"]).solutions) if after else 0
    checks = {"ran": after["ran"], "all": solutions} if after else {}
    return {"digest": found["digest"], "words": found["verdict"], "page": str(page), "checks": checks}


def views(store: Store, request: str) -> list[CaseView]:
    """The cases of a deletion for a page: the workspace's own with the one before, and the deletion's."""
    found = _stored(store, f"receipt/{request}", "case")
    if found is None:
        return []
    shown = [CaseView("The deletion", found["deletion"])]
    if found["after"] is not None:
        shown = [CaseView("The workspace's case", found["after"], found["before"]), *shown]
    return shown


def deletion_page(store: Store, request: str) -> str | None:
    """The page of a deletion's cases, before and after; None where there are none."""
    shown = views(store, request)
    return case_page(f"Deletion {request}", shown) if shown else None


def last(store: Store) -> Evaluation:
    """The workspace's case as it was evaluated last, judged anew on what stands now; runs nothing.

    **Raises:** as `check`; `OperatorError("no-such-file")` where it was never evaluated.
    """
    plain, case = _stored(store, HOLDER, "workspace"), source(store.folder)
    if plain is None or case is None:
        raise OperatorError("no-such-file", "the case was never evaluated: run `expunge case check`")
    return restored({**plain, "case": write(case)}, CHECKS, scene(store, WORKSPACE))


def replay(store: Store, node: str) -> dict[str, Any]:
    """Run the counterexample of a violated property through the present network again.

    **Raises:** as `last`; `OperatorError("unknown-node")`; `OperatorError("illegal-move")` where the node has none.
    """
    evaluated = last(store)
    solution, evidence = evaluated.case.node(node), evaluated.standings[node].evidence
    proof = {} if evidence is None else evidence.finding.details.get("proof", {})
    if "counterexample" not in proof:
        raise OperatorError("illegal-move", f"{node} has no counterexample to replay")
    subjects = scene(store, WORKSPACE).subjects
    names, example = feature_names(subjects["preparation"].preparation), proof["counterexample"]
    network = network_of(subjects["model"], subjects["preparation"])
    found = counterexamples.replay(network, property_of(solution.arguments, names), example)
    shown = {"property": proof["property"], "inputs": example["inputs"], "unit": example["unit"]}
    return {**shown, **asdict(found), "outputs": list(found.outputs), "breaks": found.breaks}
