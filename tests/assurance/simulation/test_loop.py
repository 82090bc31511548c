"""Sensor, pump, meals, controller, and generated data: statistics against closed forms, bytes against seeds."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from expunge.assurance.glucose import on_board, prepare, read
from expunge.assurance.simulation import (
    Bodies,
    Controller,
    Moment,
    Pump,
    Sensor,
    current,
    days,
    draw,
    generate,
    run,
    simulate,
    titrate,
)
from expunge.errors import OperatorError


def test_the_sensors_error_has_the_moments_of_johnsons_distribution() -> None:
    sensor = Sensor()
    knots = sensor.errors([f"adult#{n}" for n in range(4)], 5 * 2000, 1)[::5].ravel()  # at the draws themselves
    spread = sensor.memory**2 / (1 - sensor.memory**2)
    skew = np.exp(spread / (2 * sensor.delta**2))
    mean = sensor.xi - sensor.scale * skew * np.sinh(sensor.gamma / sensor.delta)
    second = (np.exp(2 * spread / sensor.delta**2) * np.cosh(2 * sensor.gamma / sensor.delta) - 1) / 2
    first = -skew * np.sinh(sensor.gamma / sensor.delta)
    assert knots.mean() == pytest.approx(mean, abs=1.0)
    assert knots.std() == pytest.approx(sensor.scale * (second - first**2) ** 0.5, rel=0.06)


def test_readings_stay_within_the_device_and_the_pump_delivers_in_steps() -> None:
    assert Sensor().read(np.array([20.0, 700.0, 100.0]), np.zeros(3)).tolist() == [39, 600, 100]
    given = Pump().deliver(np.array([0.5 / 60, 0.512 / 60, -1.0]), np.array([0.0, 1.02, 99.0]))
    assert given == pytest.approx([0.5 / 60, 0.5 / 60 + 1 / 3, 10.0])


def moment(readings: float, iob: float = 0.0) -> Moment:
    who = draw(1, 0)
    therapy = titrate(who, minutes=30)
    rows = np.full((60, 3), readings)
    return Moment(therapy, rows, rows * 0, rows * 0, np.full(3, iob), np.zeros(3), np.full(3, 30.0), now=40)


def test_the_controller_stops_insulin_when_low_and_corrects_when_high_less_what_is_on_board() -> None:
    low, usual, high = moment(75.0), moment(120.0), moment(240.0)
    assert [each.tolist() for each in Controller().decide(low)] == [[0, 0, 0], [0, 0, 0]]
    basal, meal = Controller().decide(usual)
    assert basal.tolist() == usual.therapy.basal.tolist()
    assert meal == pytest.approx(30 / usual.therapy.ratio)
    dose = Controller().decide(high)[1]
    assert dose == pytest.approx(30 / high.therapy.ratio + 0.5 * 100 / high.therapy.correction)
    assert Controller().decide(moment(240.0, iob=50.0))[1] == pytest.approx(meal)
    assert current(high).tolist() == [240, 240, 240]


def test_what_is_on_board_in_the_loop_is_what_the_features_say() -> None:
    who = draw(1, 2)
    scenario = days(who.names, 1, 2)
    seen: list[np.ndarray] = []

    def watch(now: Moment) -> np.ndarray:
        seen.append(now.iob.copy())
        return current(now)

    therapy = titrate(who, minutes=30)
    traces = run(Bodies(who), therapy, scenario, Controller(watch))
    held = np.array([on_board(traces.insulin[:, place], 70) for place in range(3)])
    rows = np.arange(20, 480)
    start = therapy.basal * 70 * np.exp(-3 * rows[:, None] / 70)  # basal insulin of the day before
    assert np.array(seen) == pytest.approx(held[:, rows].T + start, abs=1e-9)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("glucose") / "raw.csv"
    found = generate(out, people=2, duration=1, seed=4)
    assert found["patients"] == 6
    assert found["rows"] == 6 * 480
    return out


def test_generated_data_is_the_same_for_a_seed_and_goes_through_the_features(raw: Path, tmp_path: Path) -> None:
    other = tmp_path / "again.csv"
    generate(other, people=2, duration=1, seed=4)
    digests = {hashlib.sha256(each.read_bytes()).hexdigest() for each in (raw, other)}
    assert len(digests) == 1
    patients = read(raw)
    assert all(rows.shape == (480, 5) for rows in patients.values())
    meals = {name: 3 * rows[:, 3].sum() for name, rows in patients.items()}
    assert all(60 < grams < 330 for grams in meals.values())
    assert prepare(raw, tmp_path / "features.csv")["records"] > 300


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"people": 0}, "bad-arguments"),
        ({"duration": 400}, "bad-arguments"),
        ({"engine": "matlab"}, "bad-arguments"),
        ({"population": "mars"}, "bad-arguments"),
    ],
)
def test_bad_wishes_are_one_line_and_write_nothing(tmp_path: Path, options: dict[str, object], code: str) -> None:
    with pytest.raises(OperatorError) as caught:
        generate(tmp_path / "x.csv", **options)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert not list(tmp_path.iterdir())
    with pytest.raises(OperatorError, match="cannot write"):
        generate(tmp_path / "nowhere" / "x.csv")


def test_simglucose_in_the_loop_gives_our_traces() -> None:
    pytest.importorskip("simglucose", reason="the extra `glucose` is not installed")
    who = draw(1, 4).select([0])
    ours, theirs = (simulate(who, 1, 4, engine) for engine in ("own", "simglucose"))
    assert np.abs(ours.bg - theirs.bg).max() < 0.05
    assert np.abs(ours.insulin - theirs.insulin).max() < 1e-9
