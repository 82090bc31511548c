"""Salted commitments to records: what a log may hold of them.

A commitment is SHA-256 over a secret salt of 32 random bytes and an unambiguous encoding of the record. With the salt
and the record anyone can check it; without the salt it says nothing, so that destroying the salt is all it takes to
make the log forget. Tables are committed as they stand in the file, before any preparation, so that no `refit` moves a
commitment.
"""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.records.raw import Numbers, RawTable, Texts
from expunge.records.records import Records
from expunge.records.tombstones import DataTree

SALT_BYTES: Final = 32
_FORMAT: Final = b"expunge record 1"


def new_salts(count: int) -> tuple[bytes, ...]:
    """A secret salt for each record, from the operating system: the one randomness that no seed may reproduce."""
    return tuple(secrets.token_bytes(SALT_BYTES) for _ in range(count))


def commitments(records: Records, salts: Sequence[bytes]) -> tuple[bytes, ...]:
    """SHA-256(salt || encoding) of each record, 32 bytes each, in the order of the records.

    **Raises:** `ProgrammerError("bad-shape")` unless there is one salt of 32 bytes for each record.
    """
    if len(salts) != len(records) or any(len(salt) != SALT_BYTES for salt in salts):
        raise ProgrammerError("bad-shape", f"a salt of {SALT_BYTES} bytes is needed for each of {len(records)} records")
    return tuple(hashlib.sha256(s + e).digest() for s, e in zip(salts, encodings(records), strict=True))


def data_root(records: Records, salts: Sequence[bytes]) -> bytes:
    """RFC 6962 Merkle root, 32 bytes, over the commitments in the order of the records; raises as `commitments`."""
    return DataTree(commitments(records, salts)).root


def encodings(records: Records) -> Iterator[bytes]:
    """Each record as bytes: fields in a fixed order, each led by its length in 8 bytes, so that no two records agree.

    Fields: format, id, owner, split; then for tables name, kind and value of each column and of the target, and for
    arrays type, shape and little-endian bytes of the features and of the target.
    """
    contents = _arrays(records) if records.raw is None else _table(records.raw)
    for record, owner, part, content in zip(records.ids, records.owners, records.split, contents, strict=True):
        yield _fields(_FORMAT, record.encode(), owner.encode(), part.encode()) + content


def _fields(*values: bytes) -> bytes:
    return b"".join(len(value).to_bytes(8, "big") + value for value in values)


def _arrays(records: Records) -> Iterator[bytes]:
    features, targets = _little_endian(records.features), _little_endian(records.targets)
    kind = _fields(b"array", str(records.features.dtype).encode(), str(list(records.shape)).encode())
    target_kind = _fields(str(records.targets.dtype).encode())
    for each, target in zip(features, targets, strict=True):
        yield kind + _fields(each.tobytes()) + target_kind + _fields(target.tobytes())


def _table(raw: RawTable) -> Iterator[bytes]:
    columns = [_column(name, column) for name, column in raw.columns.items()]
    for cells in zip(*columns, _column(raw.target_name, raw.target), strict=True):
        yield _fields(b"table") + b"".join(cells)


def _column(name: str, column: Texts | Numbers) -> list[bytes]:
    """Name, kind and value of each cell, as fields."""
    if isinstance(column, Texts):
        cells = [_fields(name.encode(), b"text", text.encode()) for text in column.values]
        return [cells[code] for code in column.codes.tolist()]
    lead = _fields(name.encode(), b"float64") + (8).to_bytes(8, "big")
    plain = _little_endian(column).tobytes()
    return [lead + plain[start : start + 8] for start in range(0, len(plain), 8)]


def _little_endian(tensor: Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    array = tensor.detach().cpu().contiguous().numpy()
    return array.astype(array.dtype.newbyteorder("<"), copy=False)
