"""Files that survive a kill at any instant: written whole beside their place, synced, then renamed into it."""

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Final

from expunge.errors import OperatorError

PRIVATE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def judged() -> Iterator[None]:
    """Turns the system's refusals into ours: `OperatorError("disk-full" | "io-error")`, without any content."""
    try:
        yield
    except OSError as error:
        code = "disk-full" if error.errno in _FULL else "io-error"
        name = Path(os.fsdecode(error.filename)).name if error.filename else "a file of the store"
        raise OperatorError(code, f"{error.strerror or 'the system refused'}: {name[:100]}") from None


def write_new(path: Path, data: bytes) -> None:
    """Make a file that was not there, readable to its owner only, and sync it. No part of it stays after an error.

    **Raises:** `OSError`.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE)
    try:
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise


def replace(path: Path, data: bytes, staging: Path) -> None:
    """Put a file in the place of `path`: whoever reads sees the old bytes or the new ones, never a mixture.

    The bytes are written in the folder `staging`, on the same file system, where what a killed process leaves behind
    is found and swept.

    **Raises:** `OSError`.
    """
    temporary = staging / f"{secrets.token_hex(8)}.new"
    write_new(temporary, data)
    move(temporary, path)


def move(source: Path, target: Path) -> None:
    """Rename a synced file into its place, over what was there, and make the new name last.

    **Raises:** `OSError`.
    """
    os.replace(source, target)
    sync_folder(target.parent)


def read(path: Path) -> bytes:
    """All bytes of an ordinary file; links are not followed.

    **Raises:** `OSError`.
    """
    with opened(path) as file:
        return file.read()


def digest(path: Path) -> str:
    """SHA-256, hex, of an ordinary file's bytes.

    **Raises:** `OSError`.
    """
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def opened(path: Path) -> BufferedReader:
    """A file opened for reading; a link is refused.

    **Raises:** `OSError`.
    """
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def remove(path: Path) -> bool:
    """Unlink `path`; False where it was gone already.

    **Raises:** `OSError`.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are missing, open to their owner only, each made to last.

    **Raises:** `OSError`.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder last.

    **Raises:** `OSError`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
