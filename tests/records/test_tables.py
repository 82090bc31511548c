"""Tables: what is read is what a naive reading gives, and what was done to the columns can be done again."""

import csv
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.errors import OperatorError
from expunge.records import TEST, TRAIN, Columns, Records, feature_names, load, prepare, restore_targets, table

ROWS = [
    # patient, visit, age, city, dose, part, ill
    ("ann", "v1", "31", "Rome", "0.5", "train", "no"),
    ("ann", "v2", "32", "Rome", "1.5", "train", "yes"),
    ("bob", "v3", "58", "Oslo", "2.5", "train", "yes"),
    ("cyd", "v4", "44", "Bari", "-1e1", "test", "no"),
    ("dee", "v5", "70", "Oslo", " 4 ", "train", "maybe"),
]
HEADER = ("patient", "visit", "age", "city", "dose", "part", "ill")
USES = Columns("ill", owner="patient", record="visit", split="part")


def write(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = HEADER) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "clinic.csv", ROWS)


@pytest.fixture
def clinic(file: Path) -> Records:
    return load(file, target="ill", owner="patient", record="visit", split="part")


def test_roles_become_fields(clinic: Records):
    assert clinic.ids == ("v1", "v2", "v3", "v4", "v5")
    assert clinic.owners == ("ann", "ann", "bob", "cyd", "dee")
    assert clinic.split == (TRAIN, TRAIN, TRAIN, TEST, TRAIN)
    assert clinic.classes == 3
    assert clinic.preparation["target"] == {"name": "ill", "kind": "class", "values": ["maybe", "no", "yes"]}
    assert clinic.targets.tolist() == [1, 2, 2, 1, 0]


def test_features_are_what_a_naive_reading_gives(clinic: Records):
    """Statistics and texts of the training rows alone; the mean to half a scale, the deviation to a power of two."""
    columns = [[float(row[2]) for row in ROWS], [row[3] for row in ROWS], [float(row[4]) for row in ROWS]]
    expected = []
    for row in range(len(ROWS)):
        cells: list[float] = []
        for column in columns:
            training = [column[r] for r in range(len(ROWS)) if ROWS[r][5] == "train"]
            if isinstance(column[row], str):
                cells += [float(column[row] == value) for value in sorted(set(training))]
                continue
            mean = math.fsum(training) / len(training)
            deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in training) / len(training))
            scale = 2.0 ** round(math.log2(deviation))
            cells.append((column[row] - round(mean / (scale / 2)) * scale / 2) / scale)
        expected.append(cells)
    assert feature_names(clinic.preparation) == ["age", "city=Oslo", "city=Rome", "dose"]
    assert clinic.features.tolist() == torch.tensor(expected).tolist()
    assert clinic.features[3, 1:3].tolist() == [0, 0], "Bari is in no training row"


def test_parquet_with_types_gives_what_csv_gives(clinic: Records, tmp_path: Path):
    typed = pa.table(
        {
            "patient": pa.array([row[0] for row in ROWS]).dictionary_encode(),
            "visit": [row[1] for row in ROWS],
            "age": pa.array([int(row[2]) for row in ROWS], pa.int16()),
            "city": pa.array([row[3] for row in ROWS]).dictionary_encode(),
            "dose": [float(row[4]) for row in ROWS],
            "part": pa.array([row[5] for row in ROWS], pa.large_string()),
            "ill": [row[6] for row in ROWS],
        }
    )
    pyarrow.parquet.write_table(typed, tmp_path / "clinic.parquet", row_group_size=2)
    other = load(tmp_path / "clinic.parquet", target="ill", owner="patient", record="visit", split="part")
    for records in (other, table(typed, USES)):
        assert records.features.equal(clinic.features)
        assert records.targets.equal(clinic.targets)
        assert (records.ids, records.owners, records.split) == (clinic.ids, clinic.owners, clinic.split)
        assert records.preparation == clinic.preparation


def test_without_columns_for_them_ids_are_rows_and_everyone_is_their_own_owner(file: Path):
    records = load(file, target="ill", ignore=["patient", "visit", "part"])
    assert records.ids == ("row-0000001", "row-0000002", "row-0000003", "row-0000004", "row-0000005")
    assert records.owners == records.ids
    assert records.preparation["left_out"] == ["patient", "visit", "part", "ill"]


@pytest.mark.parametrize(("cells", "classes"), [(["10", "9", "10"], ["9", "10"]), (["1.0", "01", "0"], ["0", "1"])])
def test_whole_numbers_are_classes_in_their_own_order(cells: list[str], classes: list[str]):
    records = table({"x": ["1", "2", "4"], "y": cells}, Columns("y"), test_share=0)
    assert records.preparation["target"]["values"] == classes
    assert [classes[code] for code in records.targets.tolist()] == [str(int(float(cell))) for cell in cells]


def test_booleans_are_features_and_classes():
    records = table({"x": [True, False, True], "y": [False, True, True]}, Columns("y"), test_share=0)
    assert records.preparation["target"]["values"] == ["false", "true"]
    assert records.features[:, 0].unique().numel() == 2


def test_numbers_that_name_things_can_be_declared_categories():
    cells = {"zip": ["10115", "20095", "10115"], "y": ["a", "b", "a"]}
    assert feature_names(table(cells, Columns("y"), test_share=0).preparation) == ["zip"]
    declared = table(cells, Columns("y", categories=("zip",)), test_share=0)
    assert feature_names(declared.preparation) == ["zip=10115", "zip=20095"]
    assert declared.features.tolist() == [[1, 0], [0, 1], [1, 0]]


def test_regression_targets_are_standardised_and_can_be_restored():
    values = [120.5, 80.25, 300.0, 95.0]
    records = table({"x": [1, 2, 3, 4], "y": values}, Columns("y", regression=True), test_share=0)
    assert records.classes == 0
    assert records.targets.dtype == torch.float32
    assert records.targets.abs().max() < 4
    assert restore_targets(records.targets, records.preparation).tolist() == values


def test_preparation_replays_on_new_data(clinic: Records, file: Path, tmp_path: Path):
    assert prepare(file, clinic.preparation).equal(clinic.features)
    fresh = write(tmp_path / "new.csv", [("31", "Lima", "0.5")], ("age", "city", "dose"))
    assert prepare(fresh, clinic.preparation).tolist() == [
        [clinic.features[0, 0].item(), 0, 0, clinic.features[0, 3].item()]
    ]
    assert prepare({"dose": [0.5], "age": [31], "city": ["Rome"]}, clinic.preparation).equal(clinic.features[:1])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"age": [1], "city": ["Rome"]}, "needs column 'dose'"),
        ({"age": [1], "city": ["Rome"], "dose": [2], "shoe": [44]}, "'shoe' is not in the preparation"),
        ({"age": ["old"], "city": ["Rome"], "dose": [2]}, "row 1 of column 'age' holds"),
        ({"age": [1], "city": ["Rome"], "dose": [float("nan")]}, "row 1 of column 'dose' has no value"),
        ({"age": [1, 2], "city": ["Rome"], "dose": [2]}, "make no table"),
        ({"age": [], "city": [], "dose": []}, "no rows"),
    ],
)
def test_new_data_that_do_not_fit_are_refused(clinic: Records, data: dict[str, list[object]], words: str):
    with pytest.raises(OperatorError, match=words):
        prepare(data, clinic.preparation)


def test_a_declared_preparation_is_kept(clinic: Records, file: Path):
    steps = {step["name"]: step for step in clinic.preparation["columns"]}
    columns = [
        {"name": "age", "kind": "number", "centre": 50, "scale": 25},
        {"name": "city", "kind": "category", "values": ["Rome", "Oslo", "Bari", "Lima"]},
        steps["dose"],
    ]
    declared = {"kind": "table", "columns": columns, "target": clinic.preparation["target"]}
    records = table(file, USES, preparation=declared)
    assert records.features[:, 0].tolist() == pytest.approx([(int(row[2]) - 50) / 25 for row in ROWS])
    assert records.shape == (6,)
    assert records.without(["v3", "v5"]).refit().preparation == records.preparation
    assert prepare(file, records.preparation).equal(records.features)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": []}, "malformed"),
        ({"columns": [{"name": "age", "kind": "number", "centre": 0, "scale": 0}]}, "malformed"),
        ({"columns": [{"name": "age", "kind": "number", "centre": float("nan"), "scale": 1}]}, "malformed"),
        ({"columns": [{"name": "age", "kind": "number", "centre": 0, "scale": 1}]}, "is for columns 'age'; there are"),
        ({"target": {"name": "ill", "kind": "class", "values": ["no", "yes"]}}, "row 5 of column 'ill' is not listed"),
        ({"target": {"name": "well", "kind": "class", "values": ["no", "yes"]}}, "is for target 'well'"),
        ({"target": {"name": "ill", "kind": "number", "centre": 0, "scale": 1}}, "of another kind"),
        ({"left_out": "visit"}, "malformed"),
        ({"kind": "array"}, "no preparation of a table"),
    ],
)
def test_a_declared_preparation_that_does_not_fit_is_refused(
    clinic: Records, file: Path, change: dict[str, object], words: str
):
    with pytest.raises(OperatorError, match=words):
        table(file, USES, preparation={**clinic.preparation, **change})


def test_the_preparation_that_the_docs_show_can_be_declared_and_replayed():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    shown = json.loads(page.split("```json")[1].split("```")[0])
    cells = {"age": [40, 64, 48], "city": ["Oslo", "Rome", "Rome"], "ill": ["no", "yes", "no"]}
    records = table(cells, Columns("ill"), preparation=shown, test_share=0)
    assert records.features.tolist() == [[-0.5, 1, 0], [1, 0, 1], [0, 0, 1]]
    assert prepare({**cells, "patient": ["a", "b", "c"]}, shown).equal(records.features)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e300, 1e300, allow_nan=False), min_size=2, max_size=40))
def test_any_column_of_numbers_becomes_finite_and_standard(values: list[float]):
    if min(values) == max(values):
        return
    target = ["a", "b"] * (len(values) // 2) + ["a"] * (len(values) % 2)
    records = table({"x": values, "y": target}, Columns("y"), test_share=0)
    step, column = records.preparation["columns"][0], records.features[:, 0].double()
    assert math.log2(step["scale"]).is_integer()
    assert column.isfinite().all()
    spread = max(values) - min(values)
    if spread > max(1e-250, 1e-9 * max(map(abs, values))):  # else float64 has no digits left for the statistics
        assert 0.70 < column.std(correction=0) < 1.42
        assert column.mean().abs() < 0.26


@pytest.mark.data
def test_real_tables_load(data_folder: Path):
    file = data_folder / "glucose.csv"
    if not file.exists():
        pytest.skip("there is no glucose.csv")
    records = load(file, target="BG", owner="patient", regression=True)
    with file.open() as lines:
        first = next(csv.DictReader(lines))
    assert len(set(records.owners)) == 30
    assert restore_targets(records.targets, records.preparation)[0].item() == pytest.approx(float(first["BG"]))


def test_features_of_what_is_no_table_have_no_names():
    with pytest.raises(OperatorError) as refused:
        feature_names({"kind": "array"})
    assert refused.value.code == "bad-data"
