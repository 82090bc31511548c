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
from expunge.records.preparation import Preparation, checked
from expunge.records.raw import Numbers, RawTable, Texts, length
from expunge.records.records import Records
from expunge_verify import Refused, loads

FORMAT: Final = "expunge-records-1"

Tensors = dict[str, Tensor]


def to_bytes(records: Records) -> bytes:
    """The file: features and targets, ids, owners and split as UTF-8, raw columns, the rest as strict JSON.

    The same records give the same bytes. What a deletion took away is not in them, once `refit` has cleaned the
    preparation of texts that only deleted records held.
    """
    tensors: Tensors = {"features": records.features.contiguous(), "targets": records.targets.contiguous()}
    for name, texts in (("ids", records.ids), ("owners", records.owners), ("split", records.split)):
        tensors |= _packed(name, texts)
    header: dict[str, Any] = {"format": FORMAT, "classes": records.classes, "preparation": records.preparation}
    if records.raw is not None:
        tensors |= _packed_table(records.raw)
        header["raw"] = {
            "columns": list(records.raw.columns),
            "target": records.raw.target_name,
            "left_out": list(records.raw.left_out),
        }
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
    raw = _table(header["raw"], tensors) if "raw" in header else None
    preparation = header["preparation"]
    return Records(
        tensors["features"],
        tensors["targets"],
        _unpacked(tensors, "ids"),
        _unpacked(tensors, "owners"),
        _unpacked(tensors, "split"),
        int(header["classes"]),
        preparation if raw is None else checked(preparation),
        raw,
    )


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
    starts = [0, *ends[:-1]]
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
    if len({length(column) for column in found} | {len(tensors["features"])}) > 1 or len(set(names)) < len(names):
        raise ValueError("raw columns differ in length or share a name")
    return RawTable(dict(zip(names, found[:-1], strict=True)), header["target"], found[-1], tuple(header["left_out"]))


def _column(tensors: Tensors, place: int) -> Texts | Numbers:
    if f"raw/{place}/numbers" in tensors:
        return tensors[f"raw/{place}/numbers"]
    codes, values = tensors[f"raw/{place}/codes"], _unpacked(tensors, f"raw/{place}")
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < len(values):
        raise ValueError("codes out of range")
    return Texts(codes, values)
