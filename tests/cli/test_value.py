"""Values in a workspace: estimated, resumed, settled, updated by a deletion; nothing that saw the leaver stays."""

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from expunge.auditing import Accuracy
from expunge.cli.main import main
from expunge.cli.value import _name as names_shown
from expunge.journey import artifacts, carry_out, lookups, valuing
from expunge.journey.workspace import Workspace
from expunge.ledger import objects
from expunge.records import Records, digits, to_bytes
from expunge.valuation import CoalitionTrainer, Exact, Permutation, owners_of, partition_of, training_game, value
from expunge.valuation import constituents as constituents_room
from expunge.valuation.storage import names_in

OWNERS = 12
ORDER = ["value", "--error", "0.03"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    capsys.readouterr()
    status = main([*words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def people() -> Records:
    """Digits of a few owners. owner-00 and owner-01 have no test record."""
    records = digits()
    numbers = [int(owner[-3:]) for owner in records.owners]
    kept = [
        row
        for row, (number, part) in enumerate(zip(numbers, records.split, strict=True))
        if number < 40 and not (part == "test" and number % OWNERS < 2)
    ]
    return replace(records.select(kept), owners=tuple(f"owner-{numbers[row] % OWNERS:02d}" for row in kept))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained workspace to copy."""
    folder = tmp_path_factory.mktemp("trained")
    file = folder / "people.safetensors"
    file.write_bytes(to_bytes(people()))
    ws = folder / "ws"
    assert main(["init", str(ws), "--data", str(file), "--epochs", "2", "--shards", "3"]) == 0
    config = ws / "expunge.toml"
    config.write_text(config.read_text().replace("shadow_models = 64", "shadow_models = 8"))
    assert main(["-w", str(ws), "train"]) == 0
    return ws


@pytest.fixture
def ws(trained: Path, tmp_path: Path) -> Path:
    """A trained workspace of one's own."""
    return Path(shutil.copytree(trained, tmp_path / "ws"))


@pytest.fixture
def one_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One audit in place of six in each deletion: no value hangs on an audit."""
    monkeypatch.setattr(carry_out, "audits_for", lambda *_: ((Accuracy(),), ()))


def constituents(ws: Path) -> tuple[list[str], np.ndarray]:
    """Names and, for each stored constituent, who it saw."""
    with Workspace.open(ws).store() as store:
        data = objects.read(store, artifacts.digest_of(store, valuing.HOLDER, "constituents"))
    names, _ = names_in(data)
    return names, np.unpackbits(load(data)["seen"], axis=1, count=len(names)).astype(bool)


@pytest.mark.usefixtures("one_audit")
def test_values_settlement_and_deletions(ws: Path, capsys: pytest.CaptureFixture[str]):
    assert run(capsys, "-w", str(ws), "settle", "--revenue", "5")[1]["error"]["code"] == "not-valued"
    for revenue in ("-1", str(2**53), "1.5", "many"):
        assert run(capsys, "-w", str(ws), "settle", "--revenue", revenue)[1]["error"]["code"] == "bad-arguments"
    status, first = run(capsys, "-w", str(ws), *ORDER)
    assert status == 0
    assert first["reached"]
    shared = first["utility_of_all"] - first["utility_of_none"]
    assert sum(line["value"] for line in first["owners"]) == pytest.approx(shared, abs=1e-9)
    again = run(capsys, "-w", str(ws), *ORDER)[1]
    assert again["trainings"] == 0 < first["trainings"]
    assert again["owners"] == first["owners"]
    sale = run(capsys, "-w", str(ws), "settle", "--revenue", "100003")[1]
    assert sum(line["payout"] for line in sale["lines"]) == 100003
    assert "owner-05" in (ws / "reports" / "values.html").read_text("utf-8")
    assert main(["-w", str(ws), *ORDER]) == main(["-w", str(ws), "settle", "--revenue", "100003"]) == 0
    for owner, how in (("owner-00", "updated"), ("owner-05", "updated, before and after measured")):
        deleted(ws, owner, how, capsys)


def that_saw(ws: Path, owner: str) -> list[bytes]:
    """Outputs of every stored constituent that saw an owner."""
    with Workspace.open(ws).store() as store:
        arrays = load(objects.read(store, kept(ws)["constituents"]))
    names, seen = constituents(ws)
    return [found.tobytes() for found in arrays["posteriors"][seen[:, names.index(owner)]]]


def gone(ws: Path, traces: list[bytes], old: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """No file of the workspace, database and journals included, holds what was computed from the leaver's records."""
    everything = b"".join(file.read_bytes() for file in sorted(ws.rglob("*")) if file.is_file())
    assert traces
    assert not any(trace in everything for trace in traces)
    for digest in {*old.values()} - {*kept(ws).values()}:
        assert run(capsys, "-w", str(ws), "fsck", "--prove-absent", digest)[1]["absent"] is True


def deleted(ws: Path, owner: str, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    traces, old = that_saw(ws, owner), kept(ws)
    before = run(capsys, "-w", str(ws), "settle", "--revenue", "100003")[1]
    outcome = run(capsys, "-w", str(ws), "forget", "--owner", owner)[1]
    bundle = Path(outcome["bundle"])
    annex = bundle.with_name(bundle.name.replace("bundle", "annex"))
    statement = json.loads(annex.read_bytes())
    assert statement["how"].startswith(how)
    assert hashlib.sha256(annex.read_bytes()).hexdigest() in signed(bundle)
    assert "owner-" not in annex.read_text()
    assert sum(line["paid_after"] for line in statement["lines"]) == 100003
    assert len(statement["lines"]) == len(before["lines"])
    assert [line["value_after"] for line in statement["lines"]].count(None) == 1
    assert run(capsys, "verify", str(bundle), "--model", outcome["model_file"])[0] == 0
    after = run(capsys, "-w", str(ws), "settle", "--revenue", "100003")[1]
    paid = {line["owner"]: line["paid_after"] for line in statement["lines"]}
    assert {line["label"]: line["payout"] for line in after["lines"]}.items() <= paid.items()
    assert owner not in {line["owner"] for line in after["lines"]}
    if how == "updated":  # same test records: the statement begins where the last one ended
        values = {line["value"] for line in before["lines"]}
        assert {line["value_before"] for line in statement["lines"]} == values
    page = (ws / "reports" / "values.html").read_text("utf-8")
    assert owner not in page
    assert "Before and after the last deletion" in page
    names, seen = constituents(ws)
    assert owner not in names
    assert seen.any(1).all()
    gone(ws, traces, old, capsys)
    close_to_truth(ws, after)


def signed(bundle: Path) -> str:
    return base64.b64decode(json.loads(bundle.read_bytes())["envelope"]["payload"]).decode()


def close_to_truth(ws: Path, settled: dict) -> None:
    """The updated values against enumeration on what is left."""
    with Workspace.open(ws).store() as store:
        records, recipe = artifacts.read_records(store), artifacts.read_recipe(store)
        halves = {line["owner"]: line["half_width"] for line in valuing.shown(store)["owners"]}
    names = owners_of(records)
    truth = value(training_game(recipe, records), partition_of(recipe, names), Exact())
    found = {line["owner"]: line["value"] for line in settled["lines"]}
    assert found.keys() == set(names)
    error = np.array(
        [abs(found[names[owner]] - truth.of(owner)) / (halves[names[owner]] + 1e-9) for owner in truth.owners]
    )
    assert np.mean(error <= 1) >= 0.8
    assert error.max() < 2


def kept(ws: Path) -> dict[str, str]:
    """Digest of everything that is kept of values."""
    with Workspace.open(ws).store() as store, store.reading() as connection:
        return objects.held(connection, valuing.HOLDER)


def command(ws: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "expunge", "-w", str(ws), *words], stderr=subprocess.DEVNULL)


def copies(ws: Path, count: int) -> list[Path]:
    return [Path(shutil.copytree(ws, ws.with_name(f"copy-{number}"))) for number in range(count)]


def a_busy_worker(driver: int) -> int:
    """A process of the driver's own cluster that is at a job; waits for one."""
    for _ in range(60_000):
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                above = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
                if above == driver and (process / "cmdline").read_bytes().startswith(b"ray::_alone"):
                    return int(process.name)
        time.sleep(0.001)
    raise AssertionError("no worker took up a job")


def left(ws: Path) -> tuple[str, bytes, list, list]:
    """What a deletion leaves that no random label is in: constituents, model, values, readings of the audits."""
    with Workspace.open(ws).store() as store:
        values = [line["value"] for line in valuing.shown(store)["owners"]]
        audits = lookups.audits(store)["audits"]
    return kept(ws)["constituents"], (ws / "model.safetensors").read_bytes(), values, audits[0]["readings"]


@pytest.mark.parametrize(
    "executor", [pytest.param("processes", marks=pytest.mark.slow), pytest.param("ray", marks=pytest.mark.ray)]
)
def test_commands_on_every_executor_keep_the_same_bytes(ws: Path, executor: str):
    """Shards, coalitions, references and shadow models, and the update."""
    pytest.importorskip("ray" if executor == "ray" else "torch", reason="the extra ray is not installed: make ray")
    alone, spread = copies(ws, 2)
    pool = ["--executor", executor, "--workers", "2"]
    for each, extra in ((alone, []), (spread, pool)):
        assert command(each, *ORDER, *extra).wait() == 0
    assert kept(alone) == kept(spread)
    assert kept(alone).keys() == {"constituents", "data", "page", "values"}
    for each, extra in ((alone, []), (spread, pool)):
        assert command(each, "forget", "--owner", "owner-00", *extra).wait() == 0
    assert left(alone) == left(spread)


@pytest.mark.ray
def test_the_command_loses_nothing_when_a_worker_of_its_cluster_is_killed(ws: Path):
    pytest.importorskip("ray", reason="the extra ray is not installed: make ray")
    alone, wounded = copies(ws, 2)
    assert command(alone, *ORDER).wait() == 0
    running = command(wounded, *ORDER, "--executor", "ray", "--workers", "2")
    os.kill(a_busy_worker(running.pid), signal.SIGKILL)
    assert running.wait() == 0
    assert kept(alone) == kept(wounded)


@pytest.mark.slow
def test_the_command_killed_at_any_time_goes_on_to_the_same_bytes(ws: Path):
    """SIGKILL, twelve times, a little later each time; then one run to the end."""
    whole, killed = copies(ws, 2)
    order = ["value", "--error", "0.002", "--budget", "600"]
    assert command(whole, *order).wait() == 0
    for number in range(12):
        running = command(killed, *order)
        with suppress(subprocess.TimeoutExpired):
            running.wait(1 + 0.25 * number)
        running.kill()
        running.wait()
    assert command(killed, *order).wait() == 0
    assert kept(killed) == kept(whole)


def test_a_portion_that_was_trained_survives_a_kill(ws: Path, monkeypatch: pytest.MonkeyPatch):
    """A round may take hours where networks are large: what it has trained is kept before it ends."""
    monkeypatch.setattr(constituents_room, "PORTION", 5)
    portions = []

    def die(*arguments: object) -> np.ndarray:
        portions.append(arguments)
        if len(portions) == 3:
            raise Killed
        return trains(*arguments)

    trains = CoalitionTrainer.__call__
    with Workspace.open(ws).store() as store:
        monkeypatch.setattr(CoalitionTrainer, "__call__", die)
        with pytest.raises(Killed):
            valuing.order_value(store, valuing.Order(error=0.03))
        assert 5 <= len(constituents(ws)[1]) <= 10
        monkeypatch.setattr(CoalitionTrainer, "__call__", trains)
        done = valuing.order_value(store, valuing.Order(error=0.03))
        assert done["trainings"] < len(constituents(ws)[1])


class Killed(Exception):
    """The process is gone."""


class Killer:
    """A progress reporter that ends the run at its first round."""

    def show(self, tick, *, final):
        if tick.figures:
            raise Killed


@pytest.mark.usefixtures("one_audit")
def test_a_killed_run_goes_on_and_records_of_an_owner_who_stays(
    ws: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    order = valuing.Order(Permutation(), error=0.001, budget=150)
    with Workspace.open(ws).store() as store:
        with pytest.raises(Killed):
            valuing.order_value(store, order, progress=Killer())
        done = valuing.order_value(store, order)
        assert not done["reached"]
        assert 0 <= done["trainings"] < len(constituents(ws)[1])
        record = artifacts.read_records(store).train.ids[0]
    names = tmp_path / "ids.txt"
    names.write_text(record + "\n")
    status, outcome = run(capsys, "-w", str(ws), "forget", "--records", str(names))
    assert status == 0
    statement = Path(outcome["bundle"].replace("bundle.", "annex."))
    assert json.loads(statement.read_bytes())["how"].startswith("estimated anew")


@pytest.mark.slow
def test_values_that_cannot_be_kept_do_not_stop_a_deletion(ws: Path, capsys: pytest.CaptureFixture[str]):
    with Workspace.open(ws).store() as store:
        valuing.order_value(store, valuing.Order(Permutation(), error=0.5))
        with store.transaction() as tx:  # as if the records had changed since
            objects.put_json(tx, {**valuing.stored(store), "data": "0" * 64}, "values", (valuing.HOLDER, "values"))
    outcome = run(capsys, "-w", str(ws), "forget", "--owner", "owner-03")[1]
    assert outcome["state"] == "closed"
    assert outcome["degraded"][0].startswith("Values: dropped")
    assert outcome["degraded"][0] in signed(Path(outcome["bundle"]))
    assert run(capsys, "-w", str(ws), "settle", "--revenue", "1")[1]["error"]["code"] == "not-valued"
    assert not (ws / "reports" / "values.html").exists()


@pytest.mark.parametrize("error", ["0", "-1", "nan", "inf"])
def test_errors_that_no_interval_has(tmp_path: Path, capsys: pytest.CaptureFixture[str], error: str):
    found = run(capsys, "-w", str(tmp_path), "value", "--error", error)[1]["error"]
    assert (found["code"], "above 0" in found["message"]) == ("bad-arguments", True)


def test_names_in_words_are_printable_and_told_apart():
    assert names_shown("ann\x1b[2J\n") == "ann\ufffd[2J\ufffd".ljust(32)
    assert names_shown("a" * 40) == "a" * 31 + "…"


def test_names_that_nobody_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for option in (["--estimator", "magic"], ["--executor", "cloud"]):
        found = run(capsys, "-w", str(tmp_path), "value", *option)[1]["error"]["code"]
        assert found in ("bad-arguments", "workspace-missing")
