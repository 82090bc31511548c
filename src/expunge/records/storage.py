"""Records as one safetensors file, for the workspace's own store: no pickle, strict JSON, the same bytes every time."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from expunge.errors import ExpungeError
from expunge.records.columns import bad
from expunge.records.files import MAX_BYTES
from expunge.records.preparation import Preparation, apply, checked
from expunge.records.raw import Numbers, RawTable, Texts, length
from expunge.records.records import Records
from expunge_verify import Refused, loads

FORMAT: Final = "expunge-records-1"

Tensors = dict[str, Tensor]


def to_bytes(records: Records) -> bytes:
    """The file: features and targets (of tables, the raw columns instead), ids, owners and split as UTF-8, the rest as
    strict JSON.

    The same records give the same bytes. What a deletion took away is not in them, once `refit` has cleaned the
    preparation of texts that only deleted records held.

    **Raises:** `ProgrammerError("bad-shape")` for a table whose features were changed by hand.
    """
    records.check_raw()
    header: dict[str, Any] = {"format": FORMAT, "classes": records.classes, "preparation": records.preparation}
    if records.raw is None:
        tensors: Tensors = {"features": records.features.contiguous(), "targets": records.targets.contiguous()}
    else:
        tensors = _packed_table(records.raw)
        header["raw"] = {
            "columns": list(records.raw.columns),
            "target": records.raw.target_name,
            "left_out": list(records.raw.left_out),
        }
    for name, texts in (("ids", records.ids), ("owners", records.owners), ("split", records.split)):
        tensors |= _packed(name, texts)
    tensors["header"] = _bytes_tensor(json.dumps(header, sort_keys=True, allow_nan=False).encode())
    return save_tensors(tensors)


def check_recordable(preparation: Preparation) -> None:
    """Refuse a preparation that the strict JSON reader would not take back: found at loading, not at a deletion.

    **Raises:** `OperatorError("bad-data")`.
    """
    try:
        loads(json.dumps(preparation, allow_nan=False).encode())
    except (Refused, ValueError):
        raise bad("the columns hold too many different texts, or texts that are no Unicode") from None


def from_bytes(raw: bytes, limit: int = MAX_BYTES) -> Records:
    """The inverse of `to_bytes`; nothing that the bytes hold is executed.

    **Raises:** `OperatorError("bad-data")` for anything that `to_bytes` did not write, and above `limit` bytes.
    """
    if len(raw) > limit:
        raise bad(f"the file of records is larger than {limit:,} bytes")
    try:
        tensors = load_tensors(raw)
        return _records(_header(tensors), tensors)
    except ExpungeError as error:
        raise bad(f"the file of records does not hold together: {error}") from None
    except (
        Refused,
        SafetensorError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        RuntimeError,
        OverflowError,
        RecursionError,
    ):
        raise bad("this is no file of records") from None


def _records(header: Mapping[str, Any], tensors: Tensors) -> Records:
    ids, owners, split = (_unpacked(tensors, name) for name in ("ids", "owners", "split"))
    classes, preparation = int(header["classes"]), header["preparation"]
    if not isinstance(preparation, dict):
        raise TypeError("a preparation of another type")
    if "raw" not in header:
        return Records(tensors["features"], tensors["targets"], ids, owners, split, classes, preparation)
    raw = _table(header["raw"], tensors)
    features, targets, found = apply(raw, checked(preparation))
    if found != classes or not isinstance(preparation.get("fitted"), bool):
        raise ValueError("another number of classes, or no word on how the preparation was made")
    return Records(features, targets, ids, owners, split, classes, preparation, raw)


def _header(tensors: Tensors) -> dict[str, Any]:
    header = loads(tensors["header"].numpy().tobytes())
    if header["format"] != FORMAT:
        raise ValueError("another format")
    return dict(header)


def _bytes_tensor(raw: bytes) -> Tensor:
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8) if raw else torch.zeros(0, dtype=torch.uint8)


def _packed(name: str, texts: Sequence[str]) -> Tensors:
    """Texts as UTF-8 end to end, and where each ends: unambiguous for any text."""
    encoded = [text.encode() for text in texts]
    ends = torch.tensor([len(text) for text in encoded], dtype=torch.int64).cumsum(0)
    return {f"{name}/bytes": _bytes_tensor(b"".join(encoded)), f"{name}/ends": ends}


def _unpacked(tensors: Tensors, name: str) -> tuple[str, ...]:
    joined, ends = tensors[f"{name}/bytes"].numpy().tobytes(), tensors[f"{name}/ends"].tolist()
    starts = [0, *ends][: len(ends)]
    if any(end < start for start, end in zip(starts, ends, strict=True)) or (ends or [0])[-1] != len(joined):
        raise ValueError("texts out of order")
    return tuple(joined[start:end].decode() for start, end in zip(starts, ends, strict=True))


def _packed_table(raw: RawTable) -> Tensors:
    tensors: Tensors = {}
    for place, column in enumerate((*raw.columns.values(), raw.target)):
        if isinstance(column, Texts):
            tensors |= {f"raw/{place}/codes": column.codes.contiguous(), **_packed(f"raw/{place}", column.values)}
        else:
            tensors[f"raw/{place}/numbers"] = column.contiguous()
    return tensors


def _table(header: Mapping[str, Any], tensors: Tensors) -> RawTable:
    names = header["columns"]
    found = [_column(tensors, place) for place in range(len(names) + 1)]
    if len({length(column) for column in found}) > 1 or len(set(names)) < len(names):
        raise ValueError("raw columns differ in length or share a name")
    return RawTable(dict(zip(names, found[:-1], strict=True)), header["target"], found[-1], tuple(header["left_out"]))


def _column(tensors: Tensors, place: int) -> Texts | Numbers:
    if f"raw/{place}/numbers" in tensors:
        numbers = tensors[f"raw/{place}/numbers"]
        if numbers.dtype != torch.float64 or numbers.ndim != 1 or not torch.isfinite(numbers).all():
            raise ValueError("numbers are not finite, or of another type")
        return numbers
    codes, values = tensors[f"raw/{place}/codes"], _unpacked(tensors, f"raw/{place}")
    if codes.dtype != torch.int64 or codes.ndim != 1:
        raise ValueError("codes are of another type")
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < len(values):
        raise ValueError("codes out of range")
    return Texts(codes, values)
