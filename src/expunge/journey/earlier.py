"""Requests whose records an earlier request deleted before their turn came: they end as well, under that deletion.

Two requests for one person may be open at once. Where each record stood in the tree of commitments is kept from the
filing on; it says of nobody who they are. A request that finds tombstones there has nothing left to delete, shares the
run that put them there, and its receipt says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from expunge.errors import RequesterError
from expunge.journey import artifacts, lineage, requests, sharing, worker
from expunge.journey.requests import Request
from expunge.journey.transitions import State
from expunge.ledger import objects
from expunge.ledger.store import Store, Transaction
from expunge.records import DataTree, Records
from expunge_verify import TOMBSTONE

REPAIR: Final = "repair"
"""Name of the method whose models later deletions by other methods do not keep repaired."""

LEFT_BY_REPAIR: Final = (
    "The model before came from repair, and this method does not repair: what the repair held up is not held up any "
    "more. Forget by the method repair to keep it."
)

_DELETED: Final = (State.RECEIPTED, State.CLOSED)


def keep_places(tx: Transaction, request: str, places: Sequence[int]) -> None:
    """Remember where a request's records stand, with its filing."""
    objects.put_json(tx, {"places": list(places)}, "places", (worker.holder(request), worker.PLACES))


def left(store: Store, request: Request, records: Records) -> tuple[str, ...]:
    """Ids of the request's records that are still here; empty only where earlier requests deleted all of them.

    **Raises:** `RequesterError("unknown-owner" | "unknown-record")` for what was never here.
    """
    subject = request.subject or requests.Subject()
    try:
        return requested(records, subject)
    except RequesterError:
        if not _buried(store, request.id, artifacts.read_tree(store)):
            raise
    return tuple(each for each in subject.records if each in records.row_of)


def requested(records: Records, subject: requests.Subject) -> tuple[str, ...]:
    """Ids of the records that a subject concerns.

    **Raises:** `RequesterError("unknown-owner" | "unknown-record")`.
    """
    if subject.owner is not None:
        return records.owned_by(subject.owner)
    records.rows(subject.records)
    return subject.records


def found(store: Store, request: Request, tree: DataTree) -> list[str]:
    """Ids of the requests under which records of this one were deleted before, oldest first."""
    gone = _buried(store, request.id, tree)
    with store.reading() as connection:
        done = requests.list_all(connection, _DELETED) if gone else ()
    records = ((each.id, worker.read_record(store, each.id, "unlearn")) for each in done if each.id != request.id)
    return [other for other, record in records if gone & set(record["places"].get(other, ()))]


def nothing_left(model: str, step: str) -> dict[str, Any]:
    """The record of a step of a run that found nothing left to delete; `shared` says what was done instead."""
    if step == "unlearn":
        return {"method": "none", "old_model": model, "new_model": model, "degraded": []}
    return {"method": "none", "summary": sharing.WORDS, "readings": [], "degraded": [], "retraining": None}


def partly(others: Sequence[str]) -> str:
    """What the receipt of a request says some of whose records were deleted before."""
    return f"Some of the records that were asked for had been deleted before, under: {', '.join(others)}."


def unrepaired(store: Store, done: Mapping[str, Any]) -> list[str]:
    """What a deletion by another method than repair says where the model before it was a repaired one.

    **Arguments:** `done`: method and old model of the deletion, as its record has them.
    """
    if done["method"] == REPAIR:
        return []
    with store.reading() as connection:
        makers = lineage.changed_into(connection, done["old_model"])
    made = (worker.read_record(store, request, "unlearn") for request in makers)
    return [LEFT_BY_REPAIR] if any(each["method"] == REPAIR for each in made) else []


def assurance(store: Store, request: str) -> dict[str, Any] | None:
    """The assurance of the run that deleted a request's records before; None where it has a run of its own."""
    others = sharing.deleted_for(store, request)
    if not others:
        return None
    found: dict[str, Any] = worker.read_record(store, others[-1], "receipt")["assurance"]
    return {**found, "before": None, "after": None}


def _buried(store: Store, request: str, tree: DataTree) -> set[int]:
    return {place for place in sharing.places(store, request) if tree.leaves[place] == TOMBSTONE}
