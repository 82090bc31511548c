"""Salts of deleted records: what they are called, and how they go. Needs no torch."""

from collections.abc import Sequence
from typing import Any

from expunge.errors import OperatorError, RequesterError
from expunge.journey import requests, sharing, subjects
from expunge.journey.requests import Subject
from expunge.journey.transitions import State
from expunge.ledger import salts
from expunge.ledger.store import Store


def salt_name(place: int) -> str:
    """Under which name the salt of the record at this leaf of the first tree is kept: opaque, it names nobody."""
    return f"leaf/{place}"


def forget(store: Store, request: str, reason: str) -> dict[str, Any]:
    """Destroy the salts of a closed request's records, and of the commitment to whom it concerned.

    **Raises:** `OperatorError("unknown-request" | "illegal-move" | "bad-arguments" | "names-a-person")`, and what the
    store raises.
    """
    subjects.check_words(reason)
    with store.reading() as connection:
        found = requests.get(connection, request)
    if found.state is not State.CLOSED:
        raise OperatorError("illegal-move", f"the request is {found.state}: only a closed one lets its salts go")
    return _destroyed(store, [request], reason)


def forget_owner(store: Store, owner: str, reason: str) -> dict[str, Any]:
    """As `forget`, for every closed request that named this owner, all at once: told by their salted commitments.

    **Raises:** as `forget`; `RequesterError("unknown-owner")` where none is known, or its salt is gone already.
    """
    whom = Subject(owner)
    subjects.check(whom)
    subjects.refuse_names(whom, reason)
    with store.reading() as connection:
        found = [each.id for each in requests.closed_for(connection, whom)]
    if not found:
        raise RequesterError("unknown-owner", "no closed request is known to concern this owner")
    return _destroyed(store, found, reason)


def _destroyed(store: Store, ids: Sequence[str], reason: str) -> dict[str, Any]:
    places = {place for each in ids for place in sharing.shared(store, each, "unlearn")["places"][each]}
    with store.transaction() as tx:
        gone = salts.destroy(tx, [salt_name(place) for place in sorted(places)], reason)
        for each in ids:
            requests.forget_subject(tx, each, reason)
    return {"requests": list(ids), "destroyed": len(gone)}
