"""`fsck --prove-absent`: look for bytes in the whole workspace, every file and every page of the database.

Only a digest is known of what was deleted. So every file is digested whole, every value in the database, and every
stretch of the lengths that are asked for, at every position of the database, its log and its free pages. Blocks that
the disk keeps below the file system are out of reach; a receipt lists them as not covered.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import select

from expunge.ledger import erasure, files, paths, salts, tables
from expunge.ledger.store import Store

_SEARCH_LIMIT: Final = 1 << 12
"""A page of the database, in bytes: what is longer lies over several with pointers between; it is found as a value."""

_CONTENT: Final = re.compile(rb"[^\0]")


@dataclass(frozen=True)
class Absence:
    """How a search went.

    **Arguments:**

    - `digest`: SHA-256, hex, of what was looked for.
    - `found`: where it is after all; empty is the proof.
    - `files`, `bytes`: what was looked through.
    - `lengths`: lengths of the stretches that were tried at every position of the database.
    - `known_length`: whether the store knows how long the deleted bytes were, and searched for just that.
    """

    digest: str
    found: tuple[str, ...]
    files: int
    bytes: int
    lengths: tuple[int, ...]
    known_length: bool

    @property
    def absent(self) -> bool:
        """Whether nothing was found."""
        return not self.found


def prove_absent(store: Store, digest: str, lengths: Sequence[int] = ()) -> Absence:
    """Search the workspace for bytes by their SHA-256.

    `lengths` in bytes are tried beside what the store knows; about a second for each length and megabyte of database.

    **Raises:** `AttackSuspected("unsafe-path")` for what is no digest; `OperatorError("io-error")`.
    """
    paths.digest(digest)
    wanted = bytes.fromhex(digest)
    known = _known_length(store, digest)
    tried = tuple(sorted({n for n in (*lengths, known or salts.BYTES) if 0 < n <= _SEARCH_LIMIT}))
    with files.judged():
        everything = list(_all_files(store.folder))
        found = [*_whole(everything, store.folder, wanted), *_values(store, wanted)]
        for path in erasure.database_files(store.folder):
            found += [f"{path.name}, byte {at}" for n in tried for at in _stretches(path, n, wanted)]
        size = sum(path.lstat().st_size for path in everything)
    return Absence(digest, tuple(found), len(everything), size, tried, known is not None)


def search(store: Store, needle: bytes) -> tuple[str, ...]:
    """Every file of the workspace that holds these bytes anywhere, as they are or in hex; paths in the workspace.

    **Raises:** `OperatorError("io-error")`; `ValueError` for an empty needle.
    """
    if not needle:
        raise ValueError("an empty needle is everywhere")
    forms = {needle, needle.hex().encode(), needle.hex().upper().encode()}
    with files.judged():
        return tuple(_name(path, store.folder) for path in _all_files(store.folder) if _holds(path, forms))


def _holds(path: Path, forms: set[bytes]) -> bool:
    overlap = max(map(len, forms))
    return any(form in window for window in erasure.windows(path, overlap) for form in forms)


def _known_length(store: Store, digest: str) -> int | None:
    with store.reading() as connection:
        found = tables.find(connection, tables.objects, {"digest": digest})
        if found is not None:
            return int(found["size"])
        salt = connection.execute(select(tables.salts.c.id).where(tables.salts.c.digest == digest)).first()
    return None if salt is None else salts.BYTES


def _all_files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(root) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _whole(everything: list[Path], folder: Path, wanted: bytes) -> Iterator[str]:
    for path in everything:
        total = hashlib.sha256()
        for piece in erasure.windows(path, 0):
            total.update(piece)
        if total.digest() == wanted:
            yield _name(path, folder)


def _values(store: Store, wanted: bytes) -> Iterator[str]:
    """Columns that hold a value with this digest."""
    with store.reading() as connection:
        for table in tables.metadata.sorted_tables:
            if not connection.dialect.has_table(connection, table.name):
                continue
            for row in connection.execute(select(table)).mappings():
                for name, value in row.items():
                    raw = value.encode() if isinstance(value, str) else value
                    if isinstance(raw, bytes) and hashlib.sha256(raw).digest() == wanted:
                        yield f"{table.name}.{name}"


def _stretches(path: Path, length: int, wanted: bytes) -> Iterator[int]:
    """Positions at which `length` bytes with this digest begin."""
    data, blank = b"".join(erasure.windows(path, 0)), bytes(length)
    sha256, at = hashlib.sha256, 0
    while at + length <= len(data):
        piece = data[at : at + length]
        if piece == blank:  # free space is zeroes: on to where it ends
            at = _end_of_blank(data, at + length) - length + 1
            continue
        if sha256(piece).digest() == wanted:
            yield at
        at += 1


def _end_of_blank(data: bytes, at: int) -> int:
    content = _CONTENT.search(data, at)
    return len(data) if content is None else content.start()


def _name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder))
