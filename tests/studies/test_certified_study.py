"""The study's pieces on small data: every claim by name, and figures that mean what they say."""

from dataclasses import replace
from pathlib import Path

import pytest

from expunge.records import Records
from expunge.studies.certified import CertifiedStudy, certified_claims
from expunge.studies.certified_cells import coverage, solvers, stopped_at, way
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
    "best.beats_fresh",
    "audit.violations",
    "sequential.budget_left",
    "bound.coverage",
}


def test_coverage_counts_every_trial(few: Records) -> None:
    found = coverage(few, 0, trials=5)
    assert (found["trials"], found["inside"]) == (5, 5)
    assert found["newton_error_over_no_op"] < 0.5


def test_solvers_are_held_against_the_exact_solution(few: Records) -> None:
    rows = {row["solver"]: row for row in solvers(few, 0, "small")}
    assert rows["series, automatic scale"]["relative_error"] < 0.01
    assert rows["series, public defaults"]["relative_error"] > 0.8
    for pair in (("", "series, automatic scale"), (" as public", "series, public defaults")):
        gradient = rows[f"conjugate gradient, same error{pair[0]}"]
        assert gradient["relative_error"] <= rows[pair[1]]["relative_error"]
        assert gradient["products"] * 10 <= rows[pair[1]]["products"]


def test_stopping_early_is_found(few: Records) -> None:
    moments = way(Recipe(optimiser=SGD(lr=0.1), epochs=4, batch_size=16), few, looks=4)
    assert [work for work, _ in moments] == sorted(work for work, _ in moments)
    assert stopped_at(moments, 0.0) == moments[0][0]
    assert stopped_at(moments, 1.1) is None


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
