"""The log as static files (c2sp.org/tlog-tiles): signed checkpoint, tiles of 256 hashes, bundles of 256 entries.

    checkpoint          tile/<level>/<n>[.p/<width>]          tile/entries/<n>[.p/<width>]

Tiles come first and the checkpoint last, each file whole or not at all: whatever instant a publisher is killed at, the
checkpoint that can be read has all its tiles, and publishing again finishes the work.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from expunge.errors import AttackSuspected, OperatorError
from expunge.ledger import files, log
from expunge.ledger.checkpoints import open_checkpoint
from expunge_verify import Checkpoint

CHECKPOINT: Final = "checkpoint"
_WIDTH: Final = 256
_STAGING: Final = ".incoming"
_PARTIAL: Final = re.compile(r"tile/(entries|\d)/((?:x\d{3}/)*\d{3})\.p/([1-9]\d{0,2})")


def publish(connection: Connection, folder: Path) -> int:
    """Write the log under its latest checkpoint into `folder`; returns the number of files written.

    Only what is new since the published checkpoint is read and written. Publish after the transaction that signed the
    checkpoint is committed, one process at a time.

    **Raises:** `ProviderDishonest` with `log-rollback`, `log-fork` or `log-other` where the log does not extend what is
    published already; `OperatorError` with `log-corrupt` where nothing was ever signed, `disk-full`, `io-error`;
    `AttackSuspected("unsafe-path")` where `folder` is a link.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    if folder.is_symlink() or partial.is_symlink():
        raise AttackSuspected("unsafe-path", "a link stands in the place of the published log")
    with files.judged():
        if folder.exists():
            return _publish(connection, folder)
        written = _publish(connection, partial)  # the first time: with its checkpoint, or not at all
        partial.rename(folder)
        files.sync_folder(folder.parent)
        return written


def _publish(connection: Connection, folder: Path) -> int:
    head, note = _head(connection)
    before = _published(connection, folder)
    if before is not None:
        log.require_extension(connection, before, head.origin, head.size)
    _sweep(folder)
    start = 0 if before is None else before.size
    written = [_write(folder, path, data) for path, data in _tiles(connection, start, head.size)]
    written.append(_write(folder, CHECKPOINT, note.encode()))
    _drop_partial(folder, start, head.size)
    return sum(written)


def published_faults(connection: Connection, folder: Path) -> Iterator[str]:
    """One line for each published file that is missing or is not what the store would publish.

    **Raises:** `OperatorError("io-error")`, and for the checkpoint as `log.check_against`.
    """
    with files.judged():
        head = _published(connection, folder)
        if head is None:
            return
        size = log.size(connection)
        log.require_extension(connection, head, head.origin, size)
        wanted = dict(_older(connection, folder, size)) | dict(_tiles(connection, 0, head.size))
        # A publisher that was killed leaves tiles ahead of the checkpoint: good ones, or the next one writes them anew.
        wanted |= {path: data for path, data in _tiles(connection, head.size, size) if (folder / path).exists()}
        for path, data in wanted.items():
            if data is None or _content(folder / path) != data:
                yield f"{path} is missing or damaged"


def _older(connection: Connection, folder: Path, size: int) -> Iterator[tuple[str, bytes | None]]:
    """Partial tiles that stand since the log was smaller, with what they must hold; None for what is no tile at all."""
    for path in sorted(each for each in (folder / "tile").rglob("*") if not each.is_dir() or each.is_symlink()):
        name = path.relative_to(folder).as_posix()
        found = _PARTIAL.fullmatch(name)
        level = 0 if found is None or found[1] == "entries" else int(found[1])
        number = 0 if found is None else int(found[2].replace("x", "").replace("/", ""))
        if found is None or number * _WIDTH + int(found[3]) > size >> (8 * level):
            yield name, None
        elif found[1] == "entries":
            yield name, _entries(connection, number, int(found[3]))
        else:
            yield name, _hashes(connection, level, number, int(found[3]))


def _head(connection: Connection) -> tuple[Checkpoint, str]:
    note = log.latest(connection)
    if note is None:
        raise OperatorError("log-corrupt", "the log has no signed checkpoint to publish")
    return open_checkpoint(note.encode(), log.history(connection).keys), note


def _published(connection: Connection, folder: Path) -> Checkpoint | None:
    found = _content(folder / CHECKPOINT)
    return None if found is None else open_checkpoint(found, log.history(connection).keys)


def _tiles(connection: Connection, start: int, stop: int) -> Iterator[tuple[str, bytes]]:
    """Path and content of every tile and entry bundle that differs between trees of `start` and `stop` leaves."""
    level = 0
    while stop >> (8 * level):
        for number, width in _numbers(start >> (8 * level), stop >> (8 * level)):
            yield f"tile/{level}/{_name(number, width)}", _hashes(connection, level, number, width)
            if level == 0:
                yield f"tile/entries/{_name(number, width)}", _entries(connection, number, width)
        level += 1


def _numbers(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Number and width of each tile that hashes `[start, stop)` of one level fall into."""
    for number in range(start // _WIDTH, -(-stop // _WIDTH) if stop > start else 0):
        yield number, min(_WIDTH, stop - number * _WIDTH)


def _name(number: int, width: int) -> str:
    digits = f"{number:0{-(-len(str(number)) // 3) * 3}d}"
    parts = [digits[place : place + 3] for place in range(0, len(digits), 3)]
    path = "/".join([f"x{part}" for part in parts[:-1]] + parts[-1:])
    return path if width == _WIDTH else f"{path}.p/{width}"


def _hashes(connection: Connection, level: int, number: int, width: int) -> bytes:
    nodes = [(8 * level, number * _WIDTH + place) for place in range(width)]
    found = log.fetcher(connection)(nodes)
    return b"".join(found[node] for node in nodes)


def _entries(connection: Connection, number: int, width: int) -> bytes:
    place = log.leaves.c.position
    wanted = select(log.leaves.c.entry).where(place >= number * _WIDTH, place < number * _WIDTH + width).order_by(place)
    found = connection.scalars(wanted).all()
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in found)


def _write(folder: Path, path: str, data: bytes) -> bool:
    target = folder / path
    if _content(target) == data:
        return False
    files.make_folder(target.parent)
    files.replace(target, data, folder / _STAGING)
    return True


def _content(path: Path) -> bytes | None:
    try:
        return files.read(path)
    except FileNotFoundError:
        return None


def _sweep(folder: Path) -> None:
    """Clear what a killed publisher was writing."""
    files.make_folder(folder / _STAGING)
    for path in (folder / _STAGING).iterdir():
        files.remove(path)


def _drop_partial(folder: Path, start: int, stop: int) -> None:
    """Remove partial tiles whose full tile is there now; what a kill leaves of them does no harm."""
    level = 0
    while stop >> (8 * level):
        full = (stop >> (8 * level)) // _WIDTH
        for number in range((start >> (8 * level)) // _WIDTH, full):
            for kind in [str(level)] + ["entries"] * (level == 0):
                with suppress(FileNotFoundError):
                    shutil.rmtree(folder / "tile" / kind / f"{_name(number, _WIDTH)}.p")
        level += 1
