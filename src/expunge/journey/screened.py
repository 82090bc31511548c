"""Screening in a workspace: the gate on a request, its calibration for the present model, and a person's word on it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from expunge.errors import OperatorError, RequesterError
from expunge.journey import artifacts, decisions, earlier, history, requests, sharing, worker
from expunge.journey.requests import Request
from expunge.journey.salting import salt_name
from expunge.ledger import objects, salts
from expunge.ledger.store import Store, Transaction
from expunge.progress import Progress
from expunge.records import DataTree, Records
from expunge.screening import (
    GATES,
    Budgets,
    Calibration,
    Canaries,
    Committed,
    ExactMatch,
    Ground,
    Medoids,
    Past,
    Submission,
    Verdict,
    calibrate,
    screen,
)

SWITCH: Final = "screening"
"""Setting: `on` where requests are screened beyond record matching."""

HOLDER: Final = "screening"
ROLE: Final = "calibration"

OFF: Final = "Screening by forecast is off in this workspace: records were matched, and nothing else was judged."
SURPASSED: Final = "released"
"""Verdict in the receipt of a request that was held, and that a person let go on."""


def switch_on(store: Store, progress: Progress | None = None) -> dict[str, Any]:
    """Calibrate for the present model and screen every request from now on; raises as `calibration`."""
    found = calibration(store, artifacts.read_records(store), progress).to_json()
    with store.transaction() as tx:
        tx.remember(SWITCH, "on")
    return found


def switch_off(store: Store) -> None:
    """From now on match records only; receipts say so."""
    with store.transaction() as tx:
        tx.remember(SWITCH, "off")


def is_on(store: Store) -> bool:
    """Whether requests are screened beyond record matching."""
    return store.recall(SWITCH) == "on"


def calibration(store: Store, records: Records, progress: Progress | None = None) -> Calibration:
    """The calibration of the present model, made and kept where there is none.

    **Raises:** `ProgrammerError("method-unfit")` for a regression, or outputs that are not a linear layer's;
    `OperatorError("not-trained")`.
    """
    model = artifacts.read_model(store)
    digest = artifacts.digest_of(store, HOLDER, ROLE)
    if digest is not None:
        found = Calibration.from_json(objects.read_json(store, digest))
        if found.model == model.digest:
            return found
    made = calibrate(Ground(model, records), progress=progress)
    with store.transaction() as tx:
        objects.put_json(tx, made.to_json(), "calibration of screening", (HOLDER, ROLE))
    return made


def judge(
    store: Store, ids: Sequence[str], request: Request | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """The record of the screening step: record matching always, the rest where it is switched on.

    **Raises:** `RequesterError("unknown-record" | "not-owner" | "altered-copy")`; as `calibration`.
    """
    records, on = artifacts.read_records(store), is_on(store)
    records.rows(ids)
    submission = _submission(store, records, ids, request)
    kept = calibration(store, records, progress) if on else None
    found = screen(submission, kept, gates=GATES if on else (ExactMatch(),)).demand()
    notes = [] if on else [OFF]
    plain = found.to_json()
    shown = {} if kept is None else {"levels": kept.to_json()["levels"]}
    return {
        **plain,
        "records": len(ids),
        "training_records": submission.training,
        "reasons": [*plain["reasons"], *notes],
        "switch": "on" if on else "off",
        "calibration": shown,
    }


def nothing_left() -> dict[str, Any]:
    """The record of the screening of a request whose records were all deleted before its turn."""
    return {
        "verdict": worker.PASSED,
        "reasons": [sharing.WORDS],
        "findings": [],
        "records": 0,
        "training_records": 0,
        "switch": "off",
        "calibration": {},
    }


def check_copies(store: Store, copies: Records, owner: str | None) -> tuple[str, ...]:
    """Ids of records that a requester submitted, after they were matched; raises as `judge`."""
    records = artifacts.read_records(store)
    unknown = sum(each not in records.row_of for each in copies.ids)
    if unknown:
        raise RequesterError("unknown-record", f"{unknown} of the {len(copies)} submitted records are not held here")
    ground, kept = Ground(artifacts.read_model(store), records), _committed(store, records, copies.ids)
    screen(Submission(ground, copies.ids, owner, copies=copies, committed=kept), gates=(ExactMatch(),)).demand()
    return copies.ids


def rechecked(store: Store, holder: str, ids: Sequence[str]) -> dict[str, Any] | None:
    """The defence once more on the model that unlearning ended with, before it takes the old one's place.

    Medoids on both models, and canaries between them; `words` go into screening's record and receipt. None where
    screening is off, no training record was asked for, or the new model sees the records otherwise.
    """
    records, retained = artifacts.read_records(store), artifacts.read_records(store, holder)
    if not is_on(store) or (records.preparation, records.classes) != (retained.preparation, retained.classes):
        return None
    before, after = artifacts.read_model(store), artifacts.read_model(store, holder)
    asked, again = (Submission(Ground(model, records), tuple(ids)) for model in (before, after))
    if not len(asked.rows):
        return None
    alone = [len(Medoids().isolated(each)) for each in (asked, again)]
    canaries = Canaries().judge(replace(asked, after=after))
    words = (
        f"Checked again on the model that unlearning ended with: {alone[1]} of {len(asked.rows)} requested records "
        f"resemble no other of their class there, {alone[0]} before. {canaries.words}"
    )
    return {"isolated_before": alone[0], "isolated_after": alone[1], "canaries": canaries.to_json(), "words": words}


def lost(again: dict[str, Any] | None) -> list[str]:
    """What of `rechecked` a receipt has to state as degraded: a class that lost its accuracy."""
    held = again is not None and again["canaries"]["verdict"] == Verdict.HELD
    return [f"Canaries after the deletion: {again['canaries']['words']}"] if again is not None and held else []


def decided(store: Store, request: Request, record: dict[str, Any]) -> dict[str, Any]:
    """The screening's record as receipt and case state it: with the check after unlearning, and a person's release."""
    again = (worker.read_record(store, request.id, "unlearn") or {}).get("recheck")
    if again is not None:
        record = {**record, "reasons": [*record["reasons"], again["words"]], "recheck": again}
    with store.reading() as connection:
        released = any(event.move == "release" for event in history.read(connection, request.id))
        repair = decisions.repaired(connection, request.id)
    if not released:
        return record
    how = " to be carried out by repair" if repair else ""
    word = f"A person released the request{how}; who, and why, stands in its history."
    return {**record, "verdict": SURPASSED, "reasons": [*record["reasons"], word]}


def shown(store: Store, request: str, *, again: bool, progress: Progress | None = None) -> dict[str, Any]:
    """What screening found, or finds now: recomputed while the request still knows its records.

    **Raises:** `OperatorError("unknown-request" | "illegal-move")`; as `judge`.
    """
    with store.reading() as connection:
        found = requests.get(connection, request)
    record = worker.read_record(store, request, "screen")
    if again or record is None:
        if found.subject is None:
            raise OperatorError("illegal-move", "the request is over: whom it concerned was erased")
        ids = earlier.left(store, found, artifacts.read_records(store))
        record = judge(store, ids, found, progress) if ids else nothing_left()
    told: dict[str, Any] = {"request": request, "state": str(found.state), **decided(store, found, record)}
    return told


def switch(tx: Transaction) -> None:
    """With the new model: the calibration measured all records, the forgotten among them, so it goes for good."""
    for digest in objects.held(tx.connection, HOLDER).values():
        objects.release(tx, HOLDER)
        objects.erase(tx, digest, "it measured records that were deleted on request")


def _submission(store: Store, records: Records, ids: Sequence[str], request: Request | None) -> Submission:
    ground, subject = Ground(artifacts.read_model(store), records), None if request is None else request.subject
    owner = None if subject is None else subject.owner
    past, day = _history(store, request) if is_on(store) else ((), 0.0)
    kept = _committed(store, records, ids)
    return Submission(ground, tuple(ids), owner, "asks now" if owner else "", None, kept, past, day)


def _history(store: Store, request: Request | None) -> tuple[tuple[Past, ...], float]:
    """Requests of the longest window that a gate looks at; the same owner's only while their subject is stored."""
    if request is None:
        return (), 0.0
    window = timedelta(max((gate.days for gate in GATES if isinstance(gate, Budgets)), default=0.0))
    with store.reading() as connection:
        before = [each for each in requests.list_all(connection) if each.number < request.number]
        records = worker.recorded(connection, "screen")
    found = []
    for each in before:
        if request.received_at - each.received_at <= window and each.id in records:
            record = objects.read_json(store, records[each.id])
            mine = bool(each.subject and request.subject and each.subject.owner == request.subject.owner)
            day = each.received_at.timestamp() / 86400
            found.append(Past("asks now" if mine else "", day, record["training_records"]))
    return tuple(found), request.received_at.timestamp() / 86400


def _committed(store: Store, records: Records, ids: Sequence[str]) -> Committed:
    """Leaves and salts of these records, as the store keeps them."""
    tree: DataTree = artifacts.read_tree(store)
    places = {each: tree.live[records.row_of[each]] for each in ids}
    with store.reading() as connection:
        kept = salts.read(connection, [salt_name(place) for place in places.values()])
    found = {each: kept.get(salt_name(place), bytes(32)) for each, place in places.items()}
    return Committed({each: tree.leaves[place] for each, place in places.items()}, found)
