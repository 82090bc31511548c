"""What happens to files around a transaction, and how the next process finishes what a killed one left.

An object's bytes are synced in `objects/incoming` before the transaction that names them commits, and renamed into
`objects` after it. So an object that the database does not know is never in `objects`, and everything in `incoming` is
either an object to be moved or the rest of a transaction that never was. Deletions and exports are rows first, and
done under the writer's lock.
"""

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, RowMapping, Table, delete, select

from expunge.ledger import files, tables

OBJECTS: Final = "objects"
INCOMING: Final = "objects/incoming"


def staged_path(folder: Path, digest: str) -> Path:
    """A new name in `incoming` for an object's bytes."""
    return folder / INCOMING / f"{digest}.{secrets.token_hex(8)}"


def staged_copies(folder: Path, digest: str) -> list[Path]:
    """Copies of one object that still lie in `incoming`."""
    return sorted((folder / INCOMING).glob(f"{digest}.*"))


def promote(folder: Path, staged: Path) -> None:
    """Rename an object whose row is committed into its place; one that another process moved or erased is left.

    **Raises:** `OSError`.
    """
    try:
        files.move(staged, folder / OBJECTS / staged.name.partition(".")[0])
    except FileNotFoundError:
        return


def due(folder: Path, connection: Connection) -> bool:
    """Whether a killed process left files or rows to finish.

    **Raises:** `OSError`.
    """
    waiting = (tables.objects, "erasing"), (tables.exports, "pending"), (tables.exports, "removing")
    rows = (connection.execute(select(t.c.state).where(t.c.state == state).limit(1)).first() for t, state in waiting)
    return any((folder / INCOMING).iterdir()) or any(rows)


def settle(folder: Path, connection: Connection, now: str) -> None:
    """Finish everything, in a transaction that writes: move, sweep, erase, export.

    **Raises:** `OSError`.
    """
    for path in sorted((folder / INCOMING).iterdir()):
        _place(folder, connection, path)
    _each(connection, tables.exports, "removing", lambda row: _remove_export(folder, connection, row))
    _each(connection, tables.exports, "pending", lambda row: _export(folder, connection, row))
    _each(connection, tables.objects, "erasing", lambda row: _erase(folder, connection, row, now))
    files.sync_folder(folder / OBJECTS)


def _each(connection: Connection, table: Table, state: str, act: Callable[[RowMapping], None]) -> None:
    for row in connection.execute(select(table).where(table.c.state == state)).mappings().all():
        act(row)


def _place(folder: Path, connection: Connection, path: Path) -> None:
    digest = path.name.partition(".")[0]
    row = tables.find(connection, tables.objects, {"digest": digest})
    wanted = row is not None and row["state"] == "stored" and not (folder / OBJECTS / digest).exists()
    if wanted and hashlib.sha256(files.read(path)).hexdigest() == digest:
        promote(folder, path)
    else:
        files.remove(path)


def _remove_export(folder: Path, connection: Connection, row: RowMapping) -> None:
    if files.remove(folder / row["path"]):
        files.sync_folder((folder / row["path"]).parent)
    connection.execute(delete(tables.exports).where(tables.exports.c.path == row["path"]))


def _export(folder: Path, connection: Connection, row: RowMapping) -> None:
    target = folder / row["path"]
    files.make_folder(target.parent)
    files.replace(target, files.read(folder / OBJECTS / row["digest"]), folder / INCOMING)
    tables.change(connection, tables.exports, {"path": row["path"]}, state="written")


def _erase(folder: Path, connection: Connection, row: RowMapping, now: str) -> None:
    for path in (*staged_copies(folder, row["digest"]), folder / OBJECTS / row["digest"]):
        files.remove(path)
    tables.change(connection, tables.objects, {"digest": row["digest"]}, state="erased", erased_at=now)
