"""The store: a workspace folder with one database and content-addressed objects.

    with Store.open(folder) as store, store.transaction() as tx:
        digest = objects.put(tx, data, kind="report")

A transaction is the only writer. It commits as a whole or not at all, whatever happens to the process or the disk;
what it does to files beside the database is finished after the commit, by this process or by the next one.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from sqlalchemy import Connection

from expunge.errors import OperatorError, ProviderDishonest
from expunge.ledger import database, erasure, files, head, migrations, peeking, recovery, tables
from expunge.ledger.files import judged
from expunge.ledger.migrations import MIGRATIONS, Migration

Clock = Callable[[], datetime]

_EPOCH: Final = "epoch"
_READY: Final = "ready"
_SCRUB: Final = "scrub"


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


@dataclass(eq=False)
class Transaction:
    """One transaction that writes.

    **Arguments:**

    - `folder`: the workspace.
    - `connection`: for statements; they commit together.
    - `now`: the transaction's time, UTC.
    - `epoch`: the database's epoch before it.
    """

    folder: Path
    connection: Connection
    now: datetime
    epoch: int
    staged: list[Path] = field(default_factory=list)
    needles: list[bytes] = field(default_factory=list, repr=False)
    unsettled: bool = False
    blind: bool = False

    @property
    def stamp(self) -> str:
        """`now` as it stands in rows: ISO 8601 with microseconds, UTC."""
        return self.now.astimezone(UTC).isoformat(timespec="microseconds")

    def remember(self, name: str, value: str) -> None:
        """Keep a named text, in place of the one before."""
        tables.put(self.connection, tables.settings, {"name": name}, value=value)

    def recall(self, name: str) -> str | None:
        """The text kept under `name`."""
        return _recall(self.connection, name)

    def scrub(self, *values: bytes) -> None:
        """After the commit, make sure that these deleted values are nowhere in the database's files."""
        # A process that died after such a deletion took along what to look for.
        self.blind = self.blind or (not self.needles and bool(self.recall(_SCRUB)))
        self.needles.extend(values)
        self.unsettled = True
        self.remember(_SCRUB, str(self.epoch + 1))

    def discard(self) -> None:
        """Remove the files of a transaction that was rolled back."""
        for path in self.staged:
            with suppress(OSError):
                path.unlink()


class Store:
    """A workspace's store; `open` or `create` makes one, `close` or `with` ends it.

    Threads may share it; processes each open their own.
    """

    def __init__(self, folder: Path, steps: Sequence[Migration], clock: Clock) -> None:
        self.folder: Final = folder
        self.clock: Final = clock
        self._engine = database.engine(folder / database.NAME)
        peeking.enter()
        self._steps = tuple(steps)
        self._lock = threading.RLock()
        self._inside = False
        self._wrote = False
        self._closed = False

    @classmethod
    def create(
        cls,
        folder: Path,
        fill: Callable[[Transaction], None] | None = None,
        *,
        steps: Sequence[Migration] = MIGRATIONS,
        clock: Clock = utc_now,
    ) -> Self:
        """Make a store in `folder`, which may be there; after a kill, the same call carries on.

        `fill` puts in what a new workspace holds, in the transaction that makes the store complete.

        **Raises:** `OperatorError("workspace-exists")` where a complete one is there; `OperatorError("disk-full" |
        "io-error")`.
        """
        with judged():
            files.make_folder(folder / recovery.INCOMING)
            head.advance(folder, 0)
            database.make(folder / database.NAME)
        store = cls(folder, steps, clock)
        try:
            store._fill(fill)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(cls, folder: Path, *, steps: Sequence[Migration] = MIGRATIONS, clock: Clock = utc_now) -> Self:
        """The store in `folder`, brought to the newest shape, with whatever a killed process left finished.

        **Raises:** `OperatorError("workspace-missing" | "store-corrupt" | "store-newer" | "store-busy" | "disk-full" |
        "io-error")`; `ProviderDishonest("store-rolled-back")` when the database lost transactions.
        """
        if not (folder / database.NAME).is_file():
            raise OperatorError("workspace-missing", f"there is no workspace in {(folder.name or '.')[:100]!r}")
        store = cls(folder, steps, clock)
        try:
            store._check_in()
        except BaseException:
            store._let_go()
            raise
        return store

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """The only transaction that writes, in any process; commits at the end, rolls back on an exception.

        **Raises:** `OperatorError("disk-full" | "store-busy" | "store-corrupt" | "io-error")`;
        `ProviderDishonest("store-rolled-back")`; `RuntimeError` inside another one of the same thread.
        """
        with self._lock:
            if self._inside:
                raise RuntimeError("a transaction is open already")
            self._inside = True
            try:
                with self._writing() as tx:
                    yield tx
            finally:
                self._inside = False
            self._after(tx)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database, for reading.

        Let go of it before a transaction that deletes: what is deleted cannot be overwritten while it may be read.

        **Raises:** `OperatorError("store-busy" | "store-corrupt" | "io-error")`.
        """
        with database.judged(), self._engine.connect().execution_options(reading=True) as connection:
            yield connection

    @contextmanager
    def still(self) -> Iterator[Connection]:
        """A connection for reading, while which no process writes.

        **Raises:** as `reading`.
        """
        with database.judged(), self._engine.connect() as connection:
            yield connection

    def recall(self, name: str) -> str | None:
        """The text that a transaction kept under `name`."""
        with self.reading() as connection:
            return _recall(connection, name)

    def epoch(self) -> int:
        """Number of transactions that wrote to this store, ever."""
        return int(self.recall(_EPOCH) or 0)

    def settle(self, needles: Sequence[bytes] = (), *, rebuild: bool = True) -> None:
        """Finish what committed transactions asked of files: erase, export, scrub.

        `rebuild` writes the database anew without looking for `needles` first.

        **Raises:** as `transaction`; `OperatorError("not-erased")`.
        """
        with self.transaction() as tx, judged():
            recovery.settle(self.folder, tx.connection, tx.stamp)
        wanted = self.recall(_SCRUB)
        if not wanted:
            return
        with judged():
            erasure.scrub(self._engine, self.folder, needles, rebuild)
        with self.transaction() as tx:
            if tx.recall(_SCRUB) == wanted:
                tx.remember(_SCRUB, "")

    def close(self) -> None:
        """Let go of the files. The last to close leaves the digest of the database in the head."""
        if self._wrote:
            # A convenience for fsck: a busy or full disk is no reason to fail.
            with suppress(OperatorError, OSError), database.judged():
                self._seal()
        self._let_go()

    def _let_go(self) -> None:
        self._engine.dispose()
        if not self._closed:
            self._closed = True
            peeking.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        with database.judged(), self._engine.begin() as connection:
            tx = Transaction(self.folder, connection, self.clock(), self._checked_epoch(connection))
            try:
                yield tx
                with judged():
                    if tx.staged:
                        files.sync_folder(self.folder / recovery.INCOMING)
                tx.remember(_EPOCH, str(tx.epoch + 1))
            except BaseException:
                tx.discard()
                raise
        self._wrote = True

    def _after(self, tx: Transaction) -> None:
        with judged():
            head.advance(self.folder, tx.epoch + 1)
            for path in tx.staged:
                recovery.promote(self.folder, path)
        if tx.unsettled:
            self.settle(tx.needles, rebuild=tx.blind)

    def _checked_epoch(self, connection: Connection) -> int:
        epoch = int(_recall(connection, _EPOCH) or 0)
        with judged():
            _refuse_rollback(epoch, head.advance(self.folder, epoch))
        return epoch

    def _fill(self, fill: Callable[[Transaction], None] | None) -> None:
        with self.reading() as connection:
            self._refuse_ready(connection)
        self._migrate()
        with self.transaction() as tx:
            self._refuse_ready(tx.connection)
            if fill is not None:
                fill(tx)
            tx.remember(_READY, tx.stamp)

    def _refuse_ready(self, connection: Connection) -> None:
        if migrations.recorded(connection) and _recall(connection, _READY):
            raise OperatorError("workspace-exists", f"{self.folder.name[:100]!r} holds a workspace already")

    def _check_in(self) -> None:
        with judged():  # before the snapshot: the head never runs ahead of the database
            found = head.read(self.folder) or head.Head(0)
        with self.reading() as connection:
            behind = migrations.behind(connection, self._steps)
            if not migrations.recorded(connection) or not _recall(connection, _READY):
                raise self._not_ready(found)
            epoch = int(_recall(connection, _EPOCH) or 0)
            _refuse_rollback(epoch, found)
            with judged():
                head.advance(self.folder, epoch)
                due = recovery.due(self.folder, connection) or bool(_recall(connection, _SCRUB))
        if behind:
            self._migrate()
        if due:
            self.settle()

    def _not_ready(self, found: head.Head) -> OperatorError:
        if found.epoch:  # only the transaction that makes a workspace complete raises the head
            return OperatorError("store-corrupt", "the database has lost the mark of a complete workspace")
        return OperatorError("workspace-missing", f"the workspace in {self.folder.name[:100]!r} is half made")

    def _migrate(self) -> None:
        with judged():
            head.unseal(self.folder)
        with database.judged():
            migrations.migrate(self._engine, self._steps, self.clock())

    def _seal(self) -> None:
        if not database.empty_log(self._engine, wait=False):
            return
        with self.still() as connection:
            epoch = int(_recall(connection, _EPOCH) or 0)
            if not erasure.log_is_empty(self.folder):
                return
            head.write(self.folder, head.Head(epoch, erasure.digest(self.folder / database.NAME)))


def _recall(connection: Connection, name: str) -> str | None:
    row = tables.find(connection, tables.settings, {"name": name})
    return None if row is None else row["value"]


def _refuse_rollback(epoch: int, found: head.Head) -> None:
    if found.epoch > epoch:
        raise ProviderDishonest("store-rolled-back", f"the database is at epoch {epoch}; {found.epoch} was reached")
