"""The commands as a user types them, in one process: outcome, JSON, exit status, and that bad input changes nothing."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from expunge.cli.main import main
from expunge.journey import artifacts
from expunge.journey.workspace import Workspace
from expunge.training import Sharding

KEY = "6f0e3f0a-1111-4111-8111-000000000001"
RECIPE = ["--epochs", "3", "--shards", "4", "--slices", "2"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict, str]:
    """Exit status, the one JSON document on stdout, and stderr."""
    capsys.readouterr()
    status = main([*words, "--json"])
    captured = capsys.readouterr()
    return status, json.loads(captured.out), captured.err


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file below, but for the database's own scratch files."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in (".db-wal", ".db-shm")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained workspace with few shadow models."""
    folder = tmp_path_factory.mktemp("cli") / "ws"
    assert main(["init", str(folder), *RECIPE]) == 0
    config = folder / "expunge.toml"
    config.write_text(config.read_text().replace("shadow_models = 64", "shadow_models = 8"))
    assert main(["-w", str(folder), "train"]) == 0
    return folder


@pytest.fixture(scope="module")
def closed(ws: Path, request: pytest.FixtureRequest) -> dict:
    """The outcome of one request."""
    import contextlib
    import io

    caught = io.StringIO()
    with contextlib.redirect_stdout(caught):
        assert main(["-w", str(ws), "forget", "--owner", "owner-007", "--json"]) == 0
    return json.loads(caught.getvalue())


def test_a_request_ends_in_a_receipt_that_verifies(closed: dict, capsys: pytest.CaptureFixture[str]):
    assert closed["state"] == "closed"
    assert closed["claim"] == "exact"
    assert closed["cost"]["times_cheaper"] > 2
    status, report, _ = run(capsys, "verify", closed["bundle"], "--model", closed["model_file"])
    assert status == 0
    assert report["holds"] is True
    assert Path(closed["report"]).read_text("utf-8").startswith("<!")


def test_the_model_has_the_bytes_of_training_from_scratch(closed: dict):
    from expunge.records import digits
    from expunge.training import Recipe, Sharding, train

    records = digits()
    recipe = Recipe(epochs=3, sharding=Sharding(4, 2))
    scratch = train(recipe, records.without(records.owned_by("owner-007")))
    assert closed["model"] == scratch.model.digest
    assert Path(closed["model_file"]).read_bytes() == scratch.model.file


def test_verify_names_what_is_wrong(closed: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = Path(closed["bundle"]).read_bytes()
    broken = tmp_path / "broken.bundle.json"
    broken.write_bytes(data[:-40])
    assert run(capsys, "verify", str(broken))[0] == 40
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"not the model")
    status, report, _ = run(capsys, "verify", closed["bundle"], "--model", str(other))
    assert status == 50
    assert "model-mismatch" in json.dumps(report)
    status, report, _ = run(capsys, "verify", closed["bundle"], "--key", "0" * 64)
    assert status == 50
    assert "key-not-trusted" in json.dumps(report)


def test_status_audit_log_and_requests_speak_json(ws: Path, closed: dict, capsys: pytest.CaptureFixture[str]):
    status, found, _ = run(capsys, "-w", str(ws), "status")
    assert status == 0
    assert [request["state"] for request in found["requests"]] == ["closed"]
    assert found["owners"] == 99
    assert run(capsys, "-w", str(ws), "audit")[1]["audits"][0]["readings"]
    assert run(capsys, "-w", str(ws), "log")[1]["size"] == 1
    history = run(capsys, "-w", str(ws), "requests", "show", closed["request"])[1]["history"]
    assert [event["target"] for event in history][-1] == "closed"


def test_the_forgotten_bytes_are_nowhere_in_the_store(ws: Path, closed: dict, capsys: pytest.CaptureFixture[str]):
    status, found, _ = run(capsys, "-w", str(ws), "fsck")
    assert (status, found["problems"]) == (0, [])
    everything = b"".join(path.read_bytes() for path in ws.rglob("*") if path.is_file())
    assert b"owner-007" not in everything
    assert b"owner-008" in everything


def test_a_kept_checkpoint_is_extended(ws: Path, closed: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    kept = tmp_path / "checkpoint"
    kept.write_text(run(capsys, "-w", str(ws), "log")[1]["checkpoint"], "utf-8")
    status, found, _ = run(capsys, "-w", str(ws), "log", "check", str(kept))
    assert (status, found["old_size"], found["size"]) == (0, 1, 1)
    for wrong, words in ((tmp_path, "not a file"), (Path("/dev/zero"), "not a file"), (tmp_path / "none", "no such")):
        status, refused, _ = run(capsys, "-w", str(ws), "log", "check", str(wrong))
        assert (status, refused["error"]["code"]) == (20, "no-such-file")
        assert refused["error"]["message"].startswith(words)


def test_lookups_load_no_torch(ws: Path, closed: dict):
    commands = [["requests", "list"], ["requests", "show", closed["request"]], ["audit"], ["models"], ["log"], ["fsck"]]
    program = (
        "import sys\n"
        "from expunge.cli.main import main\n"
        f"statuses = [main(['-w', {str(ws)!r}, *words]) for words in {commands!r}]\n"
        "sys.exit(any(statuses) or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(closed["request"]) >= 3


BAD = {
    "unknown owner": (["forget", "--owner", "nobody"], "unknown-owner"),
    "neither owner nor records": (["forget"], "bad-arguments"),
    "no such file of ids": (["forget", "--records", "{tmp}/none.txt"], "no-such-file"),
    "unknown records": (["forget", "--records", "{tmp}/ids.txt"], "unknown-record"),
    "an empty file of ids": (["forget", "--records", "{tmp}/empty.txt"], "nothing-to-delete"),
    "everything": (["forget", "--records", "{tmp}/all.txt"], "delete-everything"),
    "unknown method": (["forget", "--owner", "owner-008", "--method", "magic"], "unknown-method"),
    "an epsilon of zero": (
        ["forget", "--owner", "owner-008", "--method", "certified", "--epsilon", "0"],
        "bad-hyperparameter",
    ),
    "a delta of zero": (
        ["forget", "--owner", "owner-008", "--method", "certified-head", "--delta", "0"],
        "bad-hyperparameter",
    ),
    "no such command": (["forgive"], "bad-arguments"),
    "a key that is no UUID": (["forget", "--owner", "owner-008", "--key", "x"], "bad-arguments"),
    "a pickle as a model": (["adopt", "{tmp}/model.pkl"], "not-a-model"),
    "deleting twice, by another method": (["forget", "--owner", "owner-007", "--method", "retrain"], "already-deleted"),
    "deleting twice, under a new key": (
        ["forget", "--owner", "owner-007", "--key", "6f0e3f0a-1111-4111-8111-000000000007"],
        "already-deleted",
    ),
    "deleting twice, by record": (["forget", "--records", "{tmp}/gone.txt"], "unknown-record"),
    "unknown request": (["requests", "show", "r0"], "unknown-request"),
    "a hold on a closed request": (["requests", "hold", "{request}", "--by", "me", "--reason", "late"], "illegal-move"),
}


@pytest.mark.parametrize(("words", "code"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_with_a_code_and_changes_nothing(
    words: list[str], code: str, ws: Path, closed: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    import pickle

    from expunge.records import digits

    (tmp_path / "ids.txt").write_text("digit-0001\nno-such-record\n")
    (tmp_path / "empty.txt").write_text("\n")
    records = digits()
    (tmp_path / "gone.txt").write_text("\n".join(records.owned_by("owner-007")))
    left = records.without(records.owned_by("owner-007"))
    (tmp_path / "all.txt").write_text("\n".join(left.ids))
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"weights": [1.0]}))
    before = contents(ws)
    named = [word.format(tmp=tmp_path, request=closed["request"]) for word in words]
    status, found, errors = run(capsys, "-w", str(ws), *named)
    assert found["error"]["code"] == code
    assert status == found["error"]["exit_status"]
    assert "\n" not in found["error"]["message"]
    assert "Traceback" not in errors
    assert contents(ws) == before
    assert main(["-w", str(ws), *named]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 2


def test_the_very_same_deletion_again_says_that_nothing_was_done(
    ws: Path, closed: dict, capsys: pytest.CaptureFixture[str]
):
    """A retry must find its outcome; a person who deletes twice must not take it for a second deletion."""
    before = contents(ws)
    status, again, _ = run(capsys, "-w", str(ws), "forget", "--owner", "owner-007")
    notice = again.pop("notice")
    assert (status, notice["code"]) == (0, "already-deleted")
    assert closed["request"] in notice["message"]
    assert {**again, "notice": None} == closed
    assert main(["-w", str(ws), "forget", "--owner", "owner-007"]) == 0
    assert capsys.readouterr().out.startswith("Nothing was done now: ")
    assert contents(ws) == before


def test_training_again_finds_it_done_and_writes_nothing(ws: Path, closed: dict, capsys: pytest.CaptureFixture[str]):
    before = contents(ws)
    status, found, _ = run(capsys, "-w", str(ws), "train")
    assert (status, found["model"], found["gradient_evaluations"]) == (0, closed["model"], 0)
    assert contents(ws) == before


BAD_INIT = {
    "no such file": (["--data", "{tmp}/none.csv"], "no-such-file"),
    "NaN": (["--data", "{tmp}/nan.csv", "--target", "y"], "bad-data"),
    "text where numbers belong": (["--data", "{tmp}/text.csv", "--target", "y"], "bad-data"),
    "wrong target column": (["--data", "{tmp}/good.csv", "--target", "z"], "bad-data"),
    "unknown network": (["--network", "transformer"], "unknown-network"),
    "a module without parameters": (["--network", "torch.nn:Flatten"], "no-parameters"),
    "images for a table": (["--data", "{tmp}/good.csv", "--target", "y", "--network", "cnn"], "bad-shape"),
    "a batch of one for batch-norm": (["--network", "resnet", "--batch-size", "1"], "batch-of-one"),
    "no learning rate": (["--lr", "0"], "bad-hyperparameter"),
    "epochs without end": (["--epochs", "1e12"], "bad-hyperparameter"),
    "infinite epochs": (["--epochs", "inf"], "bad-hyperparameter"),
    "one record of each class": (["--data", "{tmp}/two.csv", "--target", "y"], "bad-data"),
    "more shards than owners": (["--shards", "101"], "bad-hyperparameter"),
    "more slices than owners": (["--slices", "99999"], "bad-hyperparameter"),
}


@pytest.mark.parametrize(("words", "code"), BAD_INIT.values(), ids=BAD_INIT.keys())
def test_init_refuses_and_leaves_no_folder(
    words: list[str], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = [f"{i},{i % 3},{i % 2}" for i in range(40)]
    (tmp_path / "good.csv").write_text("a,b,y\n" + "\n".join(rows))
    (tmp_path / "nan.csv").write_text("a,b,y\nNaN,1,0\n" + "\n".join(rows))
    (tmp_path / "text.csv").write_text("a,b,y\noops,1,0\n" + "\n".join(rows))
    (tmp_path / "two.csv").write_text("a,b,y\n1,2,0\n3,4,1\n")
    status, found, _ = run(capsys, "init", str(tmp_path / "ws"), *[word.format(tmp=tmp_path) for word in words])
    assert (found["error"]["code"], status) == (code, found["error"]["exit_status"])
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("name", [b"t\xff\xfe.csv", "t\n\u202e.csv".encode()], ids=["no UTF-8", "not printable"])
def test_a_file_of_any_name_is_read_and_named_readably(name: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
    Path(source).write_text("a,b,y\n" + "\n".join(f"{i},{i % 3},{i % 2}" for i in range(40)))
    status, found, _ = run(capsys, "init", str(tmp_path / "ws"), "--data", source, "--target", "y")
    assert (status, found["data"]) == (0, "t\ufffd\ufffd.csv")


@pytest.mark.parametrize("name", [b"w\xff", "a #?%41 ü".encode()], ids=["no UTF-8", "of a URL"])
def test_a_workspace_stands_in_a_folder_of_any_name(name: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
    assert main(["init", folder]) == 0
    assert main(["-w", folder, "status"]) == 0
    assert "1797 records" in capsys.readouterr().out
    assert os.listdir(os.fsencode(tmp_path)) == [name]


def test_init_says_how_many_networks_nobody_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    status, found, _ = run(capsys, "init", str(tmp_path / "ws"), "--shards", "100")
    with Workspace.open(tmp_path / "ws").store() as store:
        owners = set(artifacts.read_records(store).train.owners)
    served = {Sharding(100).place(owner)[0] for owner in owners}
    assert (status, found["untrained_networks"]) == (0, 100 - len(served))
    assert main(["init", str(tmp_path / "other"), "--shards", "100"]) == 0
    assert f"{100 - len(served)} of them have no owner" in capsys.readouterr().out


def test_an_existing_workspace_is_never_overwritten(ws: Path, capsys: pytest.CaptureFixture[str]):
    before = contents(ws)
    assert run(capsys, "init", str(ws))[1]["error"]["code"] == "workspace-exists"
    assert contents(ws) == before


def test_a_folder_of_something_else_is_never_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "thesis.tex").write_text("precious")
    assert run(capsys, "init", str(tmp_path))[1]["error"]["code"] == "workspace-exists"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_no_workspace_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(capsys, "-w", str(tmp_path), "status")[1]["error"]["code"] == "workspace-missing"


EMPIRICAL = (
    "l1-sparse",
    "salun",
    "scrub",
    "neg-grad-plus",
    "random-labels",
    "amun",
    "boundary-shrink",
    "bad-teacher",
    "ssd",
    "influence",
    "fisher-forgetting",
    "gradient-ascent",
)


def test_methods_and_doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    names = {method["name"]: method["claim"] for method in run(capsys, "methods")[1]["methods"]}
    assert names == {
        **dict.fromkeys(("retrain", "sharded", "downdate", "repair"), "exact"),
        **dict.fromkeys(
            ("certified", "certified-head", "noisy-fine-tuning", "output-perturbation", "langevin"), "certified"
        ),
        **dict.fromkeys(("fine-tune", "newton", "rewind-and-descend", *EMPIRICAL), "empirical"),
    }
    status, found, _ = run(capsys, "-w", str(tmp_path), "doctor")
    assert (status, found["problems"]) == (0, [])


def test_the_same_command_after_a_kill_carries_on_the_same_request(
    closed: dict, ws: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from expunge.journey.steps import ModelSteps

    same, filed = ("-w", str(ws), "forget", "--owner", "owner-021", "--key", KEY), len(requests(ws, capsys))

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ModelSteps, "audit", killed)
        assert main([*same]) == 130
    done = run(capsys, *same)[1]
    assert (done["state"], done["notice"]) == ("closed", None), "carried on now, not found done"
    assert [each["state"] for each in requests(ws, capsys)] == ["closed"] * (filed + 1)


def requests(ws: Path, capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return list(run(capsys, "-w", str(ws), "status")[1]["requests"])


@pytest.fixture(scope="module")
def keyed(ws: Path) -> tuple[str, ...]:
    """A command with an idempotency key, carried out."""
    command = ("forget", "--owner", "owner-021", "--key", KEY)
    assert main(["-w", str(ws), *command]) == 0
    return command


def test_a_key_that_was_used_for_somebody_else_is_refused(
    keyed: tuple[str, ...], ws: Path, capsys: pytest.CaptureFixture[str]
):
    """Else the earlier person's receipt would be handed out for a person whose records are all still here."""
    first, before = run(capsys, "-w", str(ws), *keyed)[1], contents(ws)
    status, error, _ = run(capsys, "-w", str(ws), "forget", "--owner", "owner-022", "--key", KEY)
    assert (status, error["error"]["code"]) == (10, "key-reused")
    assert contents(ws) == before
    again = run(capsys, "-w", str(ws), *keyed)[1]
    assert (again["request"], again["state"]) == (first["request"], "closed")


def test_a_kill_after_the_close_is_caught_up(keyed: tuple[str, ...], ws: Path, capsys: pytest.CaptureFixture[str]):
    """Killed between the close and the page: the owner is unknown by then, the log and the page still come."""
    same, done = keyed, run(capsys, "-w", str(ws), *keyed)[1]
    page, checkpoint = Path(done["report"]), ws / "log" / "checkpoint"
    wanted = checkpoint.read_bytes()
    for command in (("forget", "--owner", "owner-021"), ("requests", "resume"), same):
        page.unlink()
        checkpoint.unlink()
        answer = run(capsys, "-w", str(ws), *command)[1]
        assert page.is_file()
        assert checkpoint.read_bytes() == wanted
    assert answer["request"] == done["request"]


def test_record_ids_come_from_a_regular_file(ws: Path, capsys: pytest.CaptureFixture[str]):
    status, error, _ = run(capsys, "-w", str(ws), "forget", "--records", "/dev/zero")
    assert (status, error["error"]["code"]) == (20, "bad-data")


def test_a_folder_of_somebody_elses_keys_is_no_workspace_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "expunge.db").write_text("somebody else's")
    _, error, _ = run(capsys, "init", str(tmp_path), *RECIPE)
    assert error["error"]["code"] == "workspace-exists"
    assert [path.name for path in tmp_path.iterdir()] == ["expunge.db"]


def test_a_request_is_shown_in_words(closed: dict, ws: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    assert main(["-w", str(ws), "requests", "show", closed["request"]]) == 0
    shown = capsys.readouterr().out
    assert closed["request"] in shown
    assert "close" in shown


def test_a_search_by_digest_says_what_it_cannot_see(ws: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    main(["-w", str(ws), "fsck", "--prove-absent", hashlib.sha256(b"nowhere").hexdigest()])
    assert "Not searched: the inside of larger objects" in capsys.readouterr().out


def test_a_red_teams_copies_meet_the_gate_at_the_command_line(
    ws: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file, own = tmp_path / "copies.safetensors", "owner-011"
    asked = ["attack", "blended-copies", "--as", own, "--budget", "5", "--targets", "1", "--unlearner", "first-order"]
    status, shown, _ = run(capsys, *asked, "--submit", str(file))
    assert status == 0
    assert shown["submitted"] == str(file)
    assert shown["targets"][0]["copies"]
    before = contents(ws)
    for words, code in (
        (["--owner", own, "--copies", str(file)], "altered-copy"),
        (["--owner", "owner-012", "--copies", str(file)], "not-owner"),
        (["--owner", own, "--copies", str(tmp_path / "none.npz")], "no-such-file"),
        (["--owner", own, "--copies", str(tmp_path / "a.csv")], "bad-arguments"),
        (["--owner", own, "--copies", str(file), "--provable"], "bad-arguments"),
    ):
        status, refused, _ = run(capsys, "-w", str(ws), "forget", *words)
        assert status != 0
        assert refused["error"]["code"] == code
    assert contents(ws) == before


def test_salts_are_destroyed_for_good(ws: Path, closed: dict, capsys: pytest.CaptureFixture[str]):
    status, found, _ = run(capsys, "-w", str(ws), "forget-salt", closed["request"])
    assert (status, found["destroyed"]) == (0, closed["forgotten"])
    status, refused, _ = run(capsys, "-w", str(ws), "forget", "--owner", "owner-007")
    assert (status, refused["error"]["code"]) == (10, "unknown-owner"), "nothing tells any more that they were here"
