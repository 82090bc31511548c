"""What people read: every command of a workspace in words, through a request that derived models hold up."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

import real_workspace
from expunge.cli.main import main
from expunge.journey import requests
from expunge.journey.workspace import Workspace

OWNER, OTHER, THIRD, *_ = real_workspace.owners()
BY = ("--by", "J. Doe", "--reason", "as agreed")
Say = Callable[..., str]


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words") / "ws"
    real_workspace.create(folder)
    return folder


@pytest.fixture
def say(ws: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run a command in the workspace and return what it prints; a refusal's one line with its code."""
    real_workspace.hurry(monkeypatch)

    def spoken(*words: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main(["-w", str(ws), *words]) == status
        captured = capsys.readouterr()
        text = captured.out if status == 0 else captured.err
        assert text.strip()
        assert not [bad for bad in ("Traceback", "None", "{'", OWNER, OTHER, THIRD) if bad in text]
        assert all(line.isprintable() for line in text.splitlines())
        return text

    return spoken


def only_open(ws: Path) -> str:
    with Workspace.open(ws).store() as store, store.reading() as connection:
        (found,) = requests.list_all(connection, ["verified", "receipted"])  # type: ignore[list-item]
    return found.id


def derived(say: Say, ws: Path, name: str, *parent: str) -> str:
    """Records a derived model; returns its digest."""
    (ws.parent / name).write_bytes(name.encode())
    assert "Recorded:" in say("derive", str(ws.parent / name), "--kind", "distilled", *parent)
    digest = hashlib.sha256(name.encode()).hexdigest()
    assert f"{digest}  distilled    in use" in say("models")
    return digest


def test_a_request_waits_for_derived_models_until_each_is_retired_or_exempt(say: Say, ws: Path):
    first = derived(say, ws, "student")
    assert "receipted" in say("forget", "--owner", OWNER)
    request = only_open(ws)
    shown = say("requests", "show", request)
    assert f"waits for {first}" in shown
    assert "may follow: exempt" in shown
    assert "waits for 1 derived models" in say("requests", "resume")
    assert "[unknown-model]" in say("retire", "0" * 64, status=20)
    assert "[unsafe-path]" in say("retire", "../x", status=40)
    second = derived(say, ws, "grandchild", "--parent", first)
    assert "no longer in use" in say("retire", first, "--replaced-by", second)
    assert "waits for 1 derived models" in say("requests", "resume")
    assert "[reason-missing]" in say("requests", "exempt", request, second, "--by", "J", "--reason", " ", status=20)
    assert "is receipted" in say("requests", "exempt", request, second, *BY)
    assert f"{request}  closed" in say("requests", "resume")
    assert "[illegal-move]" in say("requests", "exempt", request, second, *BY, status=20)
    assert "retired" in say("models")
    assert "no longer in use" in say("retire", second), "else it holds up the next request"
    own = next(line.split()[0] for line in say("models").splitlines() if "unlearned" in line)
    assert "[illegal-move]" in say("retire", own, status=20)


def test_decisions_are_said_with_state_and_deadline(say: Say, ws: Path):
    assert "is committed to" in say("forget", "--owner", OTHER, "--provable")
    request = only_open(ws)
    assert "[names-a-person]" in say("requests", "pause", request, "--by", "J", "--reason", f"for {OTHER}", status=20)
    assert "its clock stands" in say("requests", "pause", request, *BY)
    assert "[illegal-move]" in say("requests", "pause", request, "--by", "K", "--reason", "again", status=20)
    assert "its clock stands" not in say("requests", "unpause", request, "--by", "J. Doe")
    before, after = say("requests", "list"), say("requests", "extend", request, *BY)
    assert after.split("due ")[1][:10] not in before
    assert "[illegal-move]" in say("requests", "hold", request, *BY, status=20)
    assert "[unknown-reason]" in say("requests", "deny", request, "--denial", "whim", *BY, status=20)
    assert "is cancelled" in say("requests", "cancel", request)
    assert "is cancelled" in say("requests", "cancel", request), "the same decision again is the same decision"
    assert "may follow: nothing" in say("requests", "show", request)
    say("forget", "--owner", OTHER, "--provable")
    assert "is denied" in say("requests", "deny", only_open(ws), "--denial", "no_match", *BY)
    assert "[unknown-request]" in say("requests", "cancel", "r0", status=20)
    for words in (["forget", OTHER], ["forget-salt", OTHER], ["requests", "show", OTHER], ["derive", "f", OTHER]):
        say(*words, status=20)  # a name in the wrong place is not repeated


def test_every_other_command_speaks_in_words(say: Say, ws: Path):
    done = say("forget", "--owner", THIRD)
    request = done.split()[1].rstrip(":")
    for part in ("records deleted by retrain", "Cost ", "Audit ", "Model ", "Receipt ", "Report ", "Anyone can check"):
        assert part in done
    assert "[names-a-person]" in say("forget-salt", request, "--reason", f"by {THIRD}, it was asked", status=20)
    assert "[bad-arguments]" in say("forget-salt", request, "--owner", THIRD, status=20)
    assert f"salts of request {request} are destroyed" in say("forget-salt", "--owner", THIRD)
    assert "[unknown-owner]" in say("forget-salt", "--owner", THIRD, status=10)
    bundle = ws / "receipts" / f"{request}.bundle.json"
    expected = {
        ("status",): f"{request}  closed",
        ("requests", "list"): f"{request}  closed",
        ("requests", "show", request): "-> closed",
        ("audit",): f"{request}: 3 readings",
        ("log",): "receipts, root ",
        ("fsck",): "Nothing is wrong.",
        ("verify", str(bundle)): "signature",
        ("rotate-key",): "the old private key is gone",
        ("doctor",): "Nothing is wrong.",
        ("methods",): "Train from scratch",
        ("screen", request): "",
    }
    for words, phrase in expected.items():
        assert phrase in say(*words)
