"""The history of requests: one row for every event, each chained to the one before, so that none can be slipped in,
changed or dropped from the middle without `fsck` seeing it. No owner id ever stands in it."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, select

from expunge.journey import tables
from expunge.journey.transitions import Actor, State
from expunge.ledger import strict_json
from expunge.ledger.store import Transaction
from expunge.ledger.tables import SEAL, add, next_id

FILED: Final = "file"
_START: Final = "0" * 64


@dataclass(frozen=True)
class Event:
    """One thing that happened to a request.

    **Arguments:**

    - `move`: `file`, or the name of a move of the table.
    - `source`, `target`: the state before (None for `file`) and after.
    - `by`, `reason`: the person who decided, and why, where the table asks for it.
    - `detail`: further facts as JSON values (digest of a step's record, code of an error).
    """

    number: int
    request: str
    at: datetime
    move: str
    source: State | None
    target: State
    actor: Actor
    by: str | None = None
    reason: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The event as JSON values."""
        plain = {"number": self.number, "request": self.request, "at": self.at.isoformat(), "move": self.move}
        states = {"source": self.source, "target": self.target, "actor": self.actor}
        return {**plain, **states, "by": self.by, "reason": self.reason, "detail": self.detail}


def append(
    tx: Transaction,
    request: str,
    move: str,
    states: tuple[State | None, State],
    actor: Actor,
    *,
    by: str | None = None,
    reason: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add an event at the end of the history, in the transaction of what it tells of."""
    source, target = states
    number = next_id(tx.connection, tables.events)
    row = {
        "id": number,
        "request": request,
        "at": tx.stamp,
        "move": move,
        "source": None if source is None else str(source),
        "target": str(target),
        "actor": str(actor),
        "by": by,
        "reason": reason,
        "detail": strict_json.canonical(detail or {}).decode(),
    }
    add(tx.connection, tables.events, **row, chain=_link(_last_link(tx.connection, number), row))


def read(connection: Connection, request: str | None = None) -> tuple[Event, ...]:
    """The events of one request or of all, in their order."""
    query = select(tables.events).order_by(tables.events.c.id)
    rows = connection.execute(query if request is None else query.where(tables.events.c.request == request))
    return tuple(_event(row) for row in rows.mappings())


def moves(connection: Connection, name: str) -> tuple[Event, ...]:
    """Every event of one move, in their order."""
    query = select(tables.events).where(tables.events.c.move == name).order_by(tables.events.c.id)
    return tuple(_event(row) for row in connection.execute(query).mappings())


def last(connection: Connection, request: str) -> Event | None:
    """The latest event of a request."""
    return _latest(connection, tables.events.c.request == request)


def last_by(connection: Connection, actor: Actor) -> Event | None:
    """The latest event of all that `actor` made."""
    return _latest(connection, tables.events.c.actor == str(actor))


def _latest(connection: Connection, where: ColumnElement[bool]) -> Event | None:
    query = select(tables.events).where(where).order_by(tables.events.c.id.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return None if row is None else _event(row)


def broken(connection: Connection) -> Iterator[str]:
    """Numbers of events at which the chain does not hold, as text."""
    link, expected = _START, 1
    for row in connection.execute(select(tables.events).order_by(tables.events.c.id)).mappings():
        content = {name: row[name] for name in row if name not in ("chain", SEAL)}
        if row["id"] != expected or row["chain"] != _link(link, content):
            yield str(row["id"])
        link, expected = row["chain"], row["id"] + 1


def replayed(events: Iterable[Event]) -> dict[str, State]:
    """Where each request stands by its history alone."""
    states: dict[str, State] = {}
    for event in events:
        states[event.request] = event.target
    return states


def _event(row: RowMapping) -> Event:
    return Event(
        number=row["id"],
        request=row["request"],
        at=datetime.fromisoformat(row["at"]),
        move=row["move"],
        source=None if row["source"] is None else State(row["source"]),
        target=State(row["target"]),
        actor=Actor(row["actor"]),
        by=row["by"],
        reason=row["reason"],
        detail=strict_json.loads(row["detail"].encode()),
    )


def _last_link(connection: Connection, number: int) -> str:
    link = connection.scalar(select(tables.events.c.chain).where(tables.events.c.id == number - 1))
    return link or _START


def _link(before: str, row: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([before, row], sort_keys=True).encode()).hexdigest()
