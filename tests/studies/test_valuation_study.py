"""The study's own parts against what is known; the whole of it on tiny sizes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expunge.errors import OperatorError
from expunge.records import Records
from expunge.studies import valuation_cells, valuation_known, valuation_task
from expunge.studies.frame import Setting, run_study
from expunge.studies.valuation import ValuationStudy
from expunge.studies.valuation_task import Size, auroc, ratio_at_equal_error, task_of


def test_auroc_counts_pairs():
    worth, noisy = np.array([0.1, 0.4, 0.4, 0.9]), np.array([True, True, False, False])
    assert auroc(worth, noisy) == (1 + 1 + 0.5 + 1) / 4


def test_ratio_at_equal_error_of_known_curves():
    """Errors a/sqrt(n): the ratio is (a_slow/a_fast)^2, with errors in common or without."""

    def curve(name, a, budgets):
        return [{"estimator": name, "evaluations": n, "rmse": a / n**0.5, "complete": True} for n in budgets]

    rows = curve("slow", 3.0, (100, 400, 1600)) + curve("fast", 1.0, (50, 100, 400))
    assert ratio_at_equal_error(rows, "slow", "fast") == pytest.approx(9)
    apart = curve("slow", 3.0, (100, 200)) + curve("fast", 1.0, (1000, 2000))
    assert ratio_at_equal_error(apart, "slow", "fast") == pytest.approx(9)
    rows = [{**row, "complete": False} for row in curve("slow", 3.0, (100,))] + curve("fast", 1.0, (100,))
    assert ratio_at_equal_error(rows, "slow", "fast") is None


def test_a_task_deals_every_owner_and_flips_only_training_labels(records: Records):
    clean, noisy = (task_of(records, "small", 3, noisy=share) for share in (0.0, 0.2))
    assert clean.records.ids == noisy.records.ids
    changed = (clean.records.targets != noisy.records.targets).numpy()
    bad = {f"group-{number:03d}" for number in np.flatnonzero(noisy.noisy)}
    train = np.array([part == "train" for part in noisy.records.split])
    theirs = np.array([owner in bad for owner in noisy.records.owners])
    assert len(bad) == round(0.2 * 32)
    assert (changed == (train & theirs)).all()
    assert clean.partition.sizes == (8, 8, 8, 8)


def test_regression_and_few_owners_are_refused(records: Records):
    lone = replace(records, owners=("one",) * len(records))
    numbers = replace(records, targets=records.targets.float(), classes=0)
    for unfit in (lone, numbers):
        with pytest.raises(OperatorError) as raised:
            task_of(unfit, "small", 0)
        assert raised.value.code == "bad-data"


def test_the_whole_study_on_tiny_sizes(records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny = Size(9, 3, 300, 100)
    monkeypatch.setattr(valuation_task, "SIZES", {"small": tiny, "full": tiny})
    monkeypatch.setattr(valuation_known, "RUNS", 10)
    monkeypatch.setattr(valuation_cells, "STOPPED", {"small": 2})
    monkeypatch.setattr(valuation_cells, "TRACED", {"small": 60})
    monkeypatch.setattr(valuation_cells, "DRAWS", {"small": 2})
    monkeypatch.setattr(valuation_cells, "ERROR", 0.03)
    monkeypatch.setattr(valuation_cells, "BEFORE", 0.015)
    monkeypatch.setattr(valuation_cells, "REPEATS", {"small": 2})
    monkeypatch.setattr(valuation_cells, "BUDGETS", {"small": (100, 200)})
    results = run_study(ValuationStudy(), Setting(records, "digits", "small", (0,)), tmp_path)
    claims = {claim["name"]: claim for claim in results["claims"]}
    for name in ("oracle.max_error", "axioms.violations", "sampling.bias_z", "delta.exact_error"):
        assert claims[name]["holds"], name
    assert claims["serial_parallel.identical"]["value"] == 1
    wanted = ["ours_vs_utility.evaluations_ratio", "utility_vs_permutation.evaluations_ratio"]
    wanted += ["delta_vs_recompute.time_ratio", "delta_vs_recompute.time_ratio_defaults", "noisy_owner.auroc"]
    wanted += ["noisy_owner.points_gained_without_lowest_fifth", "half_width.coverage_after_update"]
    wanted += ["time_to_equal_error.utility_over_ours"]
    assert claims.keys() >= set(wanted)
    page = (tmp_path / "report.html").read_text("utf-8")
    titles = (
        "What each owner",
        "Error against cost",
        "Error against time",
        "while owners are removed",
        "before and after",
        "after a deletion",
    )
    assert all(title in page for title in titles)
