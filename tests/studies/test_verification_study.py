"""The study's arithmetic, one cell of each kind on little data, and the whole of it when there is time."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from expunge.adversaries.providers import Forge, KeepOriginal
from expunge.errors import OperatorError
from expunge.records import Records
from expunge.studies import Setting, run_study, verification_committed, verification_curve
from expunge.studies.verification import VerificationStudy
from expunge.studies.verification_cells import Field, grouped
from expunge.studies.verification_claims import binom_above, simulated
from expunge.studies.verification_committed import committed, methods, storage
from expunge.studies.verification_curve import curve
from expunge.studies.verification_evasions import EVASIONS, evasion
from expunge.verification import BackdoorTest, detection


def test_simulated_owners_meet_the_binomial_of_their_own_hits() -> None:
    caught, expected = simulated([[0.6, 0.1, 40, 100], [0.9, 0.1, 5, 50]])
    parts = [
        binom_above(BackdoorTest(p, q, 30).threshold, 30, rate) for p, q, rate in ((0.6, 0.1, 0.4), (0.9, 0.1, 0.1))
    ]
    assert expected == pytest.approx(sum(parts) / 2, abs=0.02)
    assert sum(caught) / len(caught) == pytest.approx(expected, abs=0.04)
    assert len(simulated([[0.6, 0.1, 40, 100]], owners=100)[0]) == 100
    assert binom_above(9, 30, 0.1) == pytest.approx(BackdoorTest(0.6, 0.1, 30).false_alarm, rel=1e-9)


def test_owners_are_of_equal_size_and_half_of_the_marked_leave(records: Records) -> None:
    whole = grouped(records, 0)
    sizes = [whole.owners.count(owner) for owner in set(whole.owners)]
    assert max(sizes) - min(sizes) <= 1
    field = Field(records, "small", 0)
    assert len(set(field.leaving) & set(field.marked.triggers)) == 4
    assert 0.15 < len(field.forget) / len(records.train) < 0.25


def test_cells_of_the_committed_schedule(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification_committed, "TRIALS", {"small": 2})
    monkeypatch.setattr(verification_curve, "DRAWS", 100)
    monkeypatch.setattr(verification_curve, "FAKED", (0.05, 0.25))
    monkeypatch.setattr(verification_curve, "WORK", (0.05, 0.1))
    (honest,) = committed(records, "small", 0, "honest")
    assert honest["found"] == 0
    assert 0.05 < honest["work_share_max"] <= 0.1
    (jump,) = committed(records, "small", 0, "fake-segment")
    assert jump["found"] == 2
    points = curve(records, 0)
    assert all(row["formula"] == pytest.approx(detection(row["faked"], row["replayed"])) for row in points)
    assert all(row["formula"] <= row["exact"] + 1e-9 for row in points)
    assert all(abs(row["measured"] - row["exact"]) < 0.2 for row in points)
    defaults = [row for row in points if "measured_default" in row]
    assert all(0 < row["drawn_default"] < row["replayed"] for row in defaults)
    assert all(row["measured_default"] > row["formula_default"] - 0.15 for row in defaults)
    sizes = [row["bytes_per_step"] for row in storage(records, 0)]
    assert sizes == sorted(sizes, reverse=True)


def test_the_literature_beside_lets_pass_what_the_schedule_finds(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proof without rows of its own is shown with those that are drawn."""
    some = (KeepOriginal(), Forge())
    monkeypatch.setattr(verification_committed, "attacks", lambda scale: {each.describe().name: each for each in some})
    monkeypatch.setattr(verification_committed, "inconspicuous", dict)
    rows = verification_committed.beside(records, "small", 0)
    assert [row["provider"] for row in rows] == ["honest", "keep-original", "forge"]
    assert all(row["passed"] == 1 for row in rows)
    assert all(row["work_share_mean"] == 1 for row in rows)


@pytest.mark.parametrize("name", EVASIONS)
def test_lies_in_the_files_are_found_by_the_check_for_them(
    records: Records, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expunge.studies.verification_evasions.TRIALS", 2)
    (row,) = evasion(records, 0, name)
    assert row["found"] == 2
    wanted = {"claimed-platform": "replay", "reordered": "retained data"}
    assert row["found_by"] == {wanted.get(name, "schedule"): 2}


def test_regression_is_refused(records: Records, tmp_path: Path) -> None:
    numbers = replace(records, targets=records.targets.float(), classes=0)
    with pytest.raises(OperatorError):
        run_study(VerificationStudy(), Setting(numbers, "numbers", "small", (0,)), tmp_path)


@pytest.mark.slow
def test_the_whole_study_holds_its_marks(records: Records, tmp_path: Path) -> None:
    results = run_study(VerificationStudy(), Setting(records, "digits", "small", (0, 1)), tmp_path)
    assert [claim["name"] for claim in results["claims"] if claim["holds"] is False] == []
    names = {claim["name"] for claim in json.loads((tmp_path / "results.json").read_text())["claims"]}
    assert {"backdoor.power", "backdoor.alpha", "committed.false_alarms", "committed.work_share"} <= names


@pytest.mark.slow
def test_every_method_is_proven_and_the_old_model_found(records: Records) -> None:
    assert all(row["proven"] and row["old_model_found"] for row in methods(records, 0))
