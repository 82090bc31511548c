"""One owner at a time, and no owner for ever."""

import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from expunge.errors import OperatorError
from expunge.ledger import lease, tables
from expunge.ledger.lease import Lease, leased
from expunge.ledger.store import Store

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    with Store.create(tmp_path / "ws", clock=clock) as made:
        yield made


def owner_of(store: Store) -> str | None:
    with store.reading() as connection:
        row = tables.find(connection, tables.leases, {"name": lease.WRITER})
    return None if row is None else row["owner"]


def refused(store: Store, **options) -> str:
    with pytest.raises(OperatorError) as caught, leased(store, **options):
        pass
    return caught.value.code


def test_it_is_held_and_let_go(store: Store):
    with leased(store):
        assert owner_of(store) is not None
        assert refused(store) == "lease-held"
        assert refused(store, wait=0.1) == "lease-held"
        with leased(store, name="another"):
            pass
    assert owner_of(store) is None
    with pytest.raises(ValueError, match="body"), leased(store):
        raise ValueError("body")
    assert owner_of(store) is None


def test_tokens_only_grow(store: Store):
    tokens = []
    for _ in range(3):
        with leased(store) as held:
            tokens.append(held.token)
    assert tokens == [1, 2, 3]


def test_a_living_owner_keeps_it_past_its_expiry(store: Store, clock: Clock):
    with leased(store, seconds=10):
        clock.now += timedelta(hours=1)
        assert refused(store) == "lease-held"


def elsewhere(store: Store, owner: str) -> None:
    """Pretend that a process that cannot be seen from here holds the lease."""
    with store.transaction() as tx:
        tables.change(tx.connection, tables.leases, {"name": lease.WRITER}, owner=owner)


@pytest.mark.parametrize("owner", ["other-boot/1/1/abcd", "//1/abcd"])
def test_an_owner_that_cannot_be_seen_keeps_it_until_it_expires(store: Store, clock: Clock, owner: str):
    with leased(store, seconds=10):
        elsewhere(store, owner.replace("//", "/0/"))
        clock.now += timedelta(seconds=9)
        assert refused(store) == "lease-held"
        clock.now += timedelta(seconds=2)
        with leased(store):
            pass


def write_under(store: Store, held: Lease) -> None:
    with store.transaction() as tx:
        tx.remember("name", "of the first")
        held.renew(tx)


def test_whoever_lost_it_can_do_no_harm(store: Store, clock: Clock):
    with leased(store, seconds=10) as first:
        elsewhere(store, "other-boot/1/1/abcd")
        clock.now += timedelta(seconds=11)
        with leased(store) as second:
            with pytest.raises(OperatorError) as caught:
                write_under(store, first)
            assert caught.value.code == "lease-lost"
            with store.transaction() as tx:
                second.renew(tx)
        assert second.token == first.token + 1
    assert store.recall("name") is None


def test_renewing_puts_the_expiry_off(store: Store, clock: Clock):
    with leased(store, seconds=10) as held:
        clock.now += timedelta(seconds=8)
        with store.transaction() as tx:
            held.renew(tx)
        elsewhere(store, "other-boot/1/1/abcd")
        clock.now += timedelta(seconds=8)
        assert refused(store) == "lease-held"


def _hold(folder: Path, ready) -> None:
    with Store.open(folder) as store, leased(store, seconds=10**6):
        ready.send(os.getpid())
        signal.pause()


def test_it_passes_at_once_from_a_killed_process(store: Store):
    context = multiprocessing.get_context("spawn")
    ready, ours = context.Pipe()
    process = context.Process(target=_hold, args=(store.folder, ours))
    process.start()
    pid = ready.recv()
    assert refused(store) == "lease-held"
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # dead, but not buried: still in the table of processes
    with leased(store) as held:
        assert held.token == 2
    process.join()


def test_a_process_id_that_was_given_again_is_not_the_owner(store: Store):
    with leased(store):
        place, pid, birth, mark = str(owner_of(store)).split("/")
        assert refused(store) == "lease-held"
        elsewhere(store, f"{place}/{pid}/{int(birth) - 1}/{mark}")
        with leased(store):
            pass
