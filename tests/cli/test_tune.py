"""`forget --tune`: the recipe chosen is in the receipt, all trials in the request's record; the cost is of both."""

import json
from base64 import b64decode
from pathlib import Path

import pytest

from expunge.cli.main import main
from expunge.journey.tuning import parted
from expunge.records import Records


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    capsys.readouterr()
    status = main([*words, "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    assert main(["init", str(folder), "--epochs", "3"]) == 0
    config = folder / "expunge.toml"
    config.write_text(config.read_text().replace("shadow_models = 64", "shadow_models = 8"))
    assert main(["-w", str(folder), "train"]) == 0
    return folder


def test_what_was_chosen_is_kept_and_paid_for(ws: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--tune"], ["--tune", "--method", "retrain"], ["--tune", "--method", "ssd", "--provable"]):
        status, error = run(capsys, "-w", str(ws), "forget", "--owner", "owner-007", *wrong)
        assert status != 0
        assert error["error"]["code"] in ("bad-arguments", "method-unfit")
    status, done = run(capsys, "-w", str(ws), "forget", "--owner", "owner-007", "--method", "ssd", "--tune")
    assert status == 0
    assert (done["method"], done["claim"]) == ("ssd", "empirical")
    tuned = done["tuning"]
    assert len(tuned["trials"]) >= 2
    assert tuned["method"] in [trial["method"] for trial in tuned["trials"]]
    assert done["cost"]["gradient_evaluations"] > tuned["evaluations"] > 0
    chosen = {key: value for key, value in tuned["method"].items() if key != "kind"}
    assert run(capsys, "verify", done["bundle"], "--model", done["model_file"])[0] == 0
    statement = json.loads(b64decode(json.loads(Path(done["bundle"]).read_text())["envelope"]["payload"]))
    assert statement["predicate"]["method"] == {"name": "ssd", "parameters": chosen}
    _, shown = run(capsys, "-w", str(ws), "requests", "show", done["request"])
    assert shown["steps"]["unlearn"]["tuning"] == tuned


def test_the_audit_sees_no_record_that_tuning_saw(records: Records) -> None:
    seen, left = parted(records)
    assert not set(seen.ids) & set(left.ids)
    assert {*seen.ids, *left.ids} == set(records.test.ids)
    assert parted(records)[0].ids == seen.ids
