"""Records as a file of our own: the same bytes every time, nothing lost, nothing executed, nothing taken on trust."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from expunge.errors import OperatorError, ProgrammerError
from expunge.records import TEST, TRAIN, Columns, Records, from_bytes, load, table, to_bytes

CELLS = {
    "x": [1.5, 2, -3, 9],
    "city": ["Rome", "Ōsaka", "Rome", "a,\n\0b"],
    "who": ["p", "q", "p", "é"],
    "y": list("abab"),
}


@pytest.fixture
def rows() -> Records:
    return table(CELLS, Columns("y", owner="who"), test_share=0)


def assert_equal(left: Records, right: Records) -> None:
    for name in ("ids", "owners", "split", "classes", "preparation"):
        assert getattr(left, name) == getattr(right, name), name
    assert left.features.equal(right.features)
    assert left.features.dtype == right.features.dtype
    assert left.targets.equal(right.targets)
    assert (left.raw is None) == (right.raw is None)
    if left.raw is not None and right.raw is not None:
        assert left.raw.numbers.equal(right.raw.numbers)
        assert {n: c.listed() for n, c in left.raw.texts.items()} == {n: c.listed() for n, c in right.raw.texts.items()}
        assert (left.raw.target_name, left.raw.left_out) == (right.raw.target_name, right.raw.left_out)


def test_round_trip(rows: Records, few: Records, tmp_path: Path):
    for records in (rows, few, rows.select([2, 0]), rows.select([])):
        raw = to_bytes(records)
        assert_equal(from_bytes(raw), records)
        assert to_bytes(from_bytes(raw)) == raw
    (tmp_path / "few.safetensors").write_bytes(to_bytes(few))
    assert_equal(load(tmp_path / "few.safetensors"), few)


def test_a_restored_table_refits_as_the_first_one_would(rows: Records):
    restored = from_bytes(to_bytes(rows)).without(["row-0000004"]).refit()
    assert to_bytes(restored) == to_bytes(rows.without(["row-0000004"]).refit())


def test_features_changed_by_hand_are_not_lost_in_silence(rows: Records):
    poisoned = replace(rows, features=rows.features + 1)
    for use in (to_bytes, lambda records: records.without(["row-0000002", "row-0000004"]).refit()):
        with pytest.raises(ProgrammerError, match="changed by hand"):
            use(poisoned)
    kept = replace(poisoned, raw=None)
    assert from_bytes(to_bytes(kept)).features.equal(kept.features)
    assert kept.without(["row-0000004"]).refit().features.equal(kept.features[:3])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=8, unique=True))
def test_any_text_survives(ids: list[str]):
    count = len(ids)
    records = Records(
        torch.zeros(count, 1), torch.zeros(count).long(), tuple(ids), tuple(ids[::-1]), (TRAIN,) * count, 1
    )
    restored = from_bytes(to_bytes(records))
    assert (restored.ids, restored.owners) == (records.ids, records.owners)


def test_the_limit_holds(rows: Records):
    raw = to_bytes(rows)
    assert len(from_bytes(raw, limit=len(raw))) == 4
    with pytest.raises(OperatorError, match="larger than"):
        from_bytes(raw, limit=len(raw) - 1)


def changed(raw: bytes, **tensors: torch.Tensor | None) -> bytes:
    found = {**load_tensors(raw), **{name.replace("__", "/"): tensor for name, tensor in tensors.items()}}
    return save_tensors({name: tensor for name, tensor in found.items() if tensor is not None})


def header(file: bytes, /, **fields: object) -> torch.Tensor:
    now = json.loads(load_tensors(file)["header"].numpy().tobytes())
    return torch.tensor(list(json.dumps({**now, **fields}).encode()), dtype=torch.uint8)


def test_files_that_do_not_hold_together_are_refused(rows: Records):
    raw, image = to_bytes(rows), to_bytes(replace(rows, raw=None))
    numbers = torch.tensor([3, 1, 2, 9])
    cases = [
        b"",
        b"\0" * 8,
        b"\xff" * 400,
        raw[:-1],
        raw[:100],
        raw + b"x",
        changed(raw, header=None),
        changed(raw, header=torch.tensor(list(b'{"format": "x", "format": "y"}'), dtype=torch.uint8)),
        changed(raw, header=torch.tensor(list(b"[NaN]"), dtype=torch.uint8)),
        changed(raw, header=header(raw, format="expunge-records-2")),
        changed(raw, header=header(raw, classes="many")),
        changed(raw, header=header(raw, classes=1)),
        changed(raw, header=header(raw, preparation={"kind": "table"})),
        changed(raw, header=header(raw, raw={"columns": ["x"], "target": "y", "left_out": []})),
        changed(raw, header=header(raw, raw={"columns": ["x", "x"], "target": "y", "left_out": []})),
        changed(raw, ids__ends=None),
        changed(raw, ids__ends=numbers),
        changed(raw, ids__ends=-numbers),
        changed(raw, ids__ends=numbers.float()),
        changed(raw, owners__bytes=torch.tensor([255, 255, 255, 255], dtype=torch.uint8)),
        changed(raw, raw__2__codes=torch.tensor([0, 1, 0, 7])),
        changed(image, targets=torch.tensor([0, 1, 0, 7])),
        changed(image, targets=torch.tensor([0.5, 1, 0, 7])),
        changed(image, features=torch.full((4, 4), float("nan"))),
        changed(image, features=torch.zeros(3, 4)),
        changed(raw, raw__0__numbers=torch.zeros(3).double()),
        changed(raw, raw__0__numbers=torch.full((4,), float("nan")).double()),
        changed(raw, raw__1__codes=torch.tensor([0, 1, 2, 3])),
        changed(raw, raw__1__codes=torch.tensor([0, 1, 2, -1])),
        changed(raw, raw__1__codes=torch.tensor([0.0, 1, 2, 1])),
    ]
    for case in cases:
        with pytest.raises(OperatorError, match="file of records") as caught:
            from_bytes(case)
        assert caught.value.code == "bad-data"
        assert "\n" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_flipped_bytes_load_or_are_refused(place: int, value: int):
    raw = bytearray(to_bytes(table(CELLS, Columns("y", owner="who"), test_share=0)))
    raw[place % len(raw)] = value
    try:
        records = from_bytes(bytes(raw))
    except OperatorError:
        return
    assert set(records.split) <= {TRAIN, TEST}
    assert len(records) == 4
    assert len(records.refit()) == 4
