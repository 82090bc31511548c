"""Requests looked up: a line for each, one in full, what audits found. Needs no torch."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from expunge.journey import history, lineage, requests, sharing, transitions, worker
from expunge.journey.requests import Request
from expunge.ledger.store import Store

STEPS = ("screen", "plan", "unlearn", "audit", "receipt")
"""The steps that leave a record, in their order."""


def line(store: Store, request: Request) -> dict[str, Any]:
    """Where a request stands, and when it is due."""
    with store.reading() as connection:
        due = requests.deadline(connection, request, datetime.now(UTC))
    done = sharing.shared(store, request.id, "unlearn")
    screened = worker.read_record(store, request.id, "screen")
    return {
        **request.to_json(),
        "deadline": due.to_json(),
        "records": None if screened is None else screened["records"],
        "method": request.method if done is None else done["method"],
    }


def listed(store: Store) -> list[dict[str, Any]]:
    """A line for each request, oldest first."""
    with store.reading() as connection:
        everything = requests.list_all(connection)
    return [line(store, each) for each in everything]


def shown(store: Store, request: str) -> dict[str, Any]:
    """One request with what may follow, its history, and the records that its steps left.

    **Raises:** `OperatorError("unknown-request")`.
    """
    with store.reading() as connection:
        found = requests.get(connection, request)
        events = [event.to_json() for event in history.read(connection, request)]
        waits = [asdict(model) for model in lineage.untouched(connection, request)]
    left = {name: worker.read_record(store, request, name) for name in STEPS}
    follow = {"may_follow": list(transitions.decisions(found.state)), "derived_untouched": waits}
    return {**line(store, found), **follow, "history": events, "steps": left}


def audits(store: Store) -> dict[str, Any]:
    """The audit of every request that has one, newest last."""
    with store.reading() as connection:
        everything = requests.list_all(connection)
    found = [(each.id, worker.read_record(store, each.id, "audit")) for each in everything]
    return {"audits": [{"request": name, **record} for name, record in found if record is not None]}
