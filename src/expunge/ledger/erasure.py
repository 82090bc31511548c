"""Deleted rows, really deleted: no byte of them in the write-ahead log, in free pages or in unused space of live ones.

SQLite overwrites a deleted cell, but not copies that it left behind when it moved cells between pages. So the file is
searched for the very bytes that had to go, and rebuilt where they are found, or where a killed process took the
knowledge of them along.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from expunge.errors import OperatorError
from expunge.ledger import database, files, peeking

CHUNK: Final = 1 << 20


def scrub(engine: Engine, folder: Path, needles: Sequence[bytes], rebuild: bool) -> None:
    """Overwrite what deleted rows left in the database's files.

    `needles` are the deleted values, as far as they are still known; `rebuild` when others are not.

    **Raises:** `OperatorError("store-busy")` when readers are in the way; `OperatorError("not-erased")` when bytes that
    had to go are there after all, as when another row holds the same value.
    """
    _empty(engine)
    if not rebuild and not any(holds(folder, needle) for needle in needles):
        return
    database.rebuild(engine)
    _empty(engine)
    if any(holds(folder, needle) for needle in needles):
        raise OperatorError("not-erased", "a value that was deleted is still in the database's files")


def holds(folder: Path, needle: bytes) -> bool:
    """Whether the database's files hold these bytes anywhere.

    **Raises:** `OSError`.
    """
    return any(needle in window for path in database_files(folder) for window in windows(path, len(needle)))


def database_files(folder: Path) -> list[Path]:
    """The database, its write-ahead log and its index, as far as they are there."""
    return sorted(folder.glob(f"{database.NAME}*"))


def log_is_empty(folder: Path) -> bool:
    """Whether no transaction waits in the write-ahead log."""
    log = folder / f"{database.NAME}-wal"
    return not log.exists() or log.stat().st_size == 0


def windows(path: Path, overlap: int) -> Iterator[bytes]:
    """A file's bytes in pieces that overlap by `overlap`, so that nothing is cut in two.

    **Raises:** `OSError`.
    """
    tail = b""
    for piece in peeking.pieces(path) if path.name.startswith(database.NAME) else _pieces(path):
        yield tail + piece
        tail = (tail + piece)[-overlap:] if overlap else b""


def digest(path: Path) -> str:
    """SHA-256, hex, of a database file.

    **Raises:** `OSError`.
    """
    total = hashlib.sha256()
    for piece in peeking.pieces(path):
        total.update(piece)
    return total.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with files.opened(path) as file:
        while piece := file.read(CHUNK):
            yield piece


def _empty(engine: Engine) -> None:
    if not database.empty_log(engine):
        raise OperatorError("store-busy", "readers keep the write-ahead log from being emptied")
