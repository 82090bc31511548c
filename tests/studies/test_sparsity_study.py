"""The whole study on the ten digits, with few methods, and its arithmetic against the published table."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expunge.errors import OperatorError
from expunge.records import Records
from expunge.studies import Setting, run_study
from expunge.studies.sparsity import SparsityStudy
from expunge.studies.sparsity_applications import backdoor, stamped
from expunge.studies.sparsity_cells import doses
from expunge.studies.sparsity_claims import sparsity_claims
from expunge.studies.sparsity_ground import TUNING_SEED, Ground, at_random, memorised, one_class, one_owner
from expunge.studies.sparsity_scene import BARE, SMALL_RATE, auc, gap, row, scenario
from expunge.unlearning import SSD, FineTune, L1Sparse

NAMED = {
    "ft.class.ua",
    "l1.class.ua",
    "l1.class.ta_loss",
    "l1.class.mia",
    "l1.gain_over_ft",
    "prune99.ft.ua_gain",
    "backdoor.l1.asr",
    "backdoor.original.asr",
    "best.random.gap",
    "noise_floor.random.gap",
    "best.rte_share",
}
COLUMNS = {"scenario", "method", "sparsity", "seed", "ua", "mia", "ra", "ta", "rte", "gap", "exposure"}


def test_the_average_gap_of_the_published_table() -> None:
    """Figures of Jia et al., class-wise, dense: fine-tuning 25.78, influence 5.41."""
    retrain = {"ua": 100.0, "mia": 100.0, "ra": 100.0, "ta": 94.83}
    assert gap({"ua": 22.53, "mia": 75.0, "ra": 99.87, "ta": 94.31}, retrain) == pytest.approx(25.78, abs=0.01)
    assert gap({"ua": 87.82, "mia": 95.96, "ra": 97.98, "ta": 91.42}, retrain) == pytest.approx(5.41, abs=0.01)


def test_scenarios_are_what_they_are_called(records: Records) -> None:
    ground = Ground.of(records, "small")
    assert not set(ground.validation.ids) & set(ground.records.ids)
    left = ground.records.without(one_class(ground.records, 0)).train
    assert len(set(left.targets.tolist())) == 9
    assert len(at_random(0.1)(ground.records, 0)) == round(0.1 * len(ground.records.train))
    owner = one_owner(ground.records, 0)
    names = dict(zip(records.ids, records.owners, strict=True))
    assert len({names[one] for one in owner}) == 1
    assert len(owner) == max(ground.records.train.owners.count(one) for one in set(ground.records.train.owners))
    hard = memorised(replace(ground.recipe, epochs=3))(ground.records, 0)
    assert len(hard) == round(0.05 * len(ground.records.train))


def test_a_stamp_changes_a_corner_alone(records: Records) -> None:
    before = records.features[:5]
    changed = (stamped(before) != before).any(0)[0].nonzero()
    assert changed.min() >= 5
    assert len(changed) <= 9
    assert auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0


@pytest.fixture(scope="module")
def results(records: Records, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Every cell, and few trials: what the networks learn in so few steps is asked below, on all the digits."""
    out = tmp_path_factory.mktemp("sparsity")
    few = SparsityStudy(methods=(FineTune(), L1Sparse(), SSD()), shadows=(8, 8), references=(4, 4))
    study = replace(few, budget=1.0, classes=1, epochs=6)
    quarter = records.select(range(0, len(records), 4))
    run_study(study, Setting(quarter, "digits", "small", (0,)), out)
    assert "<svg" in (out / "report.html").read_text()
    return json.loads((out / "results.json").read_text())


def test_every_claim_and_column_is_there(results: dict) -> None:
    assert {claim["name"] for claim in results["claims"]} >= NAMED
    assert all(row.keys() >= COLUMNS for row in results["rows"])
    scenarios = {row["scenario"] for row in results["rows"]}
    assert {
        "class",
        SMALL_RATE,
        "random 10 %",
        "sequential",
        "one owner",
        "hard",
        "dose",
        "prune-first",
        "backdoor",
        "transfer",
    } <= scenarios
    assert {row["sparsity"] for row in results["rows"]} >= {0.0, 0.95, 0.99}


def test_choices_are_made_on_a_seed_that_no_figure_is_of(results: dict) -> None:
    aside = [row for row in results["rows"] if row["scenario"].endswith((", tuning", ", choosing"))]
    assert {row["seed"] for row in aside} == {TUNING_SEED}
    assert TUNING_SEED not in {row["seed"] for row in results["rows"] if row not in aside}
    tuned = [row["tuning"] for row in aside if row["scenario"] == "random 10 %, tuning"]
    assert len(tuned) == 3
    assert all(each["evaluations"] <= max(each["budget"], each["trials"][0]["evaluations"]) for each in tuned)
    runs = [row for row in results["rows"] if row["scenario"] == "random 10 %" and row["chosen"]]
    assert {json.dumps(each["method"]) for each in tuned} <= {json.dumps(row["chosen"]) for row in runs}
    assert all(row["rte_tuned"] > row["rte"] for row in runs)


def test_lira_sees_members_before_and_each_method_outside_the_floor_is_told_why(results: dict) -> None:
    found = {claim["name"]: claim for claim in results["claims"]}
    assert found["original.random.exposure"]["value"] > 0.6
    assert abs(found["retrain.random.exposure"]["value"] - 0.5) < 0.1
    inside, why = found["within_floor.random.methods"], found["within_floor.random.methods"]["why"]
    outside = [name for name in ("fine-tune", "l1-sparse", "ssd") if f"{name} is betrayed by" in why]
    named = inside["target"].split(": ")[1]
    assert all((name in named) != (name in outside) for name in ("l1-sparse", "ssd"))


def retrained(scenario: str, seed: int, ua: float) -> list[dict]:
    steady = {"mia": 20.0, "ra": 100.0, "ta": 90.0, "gap": 1.0, "exposure": 0.5, "rte": 1.0, "rte_tuned": 1.0}
    return [row(scenario, "retrain", seed, ua=ua + off, **steady) for off in (-2.0, -1.0, 0.0, 1.0, 2.0)]


def test_the_winner_is_chosen_on_the_tuning_seed_and_judged_on_the_others() -> None:
    """The best by luck of the evaluated seeds is not the one that is held against the floor."""
    rows = [*retrained("random 10 %, choosing", TUNING_SEED, 10.0), *retrained("random 10 %", 0, 10.0)]
    like = {"mia": 20.0, "ra": 100.0, "ta": 90.0, "gap": 5.0, "exposure": 0.5, "rte": 0.1, "rte_tuned": 0.5}
    for name, seed, good, other in (
        ("random 10 %, choosing", TUNING_SEED, 10.0, 30.0),
        ("random 10 %", 0, 30.0, 10.0),
    ):
        rows.append(row(name, "chosen", seed, **{**like, "ua": good}))
        rows.append(row(name, "lucky", seed, **{**like, "ua": other}))
        rows.append(row(name, "original", seed, **{**like, "ua": 0.0, "exposure": 0.8}))
    found = {claim.name: claim for claim in sparsity_claims(rows)}
    assert found["best.random.far"].holds is False
    assert found["best.random.far"].why == "by ua"
    assert "lucky" in (found["within_floor.random.methods"].target or "")
    assert "chosen is betrayed by ua" in found["within_floor.random.methods"].why


def test_the_penalty_forgets_a_class_that_the_network_knew(records: Records) -> None:
    """On all the digits: on a quarter the network hardly learns, and what it never names would count as forgotten."""
    rows = scenario(Ground.of(records, "small"), "class", one_class, (0,), (L1Sparse(),), budget=0.6, references=1)
    before, retrained, found = (
        next(row for row in rows if row["scenario"] == "class" and row["method"] == name)
        for name in ("original", "retrain", "l1-sparse")
    )
    assert before["ua"] <= 2
    assert retrained["ua"] >= 99.5
    assert found["ua"] >= 99
    assert found["mia"] >= 99
    assert found["ra"] >= 97
    assert before["ta"] - found["ta"] <= 2


def test_a_patch_on_all_the_digits(records: Records) -> None:
    """The trojan at the marks of the spec's check 10; the penalty on eight pixels a side takes out half and more."""
    ground = Ground.of(records, "small")
    hits = {row["method"]: row for row in backdoor(ground, (0,), methods=())}
    assert hits["original"]["asr"] >= 97
    assert hits["retrain"]["asr"] <= 2
    assert hits["l1-sparse 0.003"]["asr"] < hits["original"]["asr"] / 2


@pytest.mark.slow
def test_the_dose_on_all_the_digits(records: Records) -> None:
    """On a quarter of them the study of the default run draws the same curve; here it must rise."""
    rows = doses(Ground.of(records, "small"), (0,))
    rising = {row["lr"]: row["ua"] for row in rows if row["method"] == "fine-tune"}
    assert list(rising.values()) == sorted(rising.values())
    assert rising[max(rising)] > 90 > 50 > rising[min(rising)]
    penalised = [row["ua"] for row in rows if row["method"] == "l1-sparse"]
    assert penalised == sorted(penalised)


def test_the_papers_gain_is_of_one_small_rate_and_the_tuned_ones_stand_beside_it() -> None:
    """Each gain is against the fine-tuning that its name says."""
    steady = {"mia": 100.0, "ra": 99.0, "ta": 95.0, "rte": 0.2, "rte_tuned": 1.0}
    ua = {("class", "l1-sparse"): 100.0, ("class", BARE): 90.0, ("class", "fine-tune"): 98.0}
    ua |= {(SMALL_RATE, "l1-sparse"): 99.5, (SMALL_RATE, BARE): 2.5}
    rows = [row(name, method, 0, ua=own, **steady) for (name, method), own in ua.items()]
    found = {claim.name: claim for claim in sparsity_claims(rows)}
    assert (found["ft.class.ua"].value, found["l1.class.ua"].value) == (2.5, 100.0)
    assert found["l1.gain_over_ft"].value == 97.0
    assert found["l1.gain_over_ft"].holds
    assert found["l1.gain_at_tuned_rate"].value == 10.0
    assert found["l1.gain_over_tuned_ft"].value == 2.0


def test_numbers_and_few_records_are_refused(records: Records, tmp_path: Path) -> None:
    for bad in (replace(records, targets=records.targets.float(), classes=0), records.select(range(40))):
        with pytest.raises(OperatorError):
            run_study(SparsityStudy(), Setting(bad, "bad", "small", (0,)), tmp_path)


@pytest.mark.slow
def test_the_study_on_images_of_digits(data_folder: Path, tmp_path: Path) -> None:
    from expunge.records import load

    records = load(str(data_folder / "mnist10k.npz"))
    found = run_study(SparsityStudy(), Setting(records, "mnist10k.npz", "small", (0, 1)), tmp_path)
    claims = {claim["name"]: claim for claim in found["claims"]}
    for name in ("l1.class.ua", "l1.class.ra", "l1.class.ta_loss", "backdoor.original.asr", "backdoor.l1.asr"):
        assert claims[name]["holds"], claims[name]
