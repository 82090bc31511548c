"""`fsck`: finds every missing, damaged or stray object, every flipped bit, and every broken promise of the store.

It changes nothing but what opening the store does anyway: finishing what a killed process left.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, RowMapping, Table, func, select
from sqlalchemy.exc import SQLAlchemyError

from expunge.errors import ExpungeError, OperatorError
from expunge.ledger import database, erasure, files, head, migrations, recovery, tables
from expunge.ledger.migrations import MIGRATIONS, Migration
from expunge.ledger.objects import ERASED
from expunge.ledger.store import Store


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: `kind` is a stable word, `subject` names what, `detail` is one line for people."""

    kind: str
    subject: str
    detail: str


@dataclass(frozen=True)
class Report:
    """What `fsck` found, and how much it looked at: rows and objects by number, objects also in bytes."""

    problems: tuple[Problem, ...]
    rows: int = 0
    objects: int = 0
    bytes: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


Check = Callable[[Store, Connection], Iterable[Problem]]
"""What another room adds: looks at the store within one state of the database."""

# What reading can raise where rows no longer hold what they must.
_DAMAGE: Final = (ExpungeError, SQLAlchemyError, OSError, LookupError, TypeError, ValueError)


def fsck(folder: Path, checks: Sequence[Check] = (), steps: Sequence[Migration] = MIGRATIONS) -> Report:
    """Look at everything that the store in `folder` holds; with `checks`, also at what other rooms keep in it.

    Damage is reported, never raised.

    **Raises:** `OperatorError("workspace-missing")`.
    """
    if not (folder / database.NAME).is_file():
        raise OperatorError("workspace-missing", f"there is no workspace in {(folder.name or '.')[:100]!r}")
    found = list(_guarded(_at_rest(folder)))
    every = (_database, _shape(steps), _rows, _objects, _strays, _exports, *checks)
    counts = (0, 0, 0)
    try:
        with Store.open(folder, steps=steps) as store:
            with store.reading() as connection:
                seen = _look(store, connection, every)
                counts = _counts(folder, connection)
            if seen:  # it may be that another process worked on the files meanwhile: look again while none can
                with store.still() as connection:
                    found += _look(store, connection, every)
    except _DAMAGE as error:
        if isinstance(error, ExpungeError) and error.code == "workspace-missing" and not found:
            raise
        found.append(_problem(error))
    return Report(tuple(dict.fromkeys(found)), *counts)


def _look(store: Store, connection: Connection, checks: Iterable[Check]) -> list[Problem]:
    return [problem for check in checks for problem in _guarded(check(store, connection))]


def _guarded(found: Iterable[Problem]) -> Iterator[Problem]:
    """The problems, where damage that ends the search is one more."""
    try:
        yield from found
    except _DAMAGE as error:
        yield _problem(error)


def _problem(error: Exception) -> Problem:
    if isinstance(error, ExpungeError):
        return Problem(error.code, database.NAME, str(error))
    return Problem("store-corrupt", database.NAME, f"unreadable: {type(error).__name__}")


def _database(store: Store, connection: Connection) -> Iterator[Problem]:
    del store
    for line in database.damage(connection):
        yield Problem("database", database.NAME, line)


def _at_rest(folder: Path) -> Iterator[Problem]:
    """What can only be seen before the store is opened: the head, and the database file that it sealed."""
    found = head.read(folder)
    if found is None:
        yield Problem("missing", head.NAME, "without it a restored older database cannot be told")
    elif found.digest and _epoch_at_rest(folder) == found.epoch:
        changed = erasure.digest(folder / database.NAME) != found.digest
        if changed and head.read(folder) == found:  # nobody opened and changed it meanwhile
            yield Problem("damaged", database.NAME, "the file was changed since it was last closed")


def _epoch_at_rest(folder: Path) -> int | None:
    """The epoch as the database has it; None when it cannot be read."""
    engine = database.engine(folder / database.NAME)
    try:
        with database.judged(), engine.connect().execution_options(reading=True) as connection:
            row = tables.find(connection, tables.settings, {"name": "epoch"})
            return None if row is None else int(row["value"])
    finally:
        engine.dispose()


def _counts(folder: Path, connection: Connection) -> tuple[int, int, int]:
    counts = (connection.scalar(select(func.count()).select_from(table)) for table in _sealed_tables(connection))
    sizes = [entry.stat().st_size for entry in os.scandir(folder / recovery.OBJECTS) if entry.is_file()]
    return sum(count or 0 for count in counts), len(sizes), sum(sizes)


def _sealed_tables(connection: Connection) -> list[Table]:
    there = set(connection.exec_driver_sql("select name from sqlite_master where type = 'table'").scalars())
    return [table for table in tables.metadata.sorted_tables if tables.SEAL in table.c and table.name in there]


def _shape(steps: Sequence[Migration]) -> Check:
    def check(store: Store, connection: Connection) -> Iterator[Problem]:
        del store
        wanted, found = migrations.expected_schema(tuple(steps)), migrations.schema(connection)
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                yield Problem("schema", name, "the table or index is not as the migrations make it")

    return check


def _rows(store: Store, connection: Connection) -> Iterator[Problem]:
    del store
    for table in _sealed_tables(connection):
        for key in tables.broken_seals(connection, table):
            yield Problem("row", f"{table.name}/{key}", "the row was changed behind the store's back")


def _objects(store: Store, connection: Connection) -> Iterator[Problem]:
    for row in connection.execute(select(tables.objects)).mappings():
        path = store.folder / recovery.OBJECTS / row["digest"]
        waiting = recovery.staged_copies(store.folder, row["digest"])
        if row["state"] in ERASED:
            if path.exists() or waiting:
                yield Problem("not-erased", row["digest"], "the object was erased, but its bytes are there")
        elif not path.exists() and not waiting:
            yield Problem("missing", row["digest"], f"the {row['kind']} is not in the store")
        else:
            yield from _content(path if path.exists() else waiting[0], row)


def _content(path: Path, row: RowMapping) -> Iterator[Problem]:
    if not stat.S_ISREG(path.lstat().st_mode):
        yield Problem("stray", path.name, "a link or something else is in an object's place")
    elif path.stat().st_size != row["size"]:
        yield Problem("damaged", row["digest"], f"the {row['kind']} has another length than it was stored with")
    elif files.digest(path) != row["digest"]:
        yield Problem("damaged", row["digest"], f"the {row['kind']}'s bytes do not match its name")


def _strays(store: Store, connection: Connection) -> Iterator[Problem]:
    known = set(connection.scalars(select(tables.objects.c.digest)))
    for entry in os.scandir(store.folder / recovery.OBJECTS):
        if entry.name not in known and entry.name != Path(recovery.INCOMING).name:
            yield Problem("stray", entry.name[:80], "no row knows this object")


def _exports(store: Store, connection: Connection) -> Iterator[Problem]:
    for row in connection.execute(select(tables.exports).where(tables.exports.c.state == "written")).mappings():
        path = store.folder / row["path"]
        if not path.is_file() or path.is_symlink():
            yield Problem("missing", row["path"], "the exported copy is not there")
        elif files.digest(path) != row["digest"]:
            yield Problem("damaged", row["path"], "the exported copy differs from its object")
