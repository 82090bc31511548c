"""The writer's lease: long work on a workspace is done by one process at a time.

A lease has an owner and an expiry. It passes to another process when it was let go, when its owner is known to be
dead, or when it expired and the owner is not known to live. Every transaction of the work checks the lease, so that an
owner that lost it can do no harm.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import RowMapping

from expunge.errors import OperatorError
from expunge.ledger import tables
from expunge.ledger.store import Store, Transaction

WRITER: Final = "writer"
SECONDS: Final = 600.0
_PAUSE: Final = 0.05


@dataclass(frozen=True)
class Lease:
    """A lease that was taken: `token` grows with every owner, `seconds` is how long it lasts after each renewal."""

    name: str
    owner: str
    token: int
    seconds: float

    def renew(self, tx: Transaction) -> None:
        """Check that the lease is still ours, and put off its expiry.

        **Raises:** `OperatorError("lease-lost")`.
        """
        row = tables.find(tx.connection, tables.leases, {"name": self.name})
        if row is None or (row["owner"], row["token"]) != (self.owner, self.token):
            raise OperatorError("lease-lost", f"the {self.name}'s lease passed to another process")
        tables.change(tx.connection, tables.leases, {"name": self.name}, expires_at=_expiry(tx, self.seconds))


@contextmanager
def leased(
    store: Store,
    *,
    wait: float = 0.0,
    seconds: float = SECONDS,
    name: str = WRITER,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[Lease]:
    """Hold the lease while the body runs; waits up to `wait` seconds for it, and calls `waiting` while it does.

    **Raises:** `OperatorError("lease-held")`.
    """
    lease = _taken(store, name, seconds, time.monotonic() + wait, waiting)
    try:
        yield lease
    finally:
        with suppress(OperatorError):  # lost, or the disk is full: it expires, and the owner will be known to be dead
            _let_go(store, lease)


def _taken(store: Store, name: str, seconds: float, until: float, waiting: Callable[[], None]) -> Lease:
    owner = f"{_place()}/{os.getpid()}/{_birth(os.getpid())}/{secrets.token_hex(4)}"
    while True:
        with store.reading() as connection:  # most waiting needs no turn as a writer
            free = _is_free(tables.find(connection, tables.leases, {"name": name}), store.clock())
        if free:
            with store.transaction() as tx:
                lease = _take(tx, name, owner, seconds)
            if lease is not None:
                return lease
        if time.monotonic() >= until:
            raise OperatorError("lease-held", "another process is at work on this workspace")
        waiting()
        time.sleep(_PAUSE)


def _take(tx: Transaction, name: str, owner: str, seconds: float) -> Lease | None:
    row = tables.find(tx.connection, tables.leases, {"name": name})
    if not _is_free(row, tx.now):
        return None
    token = 1 if row is None else row["token"] + 1
    values = {"owner": owner, "token": token, "expires_at": _expiry(tx, seconds)}
    tables.put(tx.connection, tables.leases, {"name": name}, **values)
    return Lease(name, owner, token, seconds)


def _let_go(store: Store, lease: Lease) -> None:
    with store.transaction() as tx:
        lease.renew(tx)
        tables.change(tx.connection, tables.leases, {"name": lease.name}, owner=None)


def _is_free(row: RowMapping | None, now: datetime) -> bool:
    if row is None or row["owner"] is None:
        return True
    alive = _alive(row["owner"])
    return alive is False or (alive is None and datetime.fromisoformat(row["expires_at"]) <= now)


def _expiry(tx: Transaction, seconds: float) -> str:
    return (tx.now + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def _alive(owner: str) -> bool | None:
    """Whether the owner's process lives; None where that cannot be seen from here."""
    place, pid, birth, _ = owner.split("/")
    if place != _place() or not birth or not _place():
        return None
    return _birth(int(pid)) == birth


def _place() -> str:
    """This boot and this namespace of process ids: where a process id means one process."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"
    return ""


def _birth(pid: int) -> str:
    """When the process began, in clock ticks since the boot; empty for none, or for one that is dead but not buried."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return ""
