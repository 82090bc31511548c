"""Our judgement of a header against the library's, on files that are sound, crafted and mutated."""

import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from expunge.errors import AttackSuspected, ExpungeError, OperatorError
from expunge.ledger.safetensors_check import MAX_HEADER, check, check_file

TENSORS = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.zeros(0), "count": np.array(7)}
SOUND = save(TENSORS, {"format": "pt"})


def built(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(begin: int, end: int, shape: object = None, dtype: str = "U8", **more: object) -> dict:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end], **more}


def code_of(data: bytes) -> str:
    with pytest.raises(ExpungeError) as caught:
        check(data)
    return caught.value.code


def test_sound_files_are_read_as_the_library_reads_them():
    header = check(SOUND)
    assert header.metadata == {"format": "pt"}
    assert {name: each.shape for name, each in header.tensors.items()} == {n: a.shape for n, a in TENSORS.items()}
    length = int.from_bytes(SOUND[:8], "little")
    for name, found in deserialize(SOUND):
        ours = header.tensors[name]
        assert SOUND[8 + length + ours.begin : 8 + length + ours.end] == bytes(found["data"])


def test_an_empty_model_and_a_header_that_looks_like_a_pickle():
    assert check(built({})).tensors == {}
    padded = json.dumps({}).encode().ljust(640)
    assert built(padded).startswith(b"\x80\x02")
    assert check(built(padded)).tensors == {}


CRAFTED = {
    "overlap": built({"a": entry(0, 4), "b": entry(2, 6)}, bytes(6)),
    "same range": built({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4)),
    "hole": built({"a": entry(0, 2), "b": entry(4, 6)}, bytes(6)),
    "hole at the start": built({"a": entry(2, 4)}, bytes(4)),
    "trailing bytes": built({"a": entry(0, 4)}, bytes(9)),
    "missing bytes": built({"a": entry(0, 4)}, bytes(3)),
    "negative": built({"a": entry(-4, 0, [4])}),
    "backwards": built({"a": entry(4, 0, [4])}, bytes(4)),
    "length beyond the file": built({}, length=10_000),
    "huge length": built({}, length=2**64 - 1),
    "header over the cap": built({}, length=MAX_HEADER + 1),
    "shape too long for the range": built({"a": entry(0, 4, [5])}, bytes(4)),
    "shape that overflows": built({"a": entry(0, 0, [2**40, 2**40])}),
    "shape of bools": built({"a": entry(0, 1, [True])}, bytes(1)),
    "shape of floats": built({"a": entry(0, 1, [1.0])}, bytes(1)),
    "many dimensions": built({"a": entry(0, 1, [1] * 100)}, bytes(1)),
    "unknown dtype": built({"a": entry(0, 4, dtype="OBJECT")}, bytes(4)),
    "dtype that is a list": built({"a": {"dtype": [], "shape": [], "data_offsets": [0, 0]}}),
    "more fields": built({"a": entry(0, 4, extra=1)}, bytes(4)),
    "three offsets": built({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4, 4]}}, bytes(4)),
    "twice the same name": built(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},' * 1 + b'"a":1}'),
    "metadata of numbers": built({"__metadata__": {"a": 1}}),
    "deep": built(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "NaN": built(b'{"a":NaN}'),
    "not UTF-8": built(b'{"\xff":1}'),
    "two values": built(b"{}{}"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_files_are_refused(name: str):
    assert code_of(CRAFTED[name]) == "malformed-model"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_are_never_opened(protocol: int):
    assert code_of(pickle.dumps({"weight": [1.0]}, protocol)) == "not-a-model"
    assert code_of(pickle.dumps(test_pickles_are_never_opened, protocol)) == "not-a-model"


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" + bytes(50), b"\x89HDF\r\n\x1a\n", b"GIF89a", bytes(64), b"{}"])
def test_other_files_are_no_models(data: bytes):
    assert code_of(data) == "not-a-model"


def test_refusing_takes_little_memory(tmp_path: Path):
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(built({}, length=2**33))
        file.truncate(2**34)  # sparse: 16 GiB that are not there
    tracemalloc.start()
    with pytest.raises(AttackSuspected):
        check_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 << 20


def test_files(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(SOUND)
    assert check_file(tmp_path / "model.safetensors") == check(SOUND)
    with pytest.raises(OperatorError) as caught:
        check_file(tmp_path / "none")
    assert caught.value.code == "no-such-file"


@given(
    place=st.integers(0, len(SOUND) - 1), value=st.integers(0, 255), cut=st.integers(0, len(SOUND)), flip=st.booleans()
)
@settings(max_examples=400)
def test_whatever_we_take_the_library_takes_too(place: int, value: int, cut: int, flip: bool):
    data = SOUND[:place] + bytes([value]) + SOUND[place + 1 :] if flip else SOUND[:cut]
    try:
        header = check(data)
    except AttackSuspected:
        return
    try:
        found = dict(deserialize(data))
    except SafetensorError as error:
        raise AssertionError("the library refuses what we took") from error
    assert {name: tuple(each["shape"]) for name, each in found.items()} == {
        name: each.shape for name, each in header.tensors.items()
    }
