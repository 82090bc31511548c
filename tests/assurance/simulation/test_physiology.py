"""Our equations against closed forms, mass balances, a finer integrator, and simglucose where it is installed."""

from pathlib import Path

import numpy as np
import pytest

from expunge.assurance.simulation import Bodies, Physiology, draw, titrate
from expunge.assurance.simulation.physiology import TO_PMOL, derivative
from expunge.assurance.simulation.population import GROUPS, TYPICAL, installed, possible
from expunge.errors import OperatorError


@pytest.fixture(scope="module")
def people() -> Physiology:
    return draw(3, 0)


def test_nobody_moves_while_fasting_under_basal_insulin(people: Physiology) -> None:
    bodies, nothing = Bodies(people), np.zeros(9)
    for _ in range(120):
        bodies.minute(nothing, people.basal)
    assert np.allclose(bodies.glucose, people.gb, rtol=1e-12)


def test_a_meal_and_a_bolus_agree_with_an_adaptive_integrator(people: Physiology) -> None:
    from scipy.integrate import solve_ivp

    one = people.select([4])
    bodies = Bodies(one)
    state, held, eaten = one.fasting()[:, 0], 0.0, 0.0
    for minute in range(90):
        meal, insulin = 30.0 * (minute == 5), one.basal + 2.0 * (minute == 5)
        bodies.minute(np.array([meal]), insulin)
        eats = 5.0 if 5 <= minute < 11 else 0.0  # 30 g at 5 g a minute
        eaten += eats
        inputs = np.array([1000 * eats]), insulin * TO_PMOL / one.bw, np.array([held + 1000 * eaten])
        solved = solve_ivp(
            lambda _, x, inputs=inputs: derivative(one, x[:, None], *inputs)[:, 0],
            (0, 1),
            state,
            rtol=1e-10,
            atol=1e-10,
        )
        state = solved.y[:, -1]
    assert bodies.state[:, 0] == pytest.approx(state, abs=0.02)
    assert bodies.glucose[0] == pytest.approx(state[12] / one.vg[0], abs=0.003)


def test_what_is_eaten_and_injected_is_accounted_for(people: Physiology) -> None:
    """d(stomach + gut) = eaten - absorbed; d(depots) = injected - absorbed; what leaves plasma enters tissue."""
    rng = np.random.default_rng(0)
    state = people.fasting() * rng.uniform(0.5, 1.5, (13, 9)) + 10
    eats, insulin = np.full(9, 700.0), np.full(9, 3.0)
    slope = derivative(people, state, eats, insulin, np.full(9, 20_000.0))
    assert slope[:3].sum(0) == pytest.approx(eats - people.kabs * state[2])
    assert slope[10:12].sum(0) == pytest.approx(insulin - people.ka1 * state[10] - people.ka2 * state[11])
    more = derivative(people, state, eats, insulin + 1, np.full(9, 20_000.0))
    assert (more - slope)[10] == pytest.approx(np.ones(9))


def test_a_persons_fate_does_not_depend_on_who_is_simulated_beside_them(people: Physiology) -> None:
    together, alone = Bodies(people), Bodies(people.select([7]))
    for minute in range(60):
        meal = 40.0 * (minute == 3)
        together.minute(np.full(9, meal), people.basal)
        alone.minute(np.full(1, meal), people.basal[7:8])
    assert together.state[:, 7].tobytes() == alone.state[:, 0].tobytes()


def test_the_population_is_the_same_for_a_seed_whoever_else_is_drawn(people: Physiology) -> None:
    more = draw(5, 0)
    assert [more.names[place] for place in (0, 5, 10)] == [f"{group}#001" for group in GROUPS]
    assert more.select([0, 1, 2, 5, 6, 7, 10, 11, 12]).kp3.tobytes() == people.kp3.tobytes()
    assert draw(3, 1).kp3.tobytes() != people.kp3.tobytes()
    assert possible(more).all()


def test_the_population_has_the_means_that_it_says() -> None:
    who = draw(150, 3)
    for place, _ in enumerate(GROUPS):
        rows = slice(150 * place, 150 * (place + 1))
        for name in ("bw", "ka1", "km0", "p2u"):  # those that `possible` hardly selects by
            spread = TYPICAL[name][3] / 150**0.5
            assert np.log(getattr(who, name)[rows]).mean() == pytest.approx(
                np.log(TYPICAL[name][place]), abs=4 * spread
            )


def test_the_titrated_ratio_brings_glucose_back(people: Physiology) -> None:
    therapy = titrate(people)
    bodies, meal = Bodies(people), 50.0
    for minute in range(180):
        bodies.minute(np.full(9, meal * (minute == 0)), people.basal + (minute == 0) * meal / therapy.ratio)
    inside = (therapy.ratio > 2.1) & (therapy.ratio < 59)
    assert inside.sum() >= 5
    assert bodies.glucose[inside] == pytest.approx(people.gb[inside], abs=1.5)


def test_simglucose_agrees(people: Physiology) -> None:
    pytest.importorskip("simglucose", reason="the extra `glucose` is not installed")
    from expunge.assurance.simulation import Simglucose

    who = installed()
    assert len(who.names) == 30
    for one in (people.select([0]), who.select([13]), who.select([25])):
        ours, theirs = Bodies(one), Simglucose(one)
        worst = 0.0
        for minute in range(150):
            meal, insulin = np.full(1, 45.0 * (minute == 20)), one.basal + 0.7 * (20 <= minute < 23)
            ours.minute(meal, insulin)
            theirs.minute(meal, insulin)
            worst = max(worst, abs(float(ours.glucose[0] - theirs.glucose[0])))
        assert worst < 0.01


def test_without_simglucose_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, people: Physiology, tmp_path: Path
) -> None:
    import sys

    from expunge.assurance.simulation import generate, population

    monkeypatch.setattr(population, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "simglucose.patient.t1dpatient", None)
    for options in ({"population": "simglucose"}, {"engine": "simglucose", "people": 1}):
        with pytest.raises(OperatorError, match="simglucose is not installed"):
            generate(tmp_path / "x.csv", **options)  # type: ignore[arg-type]
