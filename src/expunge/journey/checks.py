"""The journey's promises, for `fsck`: history whole, table kept, records of steps there, subjects where needed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from expunge.errors import ExpungeError
from expunge.journey import history, lineage, requests, tables, transitions
from expunge.journey.history import Event
from expunge.journey.surroundings import SURROUNDINGS
from expunge.journey.transitions import State
from expunge.journey.worker import holder, record_moves
from expunge.ledger import objects
from expunge.ledger.fsck import Check, Problem, Report
from expunge.ledger.fsck import fsck as fsck_ledger
from expunge.ledger.log_faults import log_faults
from expunge.ledger.store import Store


def fsck(folder: Path) -> Report:
    """`expunge fsck`: everything that the ledger's `fsck` finds, and the promises of the log and the journey.

    **Raises:** `OperatorError("workspace-missing")`.
    """
    return fsck_ledger(folder, CHECKS, tables.MIGRATIONS)


def check_log(store: Store, connection: Connection) -> Iterator[Problem]:
    """The receipts' log: every node, key and checkpoint again from its leaves."""
    del store
    for line in log_faults(connection):
        yield Problem("log", "log", line)


def check_history(store: Store, connection: Connection) -> Iterator[Problem]:
    """The chain of events, and that every event is a legal move from where the one before it led."""
    del store
    for number in history.broken(connection):
        yield Problem("history", f"event {number}", "the chain of events does not hold here")
    stands: dict[str, tuple[State, State | None]] = {}
    for event in history.read(connection):
        legal = _legal(event, stands.get(event.request))
        if not legal:
            yield Problem("history", f"event {event.number}", "the table does not allow this move here")
        stands[event.request] = (event.target, _failed_in(event, stands.get(event.request)))
    for request in requests.list_all(connection):
        if stands.get(request.id) != (request.state, request.failed_in):
            yield Problem("history", request.id, "the request does not stand where its history leads")


def check_records(store: Store, connection: Connection) -> Iterator[Problem]:
    """Every step that was made left its record."""
    del store
    made: dict[str, set[str]] = {}
    for event in history.read(connection):
        made.setdefault(event.request, set()).add(event.move)
    for request, moves in made.items():
        for missing in sorted(moves & record_moves() - set(objects.held(connection, holder(request)))):
            yield Problem("missing", request, f"the record of the step {missing} is not there")


def check_lineage(store: Store, connection: Connection) -> Iterator[Problem]:
    """What was replaced by whom leads to models that are known."""
    del store
    known = {model.digest for model in lineage.list_all(connection)}
    for model in lineage.list_all(connection):
        if model.replaced_by is not None and model.replaced_by not in known:
            yield Problem("lineage", model.digest, "the model in its place is not known")


def check_subjects(store: Store, connection: Connection) -> Iterator[Problem]:
    """A request that is still open needs its subject."""
    del store
    there = set(connection.scalars(select(tables.subjects.c.request)))
    for request in requests.list_all(connection, transitions.OPEN):
        if request.id not in there:
            yield Problem("missing", request.id, "the request is open, but nobody knows whom it concerns")


CHECKS: Final[tuple[Check, ...]] = (
    *(check_log, check_history, check_records, check_lineage, check_subjects),
    *SURROUNDINGS,
)


def _legal(event: Event, before: tuple[State, State | None] | None) -> bool:
    if event.move == history.FILED:
        return before is None and event.source is None and event.target is transitions.START
    if before is None or event.source is not before[0]:
        return False
    try:
        return transitions.target(event.move, before[0], before[1], event.actor) is event.target
    except (ExpungeError, KeyError):
        return False


def _failed_in(event: Event, before: tuple[State, State | None] | None) -> State | None:
    if event.target is not State.FAILED:
        return None
    return before[1] if before is not None and before[0] is State.FAILED else event.source
