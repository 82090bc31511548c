"""Error grids, sensor, loop and specifications as checks; features in both forms; a raw table that is judged."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.assurance import Verdict
from expunge.assurance.closed_loop import ClosedLoop, forecast_by, gains, shares
from expunge.assurance.error_grids import LOWER, UPPER, parkes
from expunge.assurance.forecasting import announced
from expunge.assurance.glucose import FEATURES, SEQUENCE, held_out, prepare, read, tabled
from expunge.assurance.sensing import as_records, judge, mard
from expunge.assurance.simulation import Traces
from expunge.assurance.specified import Specification
from expunge.cli.main import main
from expunge.errors import OperatorError
from expunge.records import Records
from expunge.records.columns import Columns
from expunge.records.table import table
from expunge.reports.sufficiency import drawings, sufficiency_page
from expunge.training import SGD, Model, Recipe, SquaredError, train


def naive_zone(reference: float, value: float) -> str:
    """Zone by cross products with each piece of each border."""

    def over(corners: Any, upper: bool) -> bool:
        *_, last = pieces = list(pairwise(corners))
        for (x, y), (u, v) in pieces:
            if x <= reference and (reference < u or ((x, y), (u, v)) == last) and u > x:
                side = (u - x) * (value - y) - (v - y) * (reference - x)
                return side > 0 if upper else side < 0
        return False

    for name in "EDCB":
        if over(UPPER[name], True) or (name in LOWER and over(LOWER[name], False)):
            return name
    return "A"


def test_parkes_grid_is_what_its_corners_say() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(1, 560, (2, 1500))
    counted = dict.fromkeys("ABCDE", 0)
    for reference, value in points.T:
        counted[naive_zone(reference, value)] += 1
    assert parkes(*points) == {name: pytest.approx(counted[name] / 1500) for name in "ABCDE"}
    assert all(counted.values())
    published = [
        (100, 100, "A"),
        (20, 160, "E"),
        (40, 160, "D"),
        (100, 250, "C"),
        (300, 55, "D"),
        (200, 160, "B"),
        (200, 270, "B"),
    ]
    for reference, value, zone in published:
        assert parkes(np.array([reference]), np.array([value]))[zone] == 1


def test_mard_and_alarms_by_hand() -> None:
    assert mard(np.array([100.0, 200.0]), np.array([110.0, 180.0])) == pytest.approx(0.1)
    comes, said = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert announced(comes, said, 360) == (0.5, 1.0)
    assert announced(~said & said, said, 360)[0] is None


def person(rows: int = 60, level: float = 120.0) -> np.ndarray:
    minute = 3.0 * np.arange(rows)
    cgm = level + np.arange(rows)
    return np.column_stack([minute, cgm, cgm, 3.0 * (np.arange(rows) % 25 == 7), 0.02 + 0.001 * (np.arange(rows) % 9)])


PATIENTS = {f"{group}#00{n}": person(80, 90 + 10 * n) for group in ("adult", "child") for n in (1, 2, 3)}


def test_the_two_forms_of_features_say_the_same() -> None:
    windows, counts = tabled(PATIENTS, frozenset({"adult#001"}))
    steps, same = tabled(PATIENTS, frozenset({"adult#001"}), form="sequence")
    assert counts == same
    assert (len(FEATURES), len(SEQUENCE)) == (12, 62)
    for back in (0, 30):
        assert windows[f"cgm_{back}"] == steps[f"cgm_{back}"]
    first = sum(steps[f"insulin_{3 * back}"][0] for back in range(10)) * 3
    assert windows["insulin_30"][0] == pytest.approx(first)
    assert set(windows["hazard"]) == {"none"}


def test_hazards_are_what_comes_by_then() -> None:
    falling = person(60, 0.0)
    falling[:, 1] = falling[:, 2] = np.linspace(120, 61, 60)
    hazards = tabled({"adult#001": falling}, frozenset(), every=1)[0]["hazard"]
    reach = [bool((falling[now + 1 : now + 11, 2] < 70).any()) for now in range(20, 50)]
    assert hazards == ["low" if each else "none" for each in reach]
    assert {True, False} == set(reach)


def test_a_raw_table_is_judged_and_drawn(tmp_path: Path) -> None:
    patients = {name: rows.copy() for name, rows in PATIENTS.items()}
    patients["adult#002"][:4, 1] = 10.0  # nobody lives there
    patients["child#003"] = np.delete(patients["child#003"], range(30, 60), 0)
    patients["child#002"][:, 2] *= 1.5
    found = judge(patients)
    assert found["Accuracy: unphysiological reference"].figures["BG outside 20-600"] == pytest.approx(4 / 450)
    assert found["Completeness: gaps in raw readings"].figures["longest silence"] == 93
    assert found["Completeness: gaps in raw readings"].verdict is Verdict.FAILS
    sensor = found["Accuracy: the sensor"]
    assert sensor.figures["left out"] == 4
    assert sensor.figures["MARD"] == pytest.approx(0.5 * 80 / 446, rel=0.01)
    assert [each.title for each in drawings(sensor.details)] == ["Readings over the zones of Parkes' grid"]
    page = sufficiency_page("raw.csv", found)
    assert "unphysiological" in page
    assert "<script" not in page


@pytest.fixture(scope="module")
def learnt() -> tuple[Model, Records]:
    test = held_out(list(PATIENTS), 0)
    columns = tabled(PATIENTS, test)[0]
    cells = {name: columns[name] for name in ("record", "patient", "split", *FEATURES, "future")}
    records = table(cells, Columns("future", "patient", "record", "split", regression=True))
    recipe = Recipe(network_of(), SGD(lr=0.02), loss=SquaredError(), epochs=2, batch_size=16)
    return train(recipe, records).model, records


def network_of() -> Any:
    from expunge.networks import Trends

    return Trends((4,))


def test_the_loop_forecasts_what_the_model_says_of_the_same_window(learnt: tuple[Model, Records]) -> None:
    from expunge.assurance.forecasting import predictions
    from expunge.assurance.glucose import on_board
    from expunge.assurance.simulation import Moment, Therapy

    model, records = learnt
    who, rows = "adult#001", PATIENTS["adult#001"]
    part = records.train if who in records.train.owners else records.test
    said = predictions(model, part)[1][part.owners.index(who)]  # its first window, at row 20
    _, _, cgm, cho, insulin = (column[:, None] for column in rows.T)
    iob, cob = (on_board(series[:, 0], minutes)[20:21] for series, minutes in ((insulin, 70), (cho, 40)))
    nothing = np.zeros(1)
    moment = Moment(Therapy(nothing, nothing, nothing), cgm, cho, insulin, iob, cob, nothing, 20)
    assert forecast_by(model, records.preparation)(moment)[0] == pytest.approx(said, abs=1e-3)


def test_time_in_range_and_what_a_loop_gains() -> None:
    bg = np.array([[60.0, 100], [100, 100], [200, 100], [50, 300]])
    traces, calm = (Traces(("a", "b"), each, each, each, each) for each in (bg, np.full((4, 2), 100.0)))
    assert {name: values.tolist() for name, values in shares(traces).items()} == {
        "below 54": [0.25, 0], "below 70": [0.5, 0], "70 to 180": [0.25, 0.75],
        "above 180": [0.25, 0.25], "above 250": [0, 0.25],
    }  # fmt: skip
    found = gains(calm, traces)
    assert found["in range gain"] == pytest.approx(0.5)
    assert found["in range gain low"] == pytest.approx(0.5 - 1.96 * 0.25)
    assert found["below 70 gain"] == pytest.approx(-0.25)


def test_the_loop_is_a_check_and_refuses_a_model_of_other_data(
    learnt: tuple[Model, Records], plain_model: Any, few: Records
) -> None:
    model, records = learnt
    size = {"people": 1, "days": 1, "seed": 3, "least": 0.0, "most": 1.0}
    found = ClosedLoop().run({"model": model, "preparation": records}, size)
    assert found.figures["70 to 180 with"] is not None
    assert "without the predictor" in found.words
    with pytest.raises(OperatorError, match="columns cgm_50"):
        ClosedLoop().run({"model": plain_model.model, "preparation": few}, size)


def test_a_specification_is_met_by_whom_it_is_met(learnt: tuple[Model, Records]) -> None:
    model, records = learnt
    subjects = {"model": model, "test": records.test}
    lowest = {who: min(v for v, o in zip(column_of(records), records.test.owners, strict=True) if o == who)
              for who in set(records.test.owners)}  # fmt: skip
    middle = float(np.mean(list(lowest.values())))
    found = Specification().run(subjects, {"formula": ["always", [">", "cgm_0", middle]], "every": 15, "least": 0.9})
    assert found.figures["share"] == pytest.approx(np.mean([value > middle for value in lowest.values()]))
    assert found.figures["least robustness"] == pytest.approx(min(lowest.values()) - middle, abs=0.01)
    with pytest.raises(OperatorError, match="no signal"):
        Specification().run(subjects, {"formula": ["<", "lactate", 1], "every": 15, "least": 0.9})


def column_of(records: Records) -> list[float]:
    from expunge.assurance.sufficiency import column

    return list(column(records.test, "cgm_0"))


def test_commands_write_the_table_the_features_and_the_page(tmp_path: Path, capsys: Any) -> None:
    raw, out, page = (str(tmp_path / name) for name in ("raw.csv", "f.csv", "page.html"))
    assert main(["simulate-glucose", raw, "--people", "1", "--days", "1", "--json"]) == 0
    assert main(["glucose", raw, out, "--target", "hazard", "--form", "sequence", "--report", page, "--json"]) == 0
    assert '"insufficient"' in capsys.readouterr().out
    assert "hazard" in Path(out).read_text("utf-8").splitlines()[0]
    assert Path(page).stat().st_size > 10_000
    for words in (["glucose", raw, out, "--form", "wavelet"], ["glucose", raw, str(tmp_path / "no" / "f.csv")],
                  ["simulate-glucose", str(tmp_path), "--days", "1"]):  # fmt: skip
        assert main([*words, "--json"]) != 0
        assert "Traceback" not in capsys.readouterr().err
    assert read(Path(raw)).keys() == {"adolescent#001", "adult#001", "child#001"}
    assert prepare(Path(raw), Path(out), ahead=60)["records"] > 200
    assert len(as_records(read(Path(raw)), frozenset())) == 3 * 480
