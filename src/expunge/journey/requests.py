"""Requests: filed once however often they are asked for, moved by the table alone, each move with its event.

A request's row names nobody. Whom it concerns stands in its subject, which is erased when the request is over.
"""

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, select, true

from expunge.errors import OperatorError, RequesterError
from expunge.journey import deadlines, history, lineage, tables, transitions
from expunge.journey.transitions import Actor, State
from expunge.ledger import strict_json
from expunge.ledger.store import Transaction
from expunge.ledger.tables import add, change, find, next_id

UNVERIFIED: Final = 0
VERIFIED: Final = 1
"""Channels: what was asked without and with a verified right never share an idempotency key's place."""

MAX_ID: Final = 256
"""Longest owner or record id, in UTF-8 bytes."""
_NEEDLE: Final = 256
_LABEL: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Subject:
    """Whom and what a request concerns: an owner, or records by their ids. Never shown."""

    owner: str | None = field(default=None, repr=False)
    records: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Request:
    """A request as it stands; everything but `subject` may be shown to anyone.

    **Arguments:**

    - `key`: the idempotency key under which it was filed.
    - `failed_in`: the state in which the step failed, of a failed request.
    - `batch`: requests of one batch are planned together when they are ready together.
    - `run`: the unlearning run that it shares, from its planning on.
    - `method`: JSON values of the method that was wished for, if any.
    - `subject`: None once it was erased.
    """

    id: str
    key: str
    state: State
    failed_in: State | None
    batch: str
    run: str | None
    regime: str
    rule_version: int
    received_at: datetime
    verified_at: datetime | None
    method: Any
    subject: Subject | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """What may be shown, as JSON values."""
        texts = {name: getattr(self, name) for name in ("id", "state", "failed_in", "batch", "run", "regime", "method")}
        verified = None if self.verified_at is None else self.verified_at.isoformat()
        return {**texts, "received_at": self.received_at.isoformat(), "verified_at": verified}


@dataclass(frozen=True)
class Wish:
    """What is asked for: a subject, JSON values of a method (or None), the regime of the deadline, a batch's label."""

    subject: Subject
    method: Any = None
    regime: str = deadlines.DEFAULT
    batch: str | None = None


def file(tx: Transaction, key: str | UUID, wish: Wish, *, verified_by: str | None = None) -> Request:
    """File a request, or find the one that was filed under this key before.

    `verified_by` says who established the requester's right. An unverified request never stands in the way of a
    verified one: if both use one key, the verified one is a request of its own, unless both ask for the same.

    **Raises:** `RequesterError("key-reused")` for another wish under a key that is taken;
    `RequesterError("nothing-to-delete")`; `OperatorError("bad-arguments" | "names-a-person" | "unknown-regime" |
    "reason-missing")`.
    """
    name, content = _key(key), _content(wish)
    for channel in (VERIFIED, UNVERIFIED):
        found = _filed(tx.connection, name, channel)
        if found is None or (verified_by is not None and _turned_away(found)):
            continue
        if _same(found, wish):
            return _again(tx, found, channel, verified_by)
        if channel == (UNVERIFIED if verified_by is None else VERIFIED) or found.verified_at is not None:
            raise RequesterError("key-reused", "this idempotency key was used for another request")
    request = _enter(tx, name, wish, content, UNVERIFIED if verified_by is None else VERIFIED)
    if verified_by is not None:
        move(tx, request, "verify", Actor.PERSON, by=verified_by)
    return get(tx.connection, request)


def get(connection: Connection, request: str) -> Request:
    """The request of this id.

    **Raises:** `OperatorError("unknown-request")`.
    """
    for found in _select(connection, tables.requests.c.id == request):
        return found
    raise OperatorError("unknown-request", f"no request {request[:40]!r}")


def list_all(connection: Connection, states: Iterable[State] | None = None) -> tuple[Request, ...]:
    """All requests, or those in these states, oldest first."""
    if states is None:
        return _select(connection, true())
    return _select(connection, tables.requests.c.state.in_([str(state) for state in states]))


def run_of(connection: Connection, run: str) -> tuple[Request, ...]:
    """The requests that share an unlearning run, oldest first."""
    return _select(connection, tables.requests.c.run == run)


def deadline(connection: Connection, request: Request, now: datetime) -> deadlines.Deadline:
    """When a request is due, seen from `now`."""
    moved = [deadlines.ClockEvent(event.move, event.at) for event in history.read(connection, request.id)]
    rule = deadlines.recorded_rule(request.regime, request.rule_version)
    return deadlines.deadline(rule, request.received_at, moved, now)


def move(
    tx: Transaction,
    request: str,
    name: str,
    actor: Actor,
    *,
    by: str | None = None,
    reason: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> State:
    """Make one move of the table and record its event; returns the new state.

    **Raises:** `OperatorError("illegal-move" | "reason-missing" | "names-a-person" | "unknown-request")`;
    `OperatorError("derived-untouched")` for closing while a known derived model holds the records.
    """
    now = get(tx.connection, request)
    row = transitions.find(name)
    target = transitions.target(name, now.state, now.failed_in, actor)
    _check_words(now, by, reason, needed=row.reasoned)
    if target is transitions.FULFILLED and (left := lineage.untouched(tx.connection, request)):
        raise OperatorError("derived-untouched", f"{len(left)} derived models still hold the records")
    values: dict[str, Any] = {"state": str(target), "failed_in": None}
    if target is State.FAILED:
        values["failed_in"] = str(now.failed_in or now.state)
    if name == "verify":
        values["verified_at"] = tx.stamp
    change(tx.connection, tables.requests, {"id": request}, **values)
    states = (now.state, target)
    history.append(tx, request, name, states, actor, by=by, reason=reason, detail=dict(detail or {}))
    return target


def assign(tx: Transaction, group: Iterable[Request], run: str) -> None:
    """Put requests into an unlearning run."""
    for request in group:
        change(tx.connection, tables.requests, {"id": request.id}, run=run)


def with_subject(connection: Connection, states: Iterable[State]) -> tuple[str, ...]:
    """Ids of the requests in these states whose subject is still stored."""
    joined = select(tables.requests.c.id).join(tables.subjects, tables.subjects.c.request == tables.requests.c.id)
    query = joined.where(tables.requests.c.state.in_([str(state) for state in states]))
    return tuple(connection.scalars(query.order_by(tables.requests.c.id)))


def erase_subjects(tx: Transaction, requests: Iterable[str]) -> int:
    """Delete for good whom these requests concern; returns how many were erased. Their rows and history stay.

    **Raises:** `OperatorError("illegal-move")` for one that is still open; after the commit
    `OperatorError("not-erased" | "store-busy")`.
    """
    erased = 0
    for request in requests:
        row = find(tx.connection, tables.subjects, {"request": request})
        if row is not None:
            if get(tx.connection, request).state in transitions.OPEN:
                raise OperatorError("illegal-move", "an open request needs to know whom it concerns")
            tx.connection.execute(delete(tables.subjects).where(tables.subjects.c.id == row["id"]))
            tx.scrub(bytes(row["content"])[:_NEEDLE])
            erased += 1
    return erased


def new_id(prefix: str) -> str:
    """An opaque id that says nothing of anybody: a letter and 16 random hex digits."""
    return prefix + secrets.token_hex(8)


def _enter(tx: Transaction, key: str, wish: Wish, content: bytes, channel: int) -> str:
    request = new_id("r")
    rule = deadlines.rule(wish.regime, tx.now.date())
    row = {
        "id": request,
        "key": key,
        "channel": channel,
        "state": str(transitions.START),
        "batch": wish.batch or request,
        "regime": rule.regime,
        "rule_version": rule.version,
        "received_at": tx.stamp,
        "method": None if wish.method is None else strict_json.canonical(wish.method).decode(),
    }
    add(tx.connection, tables.requests, **row)
    number = next_id(tx.connection, tables.subjects)
    add(tx.connection, tables.subjects, id=number, request=request, content=content)
    history.append(tx, request, history.FILED, (None, transitions.START), Actor.REQUESTER)
    return request


def _again(tx: Transaction, found: Request, channel: int, verified_by: str | None) -> Request:
    """The same wish under the same key: one request, which a verified asking verifies where that was open."""
    if verified_by is None or channel == VERIFIED or found.state is not State.RECEIVED:
        return found
    change(tx.connection, tables.requests, {"id": found.id}, channel=VERIFIED)
    move(tx, found.id, "verify", Actor.PERSON, by=verified_by)
    return get(tx.connection, found.id)


def _filed(connection: Connection, key: str, channel: int) -> Request | None:
    found = _select(connection, (tables.requests.c.key == key) & (tables.requests.c.channel == channel))
    return found[0] if found else None


def _turned_away(found: Request) -> bool:
    """Whether a request came to its end before anybody had established the requester's right."""
    return found.verified_at is None and found.state in transitions.TERMINAL


def _same(found: Request, wish: Wish) -> bool:
    """Whether a filed request asks for this; an erased subject can no longer be compared, the key alone decides."""
    subject = found.subject is None or found.subject == _plain(wish.subject)
    return subject and (found.method, found.regime) == (wish.method, wish.regime)


def _select(connection: Connection, where: ColumnElement[bool]) -> tuple[Request, ...]:
    table, subjects = tables.requests, tables.subjects
    joined = table.outerjoin(subjects, subjects.c.request == table.c.id)
    query = select(table, subjects.c.content).select_from(joined).where(where)
    rows = connection.execute(query.order_by(table.c.received_at, table.c.id))
    return tuple(_request(row) for row in rows.mappings())


def _request(row: RowMapping) -> Request:
    return Request(
        id=row["id"],
        key=row["key"],
        state=State(row["state"]),
        failed_in=None if row["failed_in"] is None else State(row["failed_in"]),
        batch=row["batch"],
        run=row["run"],
        regime=row["regime"],
        rule_version=row["rule_version"],
        received_at=datetime.fromisoformat(row["received_at"]),
        verified_at=None if row["verified_at"] is None else datetime.fromisoformat(row["verified_at"]),
        method=None if row["method"] is None else strict_json.loads(row["method"].encode()),
        subject=None if row["content"] is None else _subject(bytes(row["content"])),
    )


def _subject(content: bytes) -> Subject:
    found = strict_json.loads(content)
    return Subject(found["owner"], tuple(found["records"]))


def _plain(subject: Subject) -> Subject:
    return replace(subject, records=tuple(sorted(set(subject.records))))


def _content(wish: Wish) -> bytes:
    """A wish's subject as it is stored; the mark makes it one of a kind, so that its deletion can be checked."""
    subject = _plain(wish.subject)
    if subject.owner is None and not subject.records:
        raise RequesterError("nothing-to-delete", "a request names an owner or records")
    names: Sequence[str] = (*subject.records, *([] if subject.owner is None else [subject.owner]))
    if not all(0 < len(name.encode(errors="replace")) <= MAX_ID for name in names):
        raise OperatorError("bad-arguments", f"owner and record ids have 1 to {MAX_ID} bytes")
    if any("\ud800" <= character <= "\udfff" for name in names for character in name):
        raise OperatorError("bad-arguments", "owner and record ids are well-formed text")
    if wish.batch is not None and not _LABEL.fullmatch(wish.batch):
        raise OperatorError("bad-arguments", "a batch's label has 1 to 64 letters, digits, dots, dashes")
    _refuse_names(subject, f"{wish.batch}\n{strict_json.canonical(wish.method).decode()}")
    mark = secrets.token_hex(16)
    return strict_json.canonical({"mark": mark, "owner": subject.owner, "records": list(subject.records)})


def _key(key: str | UUID) -> str:
    try:
        return str(UUID(str(key)))
    except ValueError:
        raise OperatorError("bad-arguments", "an idempotency key is a UUID") from None


def _check_words(request: Request, by: str | None, reason: str | None, *, needed: bool) -> None:
    if needed and not ((by or "").strip() and (reason or "").strip()):
        raise OperatorError("reason-missing", "this move needs who decides it, and why")
    if by is not None and not by.strip():
        raise OperatorError("reason-missing", "whoever decides it must be named")
    _refuse_names(request.subject or Subject(), f"{by or ''}\n{reason or ''}")


def _refuse_names(subject: Subject, words: str) -> None:
    """What stays for ever must not name whom a request concerns. Ids of up to three letters would be in any words."""
    names = [name for name in (subject.owner, *subject.records) if name and len(name) > 3]
    if any(name in words and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words) for name in names):
        raise OperatorError("names-a-person", "the words name an owner or a record of the request")
