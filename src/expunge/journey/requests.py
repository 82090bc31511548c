"""Requests: filed once however often they are asked for, moved by the table alone, each move with its event.

A request's row names nobody. Whom it concerns stands in its subject, which is erased when the request is over.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select, true

from expunge.errors import OperatorError, RequesterError
from expunge.journey import deadlines, history, lineage, subjects, tables, transitions
from expunge.journey.subjects import Subject as Subject
from expunge.journey.transitions import Actor, State
from expunge.ledger import salts, strict_json
from expunge.ledger.store import Transaction
from expunge.ledger.tables import add, change

UNVERIFIED: Final = 0
VERIFIED: Final = 1
"""Channels: what was asked without and with a verified right never share an idempotency key's place."""

_FILED: Final = (
    select(func.min(tables.events.c.id)).where(tables.events.c.request == tables.requests.c.id).scalar_subquery()
)
"""The number of a request's first event: later ones have greater numbers, even where the clock was set back."""

_CHUNK: Final = 500
_ID: Final = re.compile("r[0-9a-f]{16}")
_LABEL: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Request:
    """A request as it stands; everything but `subject` may be shown to anyone.

    **Arguments:**

    - `key`: the idempotency key under which it was filed.
    - `failed_in`: the state in which the step failed, of a failed request.
    - `batch`: requests of one batch are planned together when they are ready together.
    - `run`: the unlearning run that it shares, from its planning on.
    - `number`: that of the event of its filing, which gives the order of requests whatever the clock says.
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
    number: int
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
    name = _key(key)
    _check(wish)
    for channel in (VERIFIED, UNVERIFIED):
        found = _filed(tx.connection, name, channel)
        if found is None or (verified_by is not None and _turned_away(found)):
            continue
        if same(found, wish):
            return _again(tx, found, channel, verified_by)
        if channel == (UNVERIFIED if verified_by is None else VERIFIED) or found.verified_at is not None:
            raise RequesterError("key-reused", "this idempotency key was used for another request")
    request = _enter(tx, name, wish, UNVERIFIED if verified_by is None else VERIFIED)
    if verified_by is not None:
        move(tx, request, "verify", Actor.PERSON, by=verified_by)
    return get(tx.connection, request)


def get(connection: Connection, request: str) -> Request:
    """The request of this id.

    **Raises:** `OperatorError("unknown-request")`.
    """
    for found in _select(connection, tables.requests.c.id == request):
        return found
    said = request if _ID.fullmatch(request) else "of that id"  # what else was typed may be a person's name
    raise OperatorError("unknown-request", f"no request {said}")


def list_all(connection: Connection, states: Iterable[State] | None = None) -> tuple[Request, ...]:
    """All requests, or those in these states, oldest first."""
    if states is None:
        return _select(connection, true())
    return _select(connection, tables.requests.c.state.in_([str(state) for state in states]))


def ids(connection: Connection, states: Iterable[State]) -> tuple[str, ...]:
    """Ids of all requests in these states, oldest first."""
    query = select(tables.requests.c.id).where(tables.requests.c.state.in_([str(state) for state in states]))
    return tuple(connection.scalars(query.order_by(_FILED)))


def among(connection: Connection, ids: Iterable[str], states: Iterable[State]) -> tuple[Request, ...]:
    """Those of these requests that are in these states, oldest first."""
    wanted, stand = sorted(set(ids)), [str(state) for state in states]
    chunks = (wanted[start : start + _CHUNK] for start in range(0, len(wanted), _CHUNK))
    table = tables.requests
    found = [each for some in chunks for each in _select(connection, table.c.id.in_(some) & table.c.state.in_(stand))]
    return tuple(sorted(found, key=lambda request: request.number))


def filed_under(connection: Connection, key: str | UUID) -> tuple[Request, ...]:
    """The requests under an idempotency key: at most one that was filed unverified, and one verified.

    **Raises:** `OperatorError("bad-arguments")`.
    """
    return _select(connection, tables.requests.c.key == _key(key))


def same(found: Request, wish: Wish) -> bool:
    """Whether a filed request asks for this; an erased subject can no longer be compared, the key alone decides."""
    subject = found.subject is None or found.subject == subjects.plain(wish.subject)
    return subject and found.regime == wish.regime and by_the_same(found, wish)


def by_the_same(found: Request, wish: Wish) -> bool:
    """Whether a filed request wishes for the same method."""
    return strict_json.canonical(found.method) == strict_json.canonical(wish.method)


def closed_for(connection: Connection, subject: Subject) -> list[Request]:
    """The closed requests that concerned this, latest first: told by salted commitments, as long as the salts stay."""
    found = {
        event.request: event.detail["subject"]
        for event in history.moves(connection, "close")
        if "subject" in event.detail
    }
    kept = salts.read(connection, map(subjects.salt_name, found))
    return [
        get(connection, request)
        for request in reversed(found)
        if (salt := kept.get(subjects.salt_name(request))) is not None
        and subjects.commitment(salt, subject) == found[request]
    ]


def concerned(connection: Connection, request: Request, subject: Subject) -> bool | None:
    """Whether a request concerns this; None where its subject was erased, and no commitment to it can be opened."""
    if request.subject is not None:
        return request.subject == subjects.plain(subject)
    left = [event.detail["subject"] for event in history.read(connection, request.id) if "subject" in event.detail]
    name = subjects.salt_name(request.id)
    salt = salts.read(connection, [name]).get(name)
    return subjects.commitment(salt, subject) == left[-1] if left and salt is not None else None


def close(tx: Transaction, request: str) -> State:
    """Close a request: what it leaves of whom it concerned is a salted commitment, by which the same is found again.

    **Raises:** as `move`.
    """
    subject = get(tx.connection, request).subject
    detail = {} if subject is None else {"subject": subjects.commit(tx, request, subject)}
    return move(tx, request, "close", Actor.WORKER, detail=detail)


def forget_subject(tx: Transaction, request: str, reason: str) -> None:
    """Destroy the salt of the commitment to whom a closed request concerned; `reason` must not name them.

    **Raises:** `OperatorError("names-a-person")`; as `salts.destroy`.
    """
    name = subjects.salt_name(request)
    for event in history.read(tx.connection, request):
        if "subject" in event.detail:
            salt = salts.read(tx.connection, [name]).get(name)
            subjects.refuse_committed(salt, event.detail["subject"], reason)
            salts.destroy(tx, [name], reason)


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
    if actor is not Actor.WORKER:  # its words are ours: nobody's choice of an id may stand in their way
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
    ids = tuple(requests)
    if any(get(tx.connection, each).state in transitions.OPEN for each in ids):
        raise OperatorError("illegal-move", "an open request needs to know whom it concerns")
    return subjects.erase(tx, ids)


def new_id(prefix: str) -> str:
    """An opaque id that says nothing of anybody: a letter and 16 random hex digits."""
    return prefix + secrets.token_hex(8)


def _enter(tx: Transaction, key: str, wish: Wish, channel: int) -> str:
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
    subjects.keep(tx, request, wish.subject)
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


def _select(connection: Connection, where: ColumnElement[bool]) -> tuple[Request, ...]:
    table, whom = tables.requests, tables.subjects
    joined = table.outerjoin(whom, whom.c.request == table.c.id)
    query = select(table, whom.c.content, _FILED.label("number")).select_from(joined).where(where)
    rows = connection.execute(query.order_by(_FILED))
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
        number=row["number"],
        received_at=datetime.fromisoformat(row["received_at"]),
        verified_at=None if row["verified_at"] is None else datetime.fromisoformat(row["verified_at"]),
        method=None if row["method"] is None else strict_json.loads(row["method"].encode()),
        subject=None if row["content"] is None else subjects.parse(bytes(row["content"])),
    )


def _check(wish: Wish) -> None:
    subjects.check(wish.subject)
    if wish.batch is not None and not _LABEL.fullmatch(wish.batch):
        raise OperatorError("bad-arguments", "a batch's label has 1 to 64 letters, digits, dots, dashes")
    subjects.refuse_names(wish.subject, wish.batch or "")


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
    subjects.refuse_names(request.subject or Subject(), f"{by or ''}\n{reason or ''}")
