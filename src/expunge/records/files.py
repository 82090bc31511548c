"""Files from elsewhere: found, measured before they are read, and told apart by their first bytes."""

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from expunge.errors import AttackSuspected, OperatorError
from expunge.records.columns import bad

MAX_BYTES: Final = 2**31
"""Most bytes that one file may hold, packed or unpacked: 2 GiB."""

BOMB_BYTES: Final = 2**26
BOMB_RATIO: Final = 200
"""Unpacking to more than `BOMB_BYTES` and more than `BOMB_RATIO` times the packed size is taken for a bomb: images and
tables of real people pack 2 to 30 times."""

PICKLE_SUFFIXES: Final = frozenset({".pkl", ".pickle", ".pt", ".pth", ".joblib", ".bin", ".ckpt"})


def existing(path: Path) -> Path:
    """`path`, when it is a file that can be read.

    **Raises:** `OperatorError("no-such-file" | "bad-data")`.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        raise OperatorError("no-such-file", f"there is no file {str(path)[:200]!r}") from None
    if not stat.S_ISREG(mode):
        raise bad(f"{str(path)[:200]!r} is no ordinary file")
    return path


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """All bytes of a file of at most `limit` bytes.

    **Raises:** `OperatorError("no-such-file" | "bad-data")`.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size  # asked for in full, `read` makes room for what is not there
        raw = file.read(min(size, limit) + 1)
    if len(raw) > limit:
        raise bad(f"{path.name[:60]!r} is larger than {limit:,} bytes")
    return raw


def opened(path: Path) -> BinaryIO:
    """A file opened for reading.

    **Raises:** `OperatorError("no-such-file" | "bad-data")`.
    """
    try:
        return existing(path).open("rb")
    except OSError as error:
        raise bad(f"{path.name[:60]!r} cannot be read: {error.strerror}") from None


def check_unpacked(name: str, packed: int, unpacked: int) -> None:
    """Judge a declared size before anything is unpacked.

    **Raises:** `OperatorError("bad-data")` above `MAX_BYTES`; `AttackSuspected("archive-bomb")` out of proportion.
    """
    if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed:
        raise AttackSuspected("archive-bomb", f"{name[:60]!r} says it unpacks to {unpacked:,} bytes from {packed:,}")
    if unpacked > MAX_BYTES:
        raise bad(f"{name[:60]!r} unpacks to {unpacked:,} bytes, more than {MAX_BYTES:,}")


def kind_of(path: Path) -> str:
    """`"parquet"`, `"npz"`, `"idx"`, `"csv"` or `"safetensors"`, by first bytes and then by suffix.

    **Raises:** `AttackSuspected("pickle-refused")`; `OperatorError("no-such-file" | "bad-data")`.
    """
    with opened(path) as file:
        start = file.read(16)
    suffix = path.suffix.lower()
    if suffix in PICKLE_SUFFIXES or is_pickle(start):
        raise AttackSuspected("pickle-refused", f"{path.name[:60]!r} is a pickle, or is named like one")
    for magic, kind in _MAGICS.items():
        if start.startswith(magic):
            return kind
    if start[2:3] in _IDX_TYPES and start[:2] == b"\0\0":
        return "idx"
    if suffix == ".safetensors":
        return "safetensors"
    if suffix in (".csv", ".tsv", ".txt") and b"\0" not in start[:1]:
        return "csv"
    raise bad(f"{path.name[:60]!r} is of no kind that is known here", KINDS)


def is_pickle(start: bytes) -> bool:
    """Whether bytes begin like a pickle of protocol 2 or later."""
    return len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= 5


_MAGICS: Final = {b"PAR1": "parquet", b"PK\x03\x04": "npz", b"PK\x05\x06": "npz", b"\x1f\x8b": "idx"}
_IDX_TYPES: Final = (b"\x08", b"\x09", b"\x0b", b"\x0c", b"\x0d", b"\x0e")
KINDS: Final = "Records come as `digits`, .csv, .tsv, .parquet, .npz, IDX files or a folder of them, or .safetensors."
