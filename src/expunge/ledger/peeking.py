"""The database's files, read past SQLite.

A process loses its POSIX locks on a file as soon as it closes any descriptor of it, and SQLite's locks are such locks:
without them another process takes the write-ahead log and its index for abandoned, and cuts them off under our feet
(sqlite.org/howtocorrupt.html, section 2.2). So our descriptors stay open as long as a store of this process is.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_GUARD: Final = threading.RLock()
_kept: Final[dict[tuple[int, int], int]] = {}
_CHUNK: Final = 1 << 20


class _Stores:
    """How many stores of this process are open."""

    count = 0


def enter() -> None:
    """A store of this process opens: from now on nothing of a database is closed."""
    with _GUARD:
        _Stores.count += 1


def leave() -> None:
    """A store has let go of its database; with the last one ours are closed as well."""
    with _GUARD:
        _Stores.count -= 1
        _close_idle()


def pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a database file, piece by piece; nothing where it is gone: the last to leave takes its log along.

    **Raises:** `OSError`; a link is refused.
    """
    with suppress(FileNotFoundError), _descriptor(path) as descriptor:
        at = 0
        while piece := os.pread(descriptor, _CHUNK, at):
            yield piece
            at += len(piece)


@contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    enter()
    try:
        with _GUARD:
            found = path.lstat()
            descriptor = _kept.get((found.st_dev, found.st_ino))
            if descriptor is None:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
                found = os.fstat(descriptor)
                descriptor = _kept.setdefault((found.st_dev, found.st_ino), descriptor)
        yield descriptor
    finally:
        leave()


def _close_idle() -> None:
    while _Stores.count <= 0 and _kept:
        os.close(_kept.popitem()[1])
