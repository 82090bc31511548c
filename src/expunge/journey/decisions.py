"""What people decide about requests: each is one move of the table, with who decided it and why in the history.

The same decision in the same words, asked for again right after, is the same decision: whoever does not know whether a
command came through runs it again.
"""

from typing import Any, Final

from sqlalchemy import Connection

from expunge.errors import OperatorError
from expunge.journey import deadlines, history, lineage, requests
from expunge.journey.requests import Request
from expunge.journey.transitions import DENIALS, Actor, State
from expunge.ledger.store import Transaction


def verify(tx: Transaction, request: str, *, by: str) -> State:
    """Record that `by` established the requester's right; a second time is no mistake.

    **Raises:** as `requests.move`.
    """
    found = requests.get(tx.connection, request)
    if found.verified_at is not None:
        return found.state
    return requests.move(tx, request, "verify", Actor.PERSON, by=by)


def hold(tx: Transaction, request: str, *, by: str, reason: str) -> State:
    """Stop a screened request until a person releases it. **Raises:** as `requests.move`."""
    return _decide(tx, request, "hold", by, reason)


REPAIR: Final = "repair"
"""Detail of a release: the deletion is to be carried out by repair."""


def release(tx: Transaction, request: str, *, by: str, reason: str, repair: bool = False) -> State:
    """Let a held request go on; with `repair`, by retraining that a chosen deletion bends less.

    **Raises:** as `requests.move`; `OperatorError("illegal-move")` to repair where the request names a method.
    """
    if repair and requests.get(tx.connection, request).method is not None:
        raise OperatorError("illegal-move", "the request names its method: nobody may put another in its place")
    return _decide(tx, request, "release", by, reason, **({REPAIR: "yes"} if repair else {}))


def repaired(connection: Connection, request: str) -> bool:
    """Whether a person released the request to be carried out by repair."""
    return any(event.move == "release" and REPAIR in event.detail for event in history.read(connection, request))


def deny(tx: Transaction, request: str, denial: str, *, by: str, reason: str) -> State:
    """Refuse a request for one of the Data Rights Protocol's reasons (`DENIALS`), explained in `reason`.

    A failed one goes back to where it failed first, and is refused from there.

    **Raises:** as `requests.move`; `OperatorError("unknown-reason")`.
    """
    if denial not in DENIALS:
        raise OperatorError("unknown-reason", f"a denial's reason is one of {', '.join(DENIALS)}")
    return _decide(tx, request, "deny", by, reason, denial=denial)


def cancel(tx: Transaction, request: str, *, by: str | None = None, reason: str | None = None) -> State:
    """Withdraw a request, by its requester, or by a person in the requester's name (`by`).

    **Raises:** as `requests.move`.
    """
    return _decide(tx, request, "cancel", by, reason)


def retry(tx: Transaction, request: str, *, by: str | None = None) -> State:
    """Send a failed request back to the state in which it failed, with those that failed with it in one run.

    **Raises:** as `requests.move`.
    """
    if (state := _repeated(tx, request, "retry", by, None)) is not None:
        return state
    found = requests.get(tx.connection, request)
    together = requests.run_of(tx.connection, found.run) if found.run else (found,)
    for each in together:
        if each.id != found.id and (each.state, each.failed_in) == (State.FAILED, found.failed_in):
            requests.move(tx, each.id, "retry", Actor.PERSON, by=by)
    return requests.move(tx, request, "retry", Actor.PERSON, by=by)


def exempt(tx: Transaction, request: str, model: str, *, by: str, reason: str) -> None:
    """Decide that a derived model (by its digest) holds nothing of a request's records.

    **Raises:** as `requests.move`, `lineage.exempt`; `AttackSuspected("unsafe-path")`.
    """
    lineage.exempt(tx, request, model)
    _decide(tx, request, "exempt", by, reason, model=model)


def extend(tx: Transaction, request: str, *, by: str, reason: str) -> deadlines.Deadline:
    """Put off a deadline, once, before it has passed, as far as the regime allows; returns the new one.

    **Raises:** as `requests.move`; `OperatorError("already-extended" | "deadline-passed")`.
    """
    before = _deadline(tx, request)
    if _repeated(tx, request, "extend", by, reason) is not None:
        return before
    if before.extended:
        raise OperatorError("already-extended", "the deadline was extended before")
    _refuse_late(before)
    requests.move(tx, request, "extend", Actor.PERSON, by=by, reason=reason)
    return _deadline(tx, request)


def stop_clock(tx: Transaction, request: str, *, by: str, reason: str) -> deadlines.Deadline:
    """Stop a deadline's clock while the requester must act (to prove identity, say), before it has passed; returns
    where it stands.

    **Raises:** as `requests.move`; `OperatorError("clock-runs")` under a regime without pauses;
    `OperatorError("deadline-passed")`;
    `OperatorError("illegal-move")` where it stands still already.
    """
    found = requests.get(tx.connection, request)
    if not deadlines.recorded_rule(found.regime, found.rule_version).clock_stops:
        raise OperatorError("clock-runs", f"under {found.regime} the clock never stops")
    return _turn_clock(tx, found, "stop-clock", by, reason)


def start_clock(tx: Transaction, request: str, *, by: str) -> deadlines.Deadline:
    """Let a stopped clock run on; returns the new deadline.

    **Raises:** as `requests.move`; `OperatorError("illegal-move")` where it runs already.
    """
    return _turn_clock(tx, requests.get(tx.connection, request), "start-clock", by, None)


def denial(connection: Connection, request: str) -> str | None:
    """The Data Rights Protocol's reason for which a request was denied, or None."""
    for event in history.read(connection, request):
        if event.move == "deny":
            return str(event.detail["denial"])
    return None


def _decide(tx: Transaction, request: str, name: str, by: str | None, reason: str | None, **detail: str) -> State:
    if (state := _repeated(tx, request, name, by, reason, detail)) is not None:
        return state
    if name in ("deny", "cancel") and requests.get(tx.connection, request).state is State.FAILED:
        requests.move(tx, request, "retry", Actor.PERSON, by=by)
    actor = Actor.REQUESTER if by is None else Actor.PERSON
    return requests.move(tx, request, name, actor, by=by, reason=reason, detail=detail)


def _repeated(
    tx: Transaction, request: str, name: str, by: str | None, reason: str | None, detail: dict[str, Any] | None = None
) -> State | None:
    """Where the same decision led, when it is the last thing that happened to the request."""
    last = history.last(tx.connection, request)
    if last is None or (last.move, last.by, last.reason, last.detail) != (name, by, reason, detail or {}):
        return None
    return last.target


def _turn_clock(tx: Transaction, found: Request, name: str, by: str, reason: str | None) -> deadlines.Deadline:
    if _repeated(tx, found.id, name, by, reason) is None:
        stands = requests.deadline(tx.connection, found, tx.now)
        if stands.stopped == (name == "stop-clock"):
            raise OperatorError("illegal-move", "the clock is stopped already, or runs already")
        if name == "stop-clock":
            _refuse_late(stands)
        requests.move(tx, found.id, name, Actor.PERSON, by=by, reason=reason)
    return _deadline(tx, found.id)


def _refuse_late(stands: deadlines.Deadline) -> None:
    """A deadline that has passed stays where it was: what comes after would only show it as a later one."""
    if stands.days_left < 0:
        raise OperatorError("deadline-passed", f"the deadline was {stands.due.isoformat()}")


def _deadline(tx: Transaction, request: str) -> deadlines.Deadline:
    return requests.deadline(tx.connection, requests.get(tx.connection, request), tx.now)
