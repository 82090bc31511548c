"""Model files, judged by their header before any library parses them.

A safetensors file is eight bytes of header length (little endian), a JSON header, and the tensors' bytes. Each entry
of the header names a dtype, a shape and a range of bytes; together the ranges must cover the data without overlap and
without holes. Source: the format section of the safetensors README.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from expunge.errors import AttackSuspected, ExpungeError, OperatorError
from expunge.ledger import files, strict_json

MAX_HEADER: Final = 8 << 20
"""Longest header in bytes; the format allows 100 MB."""
MAX_FILE: Final = 64 << 30
MAX_TENSORS: Final = 100_000
MAX_DIMENSIONS: Final = 32

_BITS: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
_METADATA: Final = "__metadata__"
# First bytes of files that are offered as models but hold pickles or archives of them.
_PICKLES: Final = (b"PK\x03\x04", b"PK\x05\x06", *(bytes([0x80, version]) for version in range(2, 6)))
_PICKLE_TEXT: Final = (b"(dp", b"(lp", b"c__builtin__", b"cos\n", b"cposix", b"csubprocess", b"ctorch", b"ccollections")

_PICKLED: Final = "a pickle or an archive was offered as a model; it was not opened"


@dataclass(frozen=True)
class Entry:
    """One tensor: its dtype, its shape, and where its bytes begin and end in the data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """What a well-formed file says of itself."""

    tensors: dict[str, Entry]
    metadata: dict[str, str]


def check_file(path: Path) -> Header:
    """The header of a safetensors file whose every byte is accounted for.

    **Raises:** as `check`; `OperatorError("no-such-file" | "io-error")`.
    """
    if not path.is_file():
        raise OperatorError("no-such-file", f"{str(path)[-100:]!r} is no file")
    with files.judged(), path.open("rb") as file:
        return _checked(file.read(8 + MAX_HEADER), path.stat().st_size)


def check(data: bytes) -> Header:
    """The header of safetensors bytes, every one of them accounted for.

    **Raises:** `AttackSuspected("not-a-model")` for pickles, archives and what has no header;
    `AttackSuspected("malformed-model")` for a header that contradicts itself or the bytes.
    """
    return _checked(data, len(data))


def _checked(start: bytes, size: int) -> Header:
    length = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{":  # judged first: a header of 640 bytes begins as a pickle does
        pickled = start.startswith((*_PICKLES, *_PICKLE_TEXT))
        raise AttackSuspected("not-a-model", _PICKLED if pickled else "the file does not begin as a safetensors file")
    if length > MAX_HEADER or length > size - 8 or size > MAX_FILE:
        raise _malformed("the header is longer than the file or than any model needs")
    header = _header(start[8 : 8 + length])
    _check_layout(header.tensors, size - 8 - length)
    return header


def _header(raw: bytes) -> Header:
    try:
        found = strict_json.loads(raw.rstrip(b" "), MAX_HEADER)
    except ExpungeError:
        raise _malformed("the header is not strict JSON") from None
    if not isinstance(found, dict) or len(found) > MAX_TENSORS:
        raise _malformed("the header is no object, or names too many tensors")
    metadata = found.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _malformed("the metadata must be texts")
    return Header({name: _entry(value) for name, value in found.items()}, metadata)


def _entry(value: Any) -> Entry:
    if not isinstance(value, Mapping) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _malformed("a tensor has a dtype, a shape and data_offsets, and nothing else")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise _malformed("a dtype is unknown")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2 or len(shape) > MAX_DIMENSIONS:
        raise _malformed("a shape and offsets are whole numbers from zero up")
    begin, end = offsets
    if end - begin != math.prod(shape) * _BITS[dtype] // 8:
        raise _malformed("a tensor's range is not as long as its shape says")
    return Entry(dtype, tuple(shape), begin, end)


def _check_layout(tensors: Mapping[str, Entry], size: int) -> None:
    reached = 0
    for entry in sorted(tensors.values(), key=lambda each: (each.begin, each.end)):
        if entry.begin != reached:
            raise _malformed("tensors leave a hole" if entry.begin > reached else "tensors overlap")
        reached = entry.end
    if reached != size:
        raise _malformed("the tensors do not cover the data to its end")


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 2**53 for each in value)


def _malformed(message: str) -> AttackSuspected:
    return AttackSuspected("malformed-model", message)
