"""The worker: every step once, together where a run is shared, again where it was interrupted, one at a time."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

import toy_workspace as toy
from expunge.errors import ExpungeError, OperatorError, ProgrammerError
from expunge.journey import decisions, history, requests
from expunge.journey.checks import fsck
from expunge.journey.requests import Request, Subject, Wish
from expunge.journey.transitions import State
from expunge.journey.worker import Record, Steps, read_record, work
from expunge.ledger import lease, log, objects
from expunge.ledger.store import Store, Transaction
from expunge.progress import Tick

PIPELINE = ["screen", "plan", "unlearn", "audit", "receipt"]


class Killed(BaseException):
    """A kill: nothing after it runs."""


@pytest.fixture
def store(tmp_path: Path):
    with toy.create(tmp_path / "ws", toy.people(12)) as made:
        yield made


def moves(store: Store, request: str) -> list[str]:
    with store.reading() as connection:
        return [event.move for event in history.read(connection, request)]


def state(store: Store, request: str) -> State:
    with store.reading() as connection:
        return requests.get(connection, request).state


class Watched(toy.ToySteps):
    """Writes down what is called; `trouble` (step -> exception) strikes once, before the step or at its commit."""

    def __init__(self, store: Store, trouble: dict[str, BaseException] | None = None) -> None:
        super().__init__(store)
        self.calls: list[str] = []
        self.trouble = dict(trouble or {})

    def strike(self, name: str) -> None:
        if name in self.trouble:
            raise self.trouble.pop(name)

    def screen(self, request: Request) -> Record:
        return self._called("screen", request, super().screen)

    def plan(self, run: Sequence[Request]) -> Record:
        return self._called("plan", run, super().plan)

    def unlearn(self, run: Sequence[Request]) -> Record:
        return self._called("unlearn", run, super().unlearn)

    def audit(self, run: Sequence[Request]) -> Record:
        return self._called("audit", run, super().audit)

    def receipt(self, request: Request) -> Record:
        return self._called("receipt", request, super().receipt)

    def commit(self, tx: Transaction, step: str, run: Sequence[Request], record: Record) -> Record:
        made = super().commit(tx, step, run, record)
        self.strike(f"commit {step}")
        return made

    def _called(self, name, argument, step) -> Record:
        self.strike(name)
        self.calls.append(name)
        return step(argument)


def test_a_request_goes_all_the_way(store: Store):
    request = toy.file(store, 1, "owner-0001")
    steps = Watched(store)
    assert isinstance(steps, Steps)
    outcome = toy.carry(store, steps=steps).demand()
    assert outcome.requests[0].state is State.CLOSED
    assert steps.calls == PIPELINE
    assert moves(store, request.id) == ["file", "verify", *PIPELINE, "close"]
    assert "owner-0001" not in toy.rows_now(store)
    assert (store.folder / f"receipts/{request.id}.json").is_file()
    assert fsck(store.folder).clean


def test_every_step_leaves_its_record(store: Store):
    request = toy.file(store, 1, "owner-0001")
    assert read_record(store, request.id, "screen") is None
    toy.carry(store)
    assert read_record(store, request.id, "plan") == {"method": "filter", "requests": 1}
    assert read_record(store, request.id, "receipt") == {"request": request.id, "not_covered": ["backups"], "leaf": 0}
    with store.reading() as connection:
        digests = {event.move: event.detail.get("record") for event in history.read(connection, request.id)}
        assert {name: digests[name] for name in PIPELINE} == objects.held(connection, f"request/{request.id}")


def test_unverified_requests_are_left_alone(store: Store):
    request = toy.file(store, 1, "owner-0001", None)
    assert toy.carry(store).waiting == {request.id: "proof of the requester's right"}
    assert state(store, request.id) is State.RECEIVED
    assert "owner-0001" in toy.rows_now(store)


def test_a_batch_shares_one_run_and_gets_a_receipt_each(store: Store):
    together = [toy.file(store, number, f"owner-000{number}", batch="monday") for number in range(4)]
    alone = toy.file(store, 9, "owner-0009")
    steps = Watched(store)
    toy.carry(store, steps=steps).demand()
    assert [steps.calls.count(name) for name in PIPELINE] == [5, 2, 2, 2, 5]
    with store.reading() as connection:
        runs = {requests.get(connection, each.id).run for each in together}
        assert len(runs) == 1
        assert requests.get(connection, alone.id).run not in runs
        assert log.size(connection) == 5
    assert len(list((store.folder / "receipts").iterdir())) == 5
    assert read_record(store, together[0].id, "unlearn") == read_record(store, together[3].id, "unlearn")
    assert sorted(toy.rows_now(store)) == [f"owner-{number:04d}" for number in (4, 5, 6, 7, 8, 10, 11)]


def test_a_batch_does_not_wait_for_what_is_held_or_wished_otherwise(store: Store):
    for number in (1, 2, 3):
        toy.file(store, number, f"owner-000{number}", batch="monday")
    with store.transaction() as tx:
        wish = Wish(Subject("owner-0005"), {"kind": "Retrain"}, batch="monday")
        requests.file(tx, toy.key(5), wish, verified_by="desk")
    steps = toy.ToySteps(store, suspicious=2)
    outcome = toy.carry(store, steps=steps)
    assert sorted(str(each.state) for each in outcome.requests) == ["closed", "closed", "closed", "held"]
    assert steps.runs == 2


def test_only_those_named_are_carried_with_their_run(store: Store):
    one, two = (toy.file(store, number, f"owner-000{number}", batch="monday") for number in (1, 2))
    other = toy.file(store, 3, "owner-0003")
    with pytest.raises(Killed):
        toy.carry(store, [one.id, two.id], Watched(store, {"unlearn": Killed()}))
    outcome = toy.carry(store, [one.id])
    assert {each.id for each in outcome.requests} == {one.id, two.id}
    assert state(store, two.id) is State.CLOSED
    assert state(store, other.id) is State.VERIFIED
    with pytest.raises(OperatorError) as caught:
        toy.carry(store, ["r0"])
    assert caught.value.code == "unknown-request"


@pytest.mark.parametrize("instant", [*PIPELINE, *(f"commit {name}" for name in PIPELINE)])
def test_a_kill_in_any_step_is_made_good_by_the_next_call(store: Store, instant: str):
    request = toy.file(store, 1, "owner-0001")
    with pytest.raises(Killed):
        toy.carry(store, steps=Watched(store, {instant: Killed()}))
    assert fsck(store.folder).clean
    steps = Watched(store)
    assert toy.carry(store, steps=steps).demand().requests[0].state is State.CLOSED
    assert steps.calls == PIPELINE[PIPELINE.index(instant.split()[-1]) :]
    assert moves(store, request.id) == ["file", "verify", *PIPELINE, "close"]
    with store.reading() as connection:
        assert log.size(connection) == 1
    assert fsck(store.folder).clean


@pytest.mark.parametrize("instant", [*PIPELINE, *(f"commit {name}" for name in PIPELINE)])
def test_a_step_that_fails_is_remembered_and_retried(store: Store, instant: str):
    step = instant.split()[-1]
    request = toy.file(store, 1, "owner-0001")
    other = toy.file(store, 2, "owner-0002")
    error = OperatorError("bad-data", "of this request")
    outcome = toy.carry(store, steps=Watched(store, {instant: error}))
    assert outcome.errors == {request.id: error}
    assert (state(store, other.id) is State.CLOSED) == (step not in ("audit", "receipt"))
    with store.reading() as connection:
        failed = requests.get(connection, request.id)
        assert failed.state is State.FAILED
        assert history.read(connection, request.id)[-1].detail == {
            "code": "bad-data",
            "family": "operator",
            "step": step,
        }
    with pytest.raises(OperatorError):
        outcome.demand()
    assert fsck(store.folder).clean
    assert toy.carry(store, retry=False).requests[0].state is State.FAILED
    steps = Watched(store)
    assert toy.carry(store, [request.id], steps).demand().requests[0].state is State.CLOSED
    assert steps.calls == PIPELINE[PIPELINE.index(step) :]
    assert moves(store, request.id).count("retry") == 1


def test_what_fails_together_is_retried_together(store: Store):
    one, two = (toy.file(store, number, f"owner-000{number}", batch="monday") for number in (1, 2))
    toy.carry(store, steps=Watched(store, {"audit": OperatorError("bad-data", "no")}))
    with store.transaction() as tx:
        assert decisions.retry(tx, one.id, by="Jane") is State.UNLEARNED
    assert state(store, two.id) is State.UNLEARNED
    steps = Watched(store)
    toy.carry(store, steps=steps)
    assert steps.calls == ["audit", "receipt", "receipt"]


@pytest.mark.parametrize("step", ["audit", "receipt"])
def test_no_run_starts_from_a_model_that_another_is_about_to_replace(store: Store, step: str):
    """If it did, the run that ends last would bring back what the other one forgot."""
    one, two = (toy.file(store, number, f"owner-000{number}") for number in (1, 2))
    outcome = toy.carry(store, steps=Watched(store, {step: OperatorError("bad-data", "no")}))
    assert set(outcome.errors) == {one.id}
    assert outcome.waiting == {two.id: "an earlier run that failed"}
    assert state(store, two.id) is State.PLANNED
    three = toy.file(store, 3, "owner-0003")
    assert toy.carry(store, [three.id], retry=False).waiting == {three.id: "an earlier run that failed"}
    assert {each.id for each in toy.carry(store, [three.id]).requests} == {one.id, three.id}
    assert (state(store, one.id), state(store, two.id), state(store, three.id)) == (
        State.CLOSED,
        State.PLANNED,
        State.CLOSED,
    )
    toy.carry(store).demand()
    assert sorted(toy.rows_now(store)) == ["owner-0000", *(f"owner-{number:04d}" for number in range(4, 12))]
    assert fsck(store.folder).clean


def test_runs_do_not_interleave(store: Store):
    for number in (1, 2, 3):
        toy.file(store, number, f"owner-000{number}")
    steps = Watched(store)
    toy.carry(store, steps=steps).demand()
    assert steps.calls == ["screen"] * 3 + ["plan"] * 3 + ["unlearn", "audit", "receipt"] * 3


def test_a_mistake_of_ours_is_raised_and_nothing_is_lost(store: Store):
    toy.file(store, 1, "owner-0001")
    with pytest.raises(ZeroDivisionError):
        toy.carry(store, steps=Watched(store, {"audit": ZeroDivisionError()}))
    assert toy.carry(store).demand().requests[0].state is State.CLOSED


def test_a_request_that_is_cancelled_while_its_step_runs_is_not_forgotten(store: Store):
    kept, gone = (toy.file(store, number, f"owner-000{number}", batch="monday") for number in (1, 2))

    class Interrupted(Watched):
        def unlearn(self, run: Sequence[Request]) -> Record:
            record = super().unlearn(run)
            if len(run) == 2:
                with store.transaction() as tx:
                    decisions.cancel(tx, gone.id)
            return record

    steps = Interrupted(store)
    toy.carry(store, steps=steps).demand()
    assert (state(store, kept.id), state(store, gone.id)) == (State.CLOSED, State.CANCELLED)
    assert "owner-0002" in toy.rows_now(store)
    assert "owner-0001" not in toy.rows_now(store)
    assert steps.calls.count("unlearn") == 2
    assert fsck(store.folder).clean


def test_a_run_that_everybody_left_is_nobody_s(store: Store):
    request = toy.file(store, 1, "owner-0001")

    class Interrupted(Watched):
        def plan(self, run: Sequence[Request]) -> Record:
            with store.transaction() as tx:
                decisions.cancel(tx, request.id)
            return super().plan(run)

    toy.carry(store, steps=Interrupted(store)).demand()
    assert state(store, request.id) is State.CANCELLED
    assert "owner-0001" in toy.rows_now(store)


def test_two_workers_are_never_at_work(store: Store):
    toy.file(store, 1, "owner-0001")
    with lease.leased(store), pytest.raises(OperatorError) as caught:
        work(store, toy.ToySteps(store), wait=0)
    assert caught.value.code == "lease-held"


def test_whoever_filed_waits_its_turn_and_sees_what_the_other_is_at(store: Store, tmp_path: Path):
    """No lock sends anybody away: the second of two people at work waits, however long the first one takes."""
    first, second = toy.file(store, 1, "owner-0001"), toy.file(store, 2, "owner-0002")
    shown: list[Tick] = []
    turn = threading.Event()

    class Watcher:
        def show(self, tick: Tick, *, final: bool) -> None:
            assert not final
            shown.append(tick)
            turn.set()

    class Slow(toy.ToySteps):
        def audit(self, run: Sequence[Request]) -> Record:
            waiter.start()
            assert turn.wait(60)
            return super().audit(run)

    def work_too() -> None:
        with toy.open_store(tmp_path / "ws") as other:
            toy.carry(other, [second.id], progress=Watcher()).demand()

    waiter = threading.Thread(target=work_too)
    toy.carry(store, [first.id], steps=Slow(store)).demand()
    waiter.join(60)
    assert (state(store, first.id), state(store, second.id)) == (State.CLOSED, State.CLOSED)
    assert {(tick.label, tick.done, tick.total) for tick in shown} >= {(f"waits: {first.id[:9]} unlearned", 3, 6)}
    assert moves(store, second.id).count("screen") == 1


def test_a_worker_that_lost_its_lease_changes_nothing(store: Store):
    request = toy.file(store, 1, "owner-0001")

    class Overtaken(Watched):
        def unlearn(self, run: Sequence[Request]) -> Record:
            record = super().unlearn(run)
            with store.transaction() as tx:
                held = {"name": lease.WRITER}
                lease.tables.change(tx.connection, lease.tables.leases, held, owner="other-boot/1/1/x", token=99)
            return record

    with pytest.raises(OperatorError) as caught:
        toy.carry(store, steps=Overtaken(store))
    assert caught.value.code == "lease-lost"
    assert state(store, request.id) is State.PLANNED
    assert "owner-0001" in toy.rows_now(store)


@pytest.mark.parametrize(
    ("step", "record", "family"),
    [
        ("screen", {}, ProgrammerError),
        ("screen", {"verdict": "maybe"}, ProgrammerError),
        ("unlearn", {"old_model": "x", "new_model": "y"}, ExpungeError),
        ("unlearn", {}, ExpungeError),
        ("audit", {"found": float("nan")}, ProgrammerError),
        ("plan", {"method": object()}, ProgrammerError),
    ],
)
def test_records_are_held_to_their_form(store: Store, step: str, record: Record, family: type[ExpungeError]):
    request = toy.file(store, 1, "owner-0001")
    steps = Watched(store)
    setattr(steps, step, lambda argument: record)
    outcome = toy.carry(store, steps=steps)
    assert isinstance(outcome.errors[request.id], family)
    assert state(store, request.id) is State.FAILED
    assert fsck(store.folder).clean


def test_a_second_call_has_nothing_to_do(store: Store):
    toy.file(store, 1, "owner-0001")
    toy.carry(store)
    epoch = store.epoch()
    steps = Watched(store)
    assert toy.carry(store, steps=steps).requests == ()
    assert steps.calls == []
    assert store.epoch() == epoch + 2  # the lease: taken, let go
