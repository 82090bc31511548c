"""SQLite, set up so that what was committed stays and what was deleted is overwritten."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, PoolProxiedConnection, create_engine, event
from sqlalchemy.exc import DatabaseError, IntegrityError

from expunge.errors import ExpungeError, OperatorError
from expunge.ledger import files

NAME: Final = "store.db"
PATIENCE: Final = 60.0
"""Seconds that a connection waits for another process's transaction."""

# secure_delete: zeroes over deleted bytes. temp_store: no personal data in a folder for temporary files.
_SETTINGS: Final = (
    "foreign_keys=on",
    "synchronous=full",
    "secure_delete=on",
    "temp_store=memory",
    "trusted_schema=off",
    "cell_size_check=on",
)
_CODES: Final = {
    sqlite3.SQLITE_FULL: ("disk-full", "the disk is full: the transaction was not made"),
    sqlite3.SQLITE_BUSY: ("store-busy", "another process did not let go of the store in time"),
    sqlite3.SQLITE_LOCKED: ("store-busy", "another connection did not let go of the store in time"),
    sqlite3.SQLITE_PROTOCOL: ("store-busy", "too many processes opened the store at once"),
    sqlite3.SQLITE_CORRUPT: ("store-corrupt", "the database is damaged"),
    sqlite3.SQLITE_NOTADB: ("store-corrupt", f"{NAME} is not a database"),
}
_OTHER: Final = ("io-error", "the database could not be read or written")


def engine(path: Path, patience: float = PATIENCE) -> Engine:
    """An engine for the database file `path`, which must be there.

    Transactions begin as the only writer, unless the connection has the execution option `reading`.
    """
    name = f"file:{quote(os.fsencode(path.absolute()))}"
    url = URL.create("sqlite", database=name, query={"uri": "true", "mode": "rw"})
    # hide_parameters: an error's text never shows an owner id or a salt.
    made = create_engine(url, connect_args={"timeout": patience, "isolation_level": None}, hide_parameters=True)
    event.listen(made, "connect", _set_up)
    event.listen(made, "begin", _begin)
    return made


def make(path: Path) -> None:
    """Make an empty database file with a write-ahead log, readable to its owner only; one that is there stays.

    **Raises:** `OSError`; `OperatorError("io-error")` where the log cannot be had, which SQLite keeps to itself after
    some errors of the disk; and what `judged` turns.
    """
    if not path.exists():
        files.write_new(path, b"")
        files.sync_folder(path.parent)
    with judged(), closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        (mode,) = connection.execute("pragma journal_mode=wal").fetchone()
    if mode != "wal":
        raise OperatorError(*_OTHER)


@contextmanager
def judged() -> Iterator[None]:
    """Turns the database's refusals into `OperatorError("disk-full" | "store-busy" | "store-corrupt" | "io-error")`.

    A broken rule of the schema passes through: that is a mistake in our code.
    """
    try:
        yield
    except IntegrityError:
        raise
    except (DatabaseError, sqlite3.DatabaseError) as error:
        raise _operator_error(error) from None


def empty_log(made: Engine, wait: bool = True) -> bool:
    """Bring the whole write-ahead log into the database file and cut it to nothing; False when others are in the way.

    **Raises:** as `judged`.
    """
    with judged(), _raw(made) as connection:
        if not wait:
            connection.execute("pragma busy_timeout=0")
        busy, _, _ = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
    return not busy


def rebuild(made: Engine) -> None:
    """Write the database anew, so that no byte of a deleted row stays in unused space.

    **Raises:** as `judged`.
    """
    with judged(), _raw(made) as connection:
        connection.execute("vacuum")


def damage(connection: Connection) -> list[str]:
    """What SQLite itself finds wrong with the database's structure and its foreign keys."""
    found = [str(line) for (line,) in connection.exec_driver_sql("pragma integrity_check(20)")]
    broken = {str(row[0]) for row in connection.exec_driver_sql("pragma foreign_key_check")}
    return [line for line in found if line != "ok"] + [f"{table} refers to a row that is not there" for table in broken]


@contextmanager
def _raw(made: Engine) -> Iterator[PoolProxiedConnection | Any]:
    """A connection outside any transaction."""
    connection = made.raw_connection()
    try:
        yield connection.cursor()
    finally:
        connection.close()


def _set_up(connection: Any, record: object) -> None:
    del record
    for setting in _SETTINGS:
        connection.execute(f"pragma {setting}")


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("begin" if reading else "begin immediate")


def _operator_error(error: DatabaseError | sqlite3.DatabaseError) -> ExpungeError:
    cause = error.orig if isinstance(error, DatabaseError) else error
    number = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_IOERR)
    return OperatorError(*_CODES.get(number & 0xFF, _OTHER))
