"""Tables that cannot be used: one line that names column and row, never a cell, and no traceback."""

import contextlib
import gzip
import io
import pickle
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.errors import AttackSuspected, ExpungeError, OperatorError
from expunge.records import Columns, arrow, load, table

CANARY = "canary-7f3a"

GOOD = "who,age,city,ill\n" + "".join(f"p{row},{row},{'Rome' if row % 2 else 'Oslo'},{row % 3}\n" for row in range(40))


def edited(row: int, old: str, new: str) -> str:
    """The good table with one cell of data row `row` (from 1) replaced."""
    lines = GOOD.splitlines()
    lines[row] = lines[row].replace(old, new)
    return "\n".join(lines) + "\n"


BAD = {
    "empty cell": (edited(17, ",16,", ",,"), "row 17 of column 'age' has no value"),
    "NaN": (edited(17, ",16,", ",NaN,"), "row 17 of column 'age' has no value"),
    "NA": (edited(17, ",16,", ",n/a,"), "row 17 of column 'age' has no value"),
    "infinity": (edited(17, ",16,", ",1e999,"), "row 17 of column 'age' is not finite"),
    "text among numbers": (edited(17, ",16,", f",{CANARY},"), "row 17 of column 'age' holds text where numbers belong"),
    "number among texts": (edited(5, "Oslo", "12"), "row 5 of column 'city' holds a number where texts belong"),
    "missing text": (edited(5, "Oslo", ""), "row 5 of column 'city' has no value"),
    "missing owner": (edited(5, "p4", ""), "row 5 of column 'who' has no value"),
    "missing target": (edited(5, "Oslo,1", "Oslo,"), "row 5 of column 'ill' has no value"),
    "a cell too many": (edited(9, "p8", f"{CANARY},p8"), "row 9 holds 5 cells where the header has 4"),
    "a cell too few": (edited(9, "p8,8", "p8"), "row 9 holds 3 cells where the header has 4"),
    "fractions as classes": (edited(8, "Rome,1", "Rome,1.5"), "row 8 of the target column 'ill' is no whole number"),
    "single class": ("\n".join(line[:-1] + "1" if "p" in line else line for line in GOOD.splitlines()), "one class"),
    "constant column": (GOOD.replace("Rome", "Oslo"), "column 'city' holds the same value in every row"),
    "two columns of one name": (GOOD.replace("city", "age", 1), "column 'age' is named twice"),
    "column without a name": (GOOD.replace("age", "", 1), "column 2 has no name"),
    "no rows": ("who,age,city,ill\n", "no rows"),
    "empty": ("", "the file is empty"),
    "semicolons": (GOOD.replace(",", ";"), "one column only"),
    "open quote": (GOOD.replace("p30", '"p30'), "holds|well-formed"),
    "prose": (GOOD.replace("Rome", "R" * 1001), "longer than 1000"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named(name: str, tmp_path: Path):
    content, words = BAD[name]
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(OperatorError, match=words) as caught:
        load(tmp_path / "t.csv", target="ill", owner="who")
    assert caught.value.code == "bad-data"
    assert CANARY not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uses", "words"),
    [
        (Columns("sick"), "no target column 'sick'; there are 'who', 'age', 'city', 'ill'"),
        (Columns("ill", owner="owner"), "no owner column 'owner'"),
        (Columns("ill", record="id"), "no record column 'id'"),
        (Columns("ill", split="part"), "no split column 'part'"),
        (Columns("ill", ignore=("x" * 500,)), "no ignored column 'x{39}…'"),
        (Columns("ill", categories=("x",)), "no category column 'x'"),
        (Columns("ill", owner="ill"), "'ill' is named twice"),
        (Columns("ill", split="city"), "row 1 of column 'city' is neither train nor test"),
        (Columns("ill", record="city"), "row 3 of column 'city' repeats the id"),
        (Columns("ill", owner="who", ignore=("age", "city")), "no column is left"),
        (Columns("age", regression=True, owner="who", categories=("age",), ignore=("city",)), None),
        (Columns("city", regression=True), "row 1 of column 'city' holds text where numbers"),
    ],
)
def test_wrong_columns_are_named(uses: Columns, words: str | None, tmp_path: Path):
    (tmp_path / "t.csv").write_text(GOOD)
    if words is None:
        assert len(table(tmp_path / "t.csv", uses)) == 40
        return
    with pytest.raises(OperatorError, match=words) as caught:
        table(tmp_path / "t.csv", uses)
    assert caught.value.code == "bad-data"


def test_repeated_ids_are_found_by_row_and_not_quoted():
    with pytest.raises(OperatorError, match="row 3 of column 'id' repeats") as caught:
        table({"id": ["a", CANARY, CANARY], "x": [1, 2, 3], "y": [0, 1, 0]}, Columns("y", record="id"))
    assert CANARY not in str(caught.value)


def test_too_many_texts_are_no_categories():
    cells = {"name": [f"n{row}" for row in range(1001)], "y": [row % 2 for row in range(1001)]}
    with pytest.raises(OperatorError, match="1001 different texts"):
        table(cells, Columns("y"))


def test_encodings_are_refused_by_line(tmp_path: Path):
    raw = GOOD.encode()
    for name, content, line in [
        ("latin.csv", raw.replace(b"p6,", b"p\xfc6,"), 8),
        ("utf16.csv", GOOD.encode("utf-16"), 1),
        ("cut.csv", raw + b"\xc3", 42),
        ("split.csv", b"who,age,city,ill\n" + b"x" * (2**20 - 18) + b"\xc3\x28\n", 2),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(OperatorError, match=f"line {line} of the file is not UTF-8"):
            load(tmp_path / name, target="ill")


def test_a_byte_order_mark_and_crlf_are_no_trouble(tmp_path: Path):
    (tmp_path / "plain.csv").write_text(GOOD)
    (tmp_path / "excel.csv").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    plain, excel = (load(tmp_path / name, target="ill", owner="who") for name in ("plain.csv", "excel.csv"))
    assert plain.features.equal(excel.features)
    assert plain.preparation == excel.preparation


def test_a_million_columns_are_refused_within_little_memory(tmp_path: Path):
    with (tmp_path / "wide.csv").open("w") as file:
        for row in range(3):
            file.write(",".join(f"c{column}" if row == 0 else "1" for column in range(1_000_000)) + "\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(OperatorError, match="more than 10,000 columns"):
        load(tmp_path / "wide.csv", target="c0")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_million_columns_in_parquet_are_refused(tmp_path: Path):
    wide = pa.table({f"c{column}": [1, 2] for column in range(10_001)})
    pyarrow.parquet.write_table(wide, tmp_path / "wide.parquet")
    with pytest.raises(OperatorError, match="more than 10,000 columns"):
        load(tmp_path / "wide.parquet", target="c0")


def test_a_parquet_file_of_little_size_and_many_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arrow, "MAX_CELLS", 10**6)  # writing as many as the true limit takes half a minute
    columns = {f"c{column}": pa.array([1.0]).take(pa.array([0] * 300_000)) for column in range(4)}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "long.parquet")
    assert (tmp_path / "long.parquet").stat().st_size < 50_000
    with pytest.raises(OperatorError, match="300,000 rows: too many cells"):
        load(tmp_path / "long.parquet", target="c0")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([1.0, None, 3.0]), "row 2 of column 'x' has no value"),
        (pa.array([1.0, float("nan"), 3.0]), "row 2 of column 'x' has no value"),
        (pa.array([1.0, float("-inf"), 3.0]), "row 2 of column 'x' is not finite"),
        (pa.array([[1], [2], [3]]), "neither numbers nor texts"),
        (pa.array([1, 2, 3], pa.timestamp("s")), "neither numbers nor texts"),
        (pa.array([b"\xff", b"b", b"c"]), "neither numbers nor texts"),
        (pa.array(["a", None, "b"]).dictionary_encode(), "row 2 of column 'x' has no value"),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["a", None, "b"])), "row 2 of column 'x' has no"),
        (pa.array([1, 2, 3]).dictionary_encode(), "neither numbers nor texts"),
        (pa.nulls(3), "neither numbers nor texts"),
    ],
)
def test_parquet_columns_that_do_not_fit_are_named(column: pa.Array, words: str, tmp_path: Path):
    data = pa.table({"x": column, "y": [0, 1, 0]})
    with pytest.raises(OperatorError, match=words):
        table(data, Columns("y"))
    if not (pa.types.is_null(column.type) or isinstance(column, pa.DictionaryArray)):
        pyarrow.parquet.write_table(data, tmp_path / "t.parquet")
        with pytest.raises(OperatorError, match="column 'x'"):
            load(tmp_path / "t.parquet", target="y")


def test_texts_that_are_no_utf8_are_refused(tmp_path: Path):
    broken = pa.array([b"a\xff", b"b", b"c"]).view(pa.string()) if hasattr(pa.Array, "view") else None
    assert broken is not None
    pyarrow.parquet.write_table(pa.table({"x": broken, "y": [0, 1, 0]}), tmp_path / "t.parquet")
    with pytest.raises(OperatorError, match="Parquet file"):
        load(tmp_path / "t.parquet", target="y")


def test_owner_columns_of_fractions_are_refused():
    with pytest.raises(OperatorError, match="column 'who' holds numbers with fractions"):
        table({"who": [1.0, 2.0, 3.0], "x": [1, 2, 3], "y": [0, 1, 0]}, Columns("y", owner="who"))


class Evil:
    """Executes on unpickling."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


def npz_of_objects() -> bytes:
    import numpy as np

    file = io.BytesIO()
    np.savez(file, features=np.array([Evil()], dtype=object), targets=np.array([0]))
    return file.getvalue()


def torch_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.pkl", pickle.dumps(Evil())),
        ("data.csv", pickle.dumps(Evil(), protocol=4)),
        ("data.npz", pickle.dumps(Evil(), protocol=2)),
        ("old.pickle", pickle.dumps([1], protocol=0)),
        ("model.pt", b"anything"),
        ("objects.npz", npz_of_objects()),
        ("model.npz", torch_zip()),
    ],
)
def test_pickles_are_refused_unopened(name: str, content: bytes, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExpungeError) as caught:
        load(tmp_path / name)
    assert (caught.value.code, caught.value.family) == ("pickle-refused", "attacker-suspected")


@pytest.mark.parametrize(
    ("source", "options", "code"),
    [
        ("nowhere.csv", {"target": "y"}, "no-such-file"),
        ("nul\0.csv", {"target": "y"}, "no-such-file"),
        ("t.csv", {}, "bad-arguments"),
        ("t.csv", {"target": "ill", "classes": 3}, "bad-arguments"),
        ("t.csv", {"target": "ill", "test_share": 1.0}, "bad-arguments"),
        ("digits", {"target": "y"}, "bad-arguments"),
        ("digits", {"owner": "who"}, "bad-arguments"),
        ("/dev/zero", {"target": "y"}, "bad-data"),
        ("t.html", {}, "bad-data"),
        (".", {}, "bad-data"),
        ("t.json", {"target": "y"}, "bad-data"),
        ("gz.csv", {"target": "y"}, "bad-arguments"),
    ],
)
def test_the_front_door_refuses(
    source: str, options: dict[str, object], code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(GOOD)
    Path("t.html").write_text("<html>")
    Path("t.json").write_text("[]")
    Path("gz.csv").write_bytes(gzip.compress(GOOD.encode()))
    with pytest.raises(OperatorError) as caught:
        load(source, **options)
    assert caught.value.code == code


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_mutated_files_load_or_are_refused(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("mutated")
    raw = bytearray(GOOD.encode())
    if data.draw(st.booleans()):
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pa.table({"who": ["a", "b", "c"], "x": [1, 2, 3], "ill": [0, 1, 0]}), sink)
        raw = bytearray(sink.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (folder / "t.csv").write_bytes(raw)
    with contextlib.suppress(OperatorError, AttackSuspected):  # anything else fails the test
        assert load(folder / "t.csv", target="ill", owner="who").features.isfinite().all()
