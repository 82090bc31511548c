"""The head: one line outside the database that says how far the database had come.

Every transaction that writes adds one to the database's epoch; the head follows. A database that is behind its head
has lost transactions: an older copy was put in place, or the write-ahead log was cut. A clean close also leaves the
digest of the database file, so that any flipped bit in it is found.

    <epoch, 20 digits> <SHA-256 of the database file, or zeros> <first 16 hex digits of the SHA-256 of the rest>
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from expunge.errors import OperatorError
from expunge.ledger.files import PRIVATE

NAME: Final = "store.head"
_FORM: Final = re.compile(rb"([0-9]{20}) ([0-9a-f]{64}) ([0-9a-f]{16})\n")
_UNSEALED: Final = "0" * 64


@dataclass(frozen=True)
class Head:
    """How far the database had come, and the digest of its file after a clean close."""

    epoch: int
    digest: str | None = None


def read(folder: Path) -> Head | None:
    """The head of the store in `folder`; None where there is none yet.

    **Raises:** `OperatorError("store-corrupt")` for a damaged line; `OSError`.
    """
    try:
        with _opened(folder, os.O_RDONLY, fcntl.LOCK_SH) as descriptor:
            return _parsed(os.pread(descriptor, 4096, 0))
    except FileNotFoundError:
        return None


def advance(folder: Path, epoch: int) -> Head:
    """Raise the head to `epoch`, and return it; one that is already there or further stays.

    **Raises:** as `read`.
    """
    with _opened(folder, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX) as descriptor:
        found = _parsed(os.pread(descriptor, 4096, 0))
        if found is not None and found.epoch >= epoch:
            return found
        _write(descriptor, Head(epoch))
        if found is None:
            os.fsync(descriptor)
    return Head(epoch)


def unseal(folder: Path) -> None:
    """Drop the digest of the database file, before something changes the file without a new epoch.

    **Raises:** as `read`.
    """
    with _opened(folder, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX) as descriptor:
        found = _parsed(os.pread(descriptor, 4096, 0))
        if found is not None and found.digest is not None:
            _write(descriptor, Head(found.epoch))


def write(folder: Path, head: Head) -> None:
    """Write a head as it is; only while no other process can write to the database.

    **Raises:** as `read`.
    """
    with _opened(folder, os.O_RDWR, fcntl.LOCK_EX) as descriptor:
        _write(descriptor, head)


@contextmanager
def _opened(folder: Path, flags: int, lock: int) -> Iterator[int]:
    descriptor = os.open(folder / NAME, flags | os.O_NOFOLLOW, PRIVATE)
    try:
        fcntl.flock(descriptor, lock)
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, head: Head) -> None:
    body = f"{head.epoch:020d} {head.digest or _UNSEALED}"
    # In place and in one piece: within one disk sector, over bytes that are there already, so that no disk is too full.
    os.pwrite(descriptor, f"{body} {_check(body.encode())}\n".encode(), 0)


def _parsed(line: bytes) -> Head | None:
    if not line:  # made, but not yet written
        return None
    match = _FORM.fullmatch(line)
    if match is None or _check(line[:85]) != match[3].decode():
        raise OperatorError("store-corrupt", f"{NAME} is damaged")
    digest = match[2].decode()
    return Head(int(match[1]), None if digest == _UNSEALED else digest)


def _check(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]
