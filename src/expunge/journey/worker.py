"""The worker: carries requests from verified to closed, one step at a time, whatever happens to the process.

Each step is computed outside any transaction and hands back one record. The record, the request's move and whatever
must become true with it are then committed together. A process that is killed before the commit has done nothing; the
next one runs the step again.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, runtime_checkable

from sqlalchemy import Connection, select

from expunge.errors import ExpungeError, ProgrammerError
from expunge.journey import history, lineage, requests, transitions
from expunge.journey.requests import Request
from expunge.journey.transitions import Actor, State
from expunge.ledger import objects, paths, tables
from expunge.ledger.lease import SECONDS, Lease, leased
from expunge.ledger.store import Store, Transaction
from expunge.progress import Progress, Tick

Record = Mapping[str, Any]
"""What a step hands back: JSON values, never changed once stored. No owner id belongs in it."""

PLACES: Final = "places"
"""Under which a request points at where its records stood when it was filed."""

PASSED: Final = "passed"
HELD: Final = "held"
"""Verdicts of screening: `record["verdict"]`. A held request waits for a person."""


@runtime_checkable
class Steps(Protocol):
    """The work of each step. Every one can be run again after a kill, and is then expected to give a record as good.

    `screen` and `receipt` are called for one request; `plan`, `unlearn` and `audit` for all requests of a run, which
    share their record. Between the unlearning of a run and its last receipt no other run is unlearned: what `unlearn`
    started from is still in place when `receipt` is committed.

    `screen`'s record has a `verdict` (`PASSED` or `HELD`) and `reasons`; `unlearn`'s names the digests of `old_model`
    and `new_model` (equal where nothing had to change), and under `earlier`, where there are any, the requests with
    nothing left and those that deleted their records.

    A step raises an `ExpungeError` for what a person can act on: the request has then failed, and can be retried.
    """

    def screen(self, request: Request) -> Record:
        """Judge a request before it is carried out."""

    def plan(self, run: Sequence[Request]) -> Record:
        """Choose the method, and forecast its cost and effect."""

    def unlearn(self, run: Sequence[Request]) -> Record:
        """Make the model without the records; put nothing in its place yet."""

    def audit(self, run: Sequence[Request]) -> Record:
        """Look for the records in the new model."""

    def receipt(self, request: Request) -> Record:
        """State what was done."""

    def commit(self, tx: Transaction, step: str, run: Sequence[Request], record: Record) -> Record:
        """Do what must become true together with the step's move, in its transaction; returns the record to store."""


@dataclass(frozen=True)
class Outcome:
    """What one call of the worker did.

    **Arguments:**

    - `requests`: those it looked at, as they stand now.
    - `errors`: id -> why its step failed.
    - `waiting`: id -> what it waits for: the requester's proof, a person's release, an earlier run, derived models.
    """

    requests: tuple[Request, ...]
    errors: Mapping[str, ExpungeError] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)

    def demand(self) -> "Outcome":
        """This outcome, or the first error in it raised."""
        for error in self.errors.values():
            raise error
        return self


@dataclass(frozen=True)
class _Stage:
    """One step of the pipeline: from which state, by which move, and which requests take it together."""

    source: State
    move: str
    group: Callable[[Request], str]


def _alone(request: Request) -> str:
    return request.id


def _batch(request: Request) -> str:
    return f"{request.batch} {request.method!r}"


def _run(request: Request) -> str:
    return request.run or request.id


_BEFORE: Final = (_Stage(State.VERIFIED, "screen", _alone), _Stage(State.SCREENED, "plan", _batch))
_RUN: Final = (
    _Stage(State.PLANNED, "unlearn", _run),
    _Stage(State.UNLEARNED, "audit", _run),
    _Stage(State.AUDITED, "receipt", _alone),
)
_IN_FLIGHT: Final = (State.UNLEARNED, State.AUDITED)
_WAY: Final = (*(stage.source for stage in (*_BEFORE, *_RUN)), State.RECEIPTED, State.CLOSED)
_WAITING: Final = {State.RECEIVED: "proof of the requester's right", State.HELD: "a person's release"}


def holder(request: str) -> str:
    """Who points at the records of a request's steps; the role is the step's name."""
    return f"request/{request}"


def record_moves() -> frozenset[str]:
    """The moves that leave a record."""
    return frozenset(stage.move for stage in (*_BEFORE, *_RUN))


def read_record(store: Store, request: str, step: str) -> Any:
    """The record that a step of a request left; None where it was not made yet.

    **Raises:** as `objects.read_json`.
    """
    with store.reading() as connection:
        digest = objects.pointed(connection, holder(request), step)
    return None if digest is None else objects.read_json(store, digest)


def recorded(connection: Connection, step: str) -> dict[str, str]:
    """The digests of the records that a step left, of every request that has one."""
    table, start = tables.pointers, holder("")
    rows = connection.execute(select(table.c.holder, table.c.digest).where(table.c.role == step))
    return {row.holder.removeprefix(start): row.digest for row in rows if row.holder.startswith(start)}


def work(
    store: Store,
    steps: Steps,
    ids: Iterable[str] | None = None,
    *,
    retry: bool = True,
    wait: float = math.inf,
    seconds: float = SECONDS,
    progress: Progress | None = None,
) -> Outcome:
    """Carry requests as far as they go: those named, with all that share a run with them, or every open one.

    A run that is under way is finished first, named or not: the next one starts from the model that it leaves.

    `retry` takes failed ones up again. `wait` and `seconds` are for the writer's lease: while another process has it,
    `progress` shows what that one is at. Who waits has filed already, and so nobody is sent away before `wait` is over.

    **Raises:** `OperatorError("lease-held" | "lease-lost" | "unknown-request")`, and what the store raises. Errors of
    steps are in the outcome.
    """
    with leased(store, wait=wait, seconds=seconds, waiting=partial(_show_other, store, progress)) as lease:
        return _Worker(store, steps, lease, ids).carry(retry)


class _Worker:
    """One call of `work`: looks only at requests that were open when it began."""

    def __init__(self, store: Store, steps: Steps, lease: Lease, ids: Iterable[str] | None) -> None:
        self._store, self._steps, self._lease = store, steps, lease
        self._errors: dict[str, ExpungeError] = {}
        self._waiting: dict[str, str] = {}
        with store.reading() as connection:
            self._ids = _chosen(connection, ids)

    def carry(self, retry: bool) -> Outcome:
        """Carry every request as far as it goes; with `retry`, failed ones from the step that failed."""
        if retry:
            self._retry()
        for stage in _BEFORE:
            for group in _groups(stage, self._selected(stage.source)):
                self._step(stage, group)
        self._carry_runs()
        for request in self._selected(State.RECEIPTED):
            self._close(request)
        for state, what in _WAITING.items():
            self._waiting |= {request.id: what for request in self._selected(state)}
        self._erase()
        return Outcome(self._selected(*State), self._errors, self._waiting)

    def _retry(self) -> None:
        failed = self._selected(State.FAILED)
        if failed:
            with self._transaction() as tx:
                for request in failed:
                    requests.move(tx, request.id, "retry", Actor.WORKER)

    def _carry_runs(self) -> None:
        """One run after the other; none is begun while another is under way and could not be finished."""
        tried: set[str] = set()
        while True:
            under_way = self._runs_under_way()
            planned = [_run(request) for request in self._selected(State.PLANNED)]
            left = [run for run in under_way or planned if run not in tried]
            if not left:
                break
            tried.add(left[0])
            self._carry_run(left[0])
        if under_way:
            waiting = self._selected(State.PLANNED)
            self._waiting |= {request.id: "an earlier run that failed" for request in waiting}

    def _carry_run(self, run: str) -> None:
        for stage in _RUN:
            members = [request for request in self._selected(stage.source) if _run(request) == run]
            for group in _groups(stage, members):
                self._step(stage, group)

    def _runs_under_way(self) -> list[str]:
        """Runs that have their new model, but not every receipt."""
        with self._store.reading() as connection:
            return [_run(request) for request in _under_way(connection)]

    def _step(self, stage: _Stage, group: tuple[Request, ...]) -> None:
        try:
            # A person may have cancelled one of them while the step ran: then it runs again, for those that are left.
            while group and (left := self._try(stage, group)) is not None:
                group = left
        except ExpungeError as error:
            self._fail(stage, group, error)

    def _try(self, stage: _Stage, group: tuple[Request, ...]) -> tuple[Request, ...] | None:
        """Compute a step and commit it; where the group is no longer whole, commit nothing and return who is left."""
        step: Callable[[Any], Record] = getattr(self._steps, stage.move)
        record = _checked(stage.move, step(group[0] if stage.group is _alone else group))
        with self._transaction() as tx:
            present = self._present(tx.connection, stage, group)
            if present != group:
                return present
            self._commit(tx, stage, group, record)
        return None

    def _commit(self, tx: Transaction, stage: _Stage, group: tuple[Request, ...], record: Record) -> None:
        if stage.move == "plan":
            requests.assign(tx, group, requests.new_id("u"))
        if stage.move == "unlearn":
            before = record.get("earlier", {})
            mine = [request.id for request in group if request.id not in before]
            lineage.replace(tx, mine, record["old_model"], record["new_model"])
            for request, others in before.items():
                lineage.share(tx, request, others)
        digest = objects.put_json(tx, self._steps.commit(tx, stage.move, group, record), f"{stage.move} record")
        for request in group:
            objects.point(tx, holder(request.id), stage.move, digest)
            requests.move(tx, request.id, stage.move, Actor.WORKER, detail={"record": digest})
        if stage.move == "screen" and record["verdict"] == HELD:
            requests.move(
                tx, group[0].id, "hold", Actor.WORKER, by="screening", reason="the screening's record says why"
            )

    def _fail(self, stage: _Stage, group: tuple[Request, ...], error: ExpungeError) -> None:
        detail = {"code": error.code, "family": error.family, "step": stage.move}
        with self._transaction() as tx:
            for request in self._present(tx.connection, stage, group):
                requests.move(tx, request.id, "fail", Actor.WORKER, detail=detail)
        self._errors |= {request.id: error for request in group}

    def _close(self, request: Request) -> None:
        with self._transaction() as tx:
            left = lineage.untouched(tx.connection, request.id)
            if left:
                self._waiting[request.id] = f"{len(left)} derived models"
            elif requests.get(tx.connection, request.id).state is State.RECEIPTED:
                requests.close(tx, request.id)

    def _erase(self) -> None:
        """Whom a finished request concerned is nobody's business any more; a denied one's may yet complain.

        Where a cancelled one's records stand goes too: while they are here, that tells whose they are.
        """
        with self._store.reading() as connection:
            over = requests.with_subject(connection, (State.CLOSED, State.CANCELLED))
            cancelled = requests.among(connection, over, (State.CANCELLED,))
        if over:
            with self._transaction() as tx:
                for request in cancelled:
                    objects.release(tx, holder(request.id), PLACES)
                requests.erase_subjects(tx, over)
                if cancelled:
                    objects.collect(tx, "only a cancelled request pointed at it")

    def _selected(self, *states: State) -> tuple[Request, ...]:
        with self._store.reading() as connection:
            return requests.among(connection, self._ids, states)

    def _present(self, connection: Connection, stage: _Stage, group: Sequence[Request]) -> tuple[Request, ...]:
        now = (requests.get(connection, request.id) for request in group)
        return tuple(request for request in now if request.state is stage.source)

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        with self._store.transaction() as tx:
            self._lease.renew(tx)
            yield tx


def _show_other(store: Store, progress: Progress | None) -> None:
    """What the process that has the lease is at: how far the request that a worker moved last has come."""
    if progress is not None:
        with store.reading() as connection:
            moved = history.last_by(connection, Actor.WORKER)
        if moved is not None and moved.target in _WAY:
            tick = Tick(f"waits: {moved.request[:9]} {moved.target}", len(_WAY) - 1, _WAY.index(moved.target))
            progress.show(tick, final=False)


def _groups(stage: _Stage, members: Iterable[Request]) -> tuple[tuple[Request, ...], ...]:
    """The requests that take a step together."""
    groups: dict[str, list[Request]] = {}
    for request in members:
        groups.setdefault(stage.group(request), []).append(request)
    return tuple(map(tuple, groups.values()))


def _under_way(connection: Connection) -> list[Request]:
    found = requests.list_all(connection, (*_IN_FLIGHT, State.FAILED))
    return [request for request in found if (request.failed_in or request.state) in _IN_FLIGHT]


def _chosen(connection: Connection, ids: Iterable[str] | None) -> frozenset[str]:
    """The named requests with those that share a run with them, and runs that are under way; or every open request."""
    if ids is None:
        return frozenset(request.id for request in requests.list_all(connection, transitions.OPEN))
    named = [*(requests.get(connection, each) for each in ids), *_under_way(connection)]
    runs = {request.run for request in named if request.run}
    together = [other for run in sorted(runs) for other in requests.run_of(connection, run)]
    return frozenset(request.id for request in (*named, *together))


def _checked(step: str, record: Record) -> Record:
    if step == "screen" and record.get("verdict") not in (PASSED, HELD):
        raise ProgrammerError("bad-record", f"screening's verdict is {PASSED!r} or {HELD!r}")
    if step == "unlearn":
        for name in ("old_model", "new_model"):
            paths.digest(str(record.get(name)))
    return record
