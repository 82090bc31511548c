"""The study's pieces on small data: every claim by name, and figures that mean what they say."""

from dataclasses import replace
from pathlib import Path

import pytest

from expunge.records import Records
from expunge.studies.certified import CertifiedStudy
from expunge.studies.certified_cells import RUNS, processor_seconds, retrained, solvers, stopped_at
from expunge.studies.certified_checks import coverage, head_check
from expunge.studies.certified_claims import _poison, certified_claims
from expunge.studies.certified_constants import constants_of_a_network
from expunge.studies.certified_games import Game, certificate_games, played
from expunge.studies.frame import Setting, run_study
from expunge.training import SGD, Recipe

NAMED = {
    "cg.speedup_over_neumann",
    "neumann.matches_exact",
    "head.epsilon",
    "head.test_gap",
    "nft.epsilon",
    "nft.test_gap",
    "best.time_share",
    "best.certified_time_share",
    "best.beats_fresh",
    "audit.violations",
    "sequential.budget_left",
    "bound.coverage",
}


def test_coverage_counts_every_trial(few: Records) -> None:
    found = coverage(few, 0, trials=5)
    assert (found["trials"], found["inside"], found["inside_theorem"]) == (5, 5, 5)
    assert found["worst_newton_error_over_no_op"] < 0.1
    assert found["gradient_identity_error"] < 1e-10
    assert found["error"] <= found["computed_bound"] <= found["diameter"] <= found["theorem_bound"]
    assert found["smaller"] == "2C"


def test_constants_of_a_network_are_measured_or_said_to_be_estimates(few: Records) -> None:
    row = constants_of_a_network(few, 0, draws=1)
    assert row["claim"] == "empirical"
    assert "hessian_lipschitz" in row["estimated"]
    assert 0 < row["residual_gradient_norm"] < row["gradient_lipschitz_estimate"] * 2 * row["weights_norm"]
    assert row["distance"] >= 40
    assert row["weights_norm"] <= 20
    assert row["hessian_lipschitz_estimate"] > 0 > row["least_eigenvalue_estimate"]


def test_the_heads_residual_is_far_below_what_could_be_said_beforehand(few: Records) -> None:
    for row in head_check(few, 0):
        assert row["bound_over_residual"] >= 100
        assert row["accuracy_noise_0.02"] > row["accuracy_noise_0.5"]


@pytest.fixture(scope="module")
def games(few: Records) -> dict[str, Game]:
    return {game.name: game for game in certificate_games(few, 0)}


@pytest.mark.parametrize(
    ("name", "runs"),
    [("certified-head", 40), ("output-perturbation", 40), ("broken on purpose: a tenth of the noise", 200)],
)
def test_no_game_refutes_a_claim_and_a_lie_is_found(games: dict[str, Game], name: str, runs: int) -> None:
    (row,) = played([games[name]], runs)
    assert row["violated"] is games[name].broken


@pytest.mark.slow
def test_every_method_that_claims_an_epsilon_stands_its_game(games: dict[str, Game]) -> None:
    rows = played(list(games.values()), 500)
    assert len(rows) == 8
    assert all(row["violated"] is row["broken"] for row in rows)


def test_solvers_are_held_against_the_exact_solution(few: Records) -> None:
    rows = {row["solver"]: row for row in solvers(few, 0, "small")}
    assert rows["series, automatic scale"]["relative_error"] < 0.01
    assert rows["series, public defaults"]["relative_error"] > 0.8
    for pair in (("", "series, automatic scale"), (" as public", "series, public defaults")):
        gradient = rows[f"conjugate gradient, same error{pair[0]}"]
        assert gradient["relative_error"] <= rows[pair[1]]["relative_error"]
        assert gradient["products"] * 10 <= rows[pair[1]]["products"]


def test_stopping_early_is_found(few: Records) -> None:
    moments = retrained(Recipe(optimiser=SGD(lr=0.1), epochs=4, batch_size=16), few, looks=4).moments
    assert [work for work, _ in moments] == sorted(work for work, _ in moments)
    assert stopped_at(moments, 0.0) == moments[0][0]
    assert stopped_at(moments, 1.1) is None


@pytest.mark.parametrize(("least", "runs"), [(0.0, 1), (60.0, RUNS)])
def test_short_runs_are_timed_again(least: float, runs: int) -> None:
    made: list[int] = []

    def count() -> int:
        made.append(sum(range(100_000)))
        return len(made)

    found, seconds = processor_seconds(count, least)
    assert found == len(made) == runs
    assert 0 < seconds < 5


@pytest.mark.parametrize("head", [5.0, 0.4])
@pytest.mark.parametrize(("untouched", "newton", "answered"), [(4.0, 3.9, True), (4.0, 1.0, True), (2.5, 2.4, False)])
def test_marks_that_nobody_finds_answer_nothing(untouched: float, newton: float, answered: bool, head: float) -> None:
    rows = [
        {"method": "none", "claim": "", "z": -untouched},
        {"method": "none, fixed features", "claim": "", "z": -head},
        {"method": "certified-head", "claim": "certified", "z": 0.3},
        {"method": "newton", "claim": "empirical", "z": -newton},
    ]
    clean, kept = _poison(rows)
    assert (clean.value, kept.value) == ((1.0, newton) if answered else (None, None))
    assert kept.holds is (newton >= 2.6 if answered else None)
    assert ("of the head it tells nothing" in clean.why) is (answered and head < 2.6)


@pytest.mark.slow
def test_the_whole_study_answers_every_claim(few: Records, tmp_path: Path) -> None:
    setting = Setting(few, "few", "small", (0,))
    results = run_study(replace(CertifiedStudy(), hidden=(16,)), setting, tmp_path)
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert claims.keys() >= NAMED
    assert all(claims[name]["value"] is not None for name in NAMED)
    assert claims["audit.violations"]["holds"]
    assert claims["audit.broken_found"]["value"] == 1
    assert claims["bound.coverage"]["value"] == 100
    assert claims["paper.epsilon_at_sigma_0.001"]["value"] == pytest.approx(4.7e16, rel=0.03)
    assert certified_claims(results["rows"])
