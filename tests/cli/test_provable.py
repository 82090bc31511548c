"""A provable deletion as people type it: commit, challenge, verify in a process of its own; and what each refuses."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from expunge.auditing import Accuracy
from expunge.cli.main import main
from expunge.cli.verify import _work
from expunge.journey import carry_out
from expunge.verification import submission_from_bytes, submission_to_bytes


def run(*words: str) -> tuple[int, dict]:
    """Exit status and the one JSON document."""
    caught = io.StringIO()
    with contextlib.redirect_stdout(caught):
        status = main([*words, "--json"])
    return status, json.loads(caught.getvalue())


class Proved:
    """A workspace with one provable deletion that was carried out."""

    def __init__(
        self,
        folder: Path,
        *more: str,
        shape: tuple[str, ...] = ("--epochs", "3", "--shards", "2"),
        before: Callable[[str], object] = str,
    ) -> None:
        """`before`: called with the workspace when the nonce is drawn and nothing has been run."""
        self.ws, self.retained = str(folder / "ws"), str(folder / "retained.bin")
        assert main(["init", self.ws, *shape]) == 0
        config = folder / "ws" / "expunge.toml"
        config.write_text(config.read_text().replace("shadow_models = 64", "shadow_models = 8"))
        assert main(["-w", self.ws, "train"]) == 0
        self.old_root = run("-w", self.ws, "status")[1]["data_root"]
        status, self.filed = run("-w", self.ws, "forget", "--owner", "owner-007", "--provable", *more)
        assert status == 0
        self.request = self.filed["request"]
        self.early = run("-w", self.ws, "requests", "show", self.request)[1]["state"]
        self.book = str(folder / "nonces.jsonl")
        status, drawn = run("nonce", self.filed["commitment_file"], "--book", self.book)
        assert status == 0
        self.nonce = drawn["nonce"]
        before(self.ws)
        words = ("-w", self.ws, "challenge", self.request, "--nonce", self.nonce, "--retained", self.retained)
        status, self.done = run(*words)
        assert status == 0

    def verify(self, *more: str) -> tuple[int, dict]:
        return run("verify", self.done["bundle"], "--records", self.retained, "--replay", *more)

    def verify_elsewhere(self, folder: Path, *more: str) -> tuple[int, dict]:
        """In a process and a folder of its own, with nothing but what the protocol grants."""
        folder.mkdir()
        names = {"r.bundle.json": self.done["bundle"], "p": self.done["proof"], "k": self.retained, "b": self.book}
        for name, source in {**names, "m": self.done["model_file"]}.items():
            (folder / name).write_bytes(Path(source).read_bytes())
        words = "verify r.bundle.json --records k --proof p --model m --replay --book b --json --old-root"
        command = [sys.executable, "-m", "expunge", *words.split(), self.old_root, *more]
        found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert found.stdout, found.stderr
        return found.returncode, json.loads(found.stdout)


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Proved:
    return Proved(tmp_path_factory.mktemp("provable"))


def test_nothing_is_trained_before_the_nonce(proved: Proved) -> None:
    assert proved.early == "verified"
    assert proved.filed["nonce"] is None
    assert len(proved.filed["commitment"]) == 64
    assert proved.done["state"] == "closed"
    assert proved.done["method"] == "provable"


def test_a_process_of_its_own_verifies_with_what_it_was_granted(proved: Proved, tmp_path: Path) -> None:
    status, report = proved.verify_elsewhere(tmp_path / "granted", "--owner", "owner-007")
    assert status == 0, report
    assert report["holds"]
    found = report["replay"]
    assert found["work_share"] <= 0.1
    assert found["tolerance"]["value"] == 0
    assert found["degraded"] == []
    assert found["claim"] == "exact"


@pytest.mark.slow
def test_certified_deletions_are_replayed_whole_with_noise_that_nobody_chose(tmp_path: Path) -> None:
    own = Proved(tmp_path, "--method", "certified", shape=("--certifiable",))
    status, report = own.verify_elsewhere(tmp_path / "granted")
    assert status == 0, report
    assert report["replay"]["claim"] == "certified"
    assert "whoever knows the noise" in report["replay"]["proves"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["retrain", "fine-tune", "noisy-fine-tuning", "output-perturbation", "newton"])
def test_every_kind_of_method_from_the_command_line(tmp_path: Path, name: str) -> None:
    own = Proved(tmp_path, "--method", name, shape=("--epochs", "3"))
    status, report = own.verify_elsewhere(tmp_path / "granted")
    assert status == 0, report
    kinds = {
        "retrain": "exact",
        "fine-tune": "empirical",
        "newton": "empirical",
    }  # a step without noise certifies nothing
    assert report["replay"]["claim"] == kinds.get(name, "certified")
    given = submission_from_bytes(Path(own.done["proof"]).read_bytes())
    file = tmp_path / "granted" / "p"
    file.write_bytes(submission_to_bytes(replace(given, model=given.start or given.model[:-1])))
    assert own.verify("--proof", str(file))[0] == 50


def test_what_the_verifier_kept_is_held_against_the_proof(proved: Proved, tmp_path: Path) -> None:
    """Another root than before the request, a book that drew for something else, two draws for these records."""
    status, report = proved.verify("--old-root", "0" * 64)
    assert status == 50
    assert "data root kept" in report["replay"]["checks"][0]["message"]
    (tmp_path / "empty").write_bytes(b"")
    status, report = proved.verify("--book", str(tmp_path / "empty"))
    assert status == 50
    assert "book of nonces" in report["replay"]["checks"][0]["message"]
    assert proved.verify("--book", proved.book, "--nonce", "x")[1]["error"]["code"] == "bad-arguments"
    for words in (("--old-root", "abc"), ("--work", "nan")):
        assert proved.verify(*words)[1]["error"]["code"] == "bad-arguments"
    assert proved.verify("--book", str(tmp_path / "none"))[1]["error"]["code"] == "no-such-file"
    line = json.loads(Path(proved.book).read_bytes())
    other = json.dumps({**line, "commitment": "0" * 64, "nonce": "n-0"}, separators=(",", ":"), sort_keys=True)
    (tmp_path / "two").write_text(Path(proved.book).read_text() + other + "\n")
    status, report = proved.verify("--book", str(tmp_path / "two"))
    assert status == 0
    assert any("2 nonces were drawn" in note for note in report["replay"]["degraded"])


def test_the_verdict_in_words_says_what_was_proven(proved: Proved, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", proved.done["bundle"], "--records", proved.retained, "--replay", "--book", proved.book]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "Claim exact. Proven: the model is what training on the retained records alone gives" in shown
    assert "Every check holds." in shown


def test_what_was_replayed_is_said_of_each_kind() -> None:
    """A short method has no segments: zero of zero would say that nothing was looked at."""
    found = {"replayed": 0, "segments": 0, "work_share": 0.25, "would_find": {"0.1": 1.0}, "replayed_whole": True}
    found["tolerance"] = {"value": 0.0, "source": "same platform"}
    assert _work(found)[::2] == [
        "Replayed the whole method, 25.0% of retraining's gradients.",
        "No part of the method was left to chance.",
    ]
    sampled = {**found, "replayed": 12, "segments": 120, "would_find": {"0.1": 0.5}, "replayed_whole": False}
    assert _work(sampled)[0] == "Replayed 12 of 120 segments, 25.0% of retraining's gradients."
    assert "probability 0.50" in _work(sampled)[2]
    assert _work({**sampled, "replayed": 0}) == ["Nothing was replayed."]


def test_the_receipt_states_the_commitment_and_claims_no_replay(proved: Proved) -> None:
    report = run("verify", proved.done["bundle"])[1]
    assert report["holds"]
    shown = run("-w", proved.ws, "requests", "show", proved.request)[1]
    assert shown["steps"]["unlearn"]["parameters"]["nonce"] == proved.nonce
    assert shown["steps"]["unlearn"]["parameters"]["commitment"] == proved.filed["commitment"]


def test_a_wrong_nonce_model_or_file_is_named(proved: Proved, tmp_path: Path) -> None:
    status, report = proved.verify("--nonce", "other")
    assert status == 50
    assert [check["name"] for check in report["replay"]["checks"] if check["holds"] is False] == ["draw"]
    commitment = tmp_path / "other.json"
    commitment.write_text("{}")
    status, report = proved.verify("--commitment", str(commitment))
    assert status == 50
    assert "commitment kept" in report["replay"]["checks"][0]["message"]
    broken = tmp_path / "broken.proof"
    data = bytearray(Path(proved.done["proof"]).read_bytes())
    data[-1000] ^= 1
    broken.write_bytes(data)
    status, report = proved.verify("--proof", str(broken))
    assert status == 40
    assert report["error"]["code"] == "bad-proof"
    for file, code in ((tmp_path / "none", "no-such-file"), (tmp_path, "io-error"), ("/dev/zero", "bad-data")):
        assert proved.verify("--proof", str(file))[1]["error"]["code"] == code
    assert proved.verify("--threads", "65")[1]["error"]["code"] == "bad-arguments", "so many could end the process"


def test_what_the_receipt_does_not_bind_is_named_before_anything_else_is_used(proved: Proved, tmp_path: Path) -> None:
    given = submission_from_bytes(Path(proved.done["proof"]).read_bytes())
    made = given.commitment
    fewer = {**made.deletion, "deleted": made.deletion["deleted"][1:], "places": made.deletion["places"][1:]}
    changes = {
        "data root before": replace(given, commitment=replace(made, old_root="0" * 64)),
        "data root after": replace(given, commitment=replace(made, root="0" * 64)),
        "model": replace(given, model=given.model + b"x"),
        "nonce": replace(given, nonce="another"),
        "method": replace(given, commitment=replace(made, method={"kind": "FineTune", "epochs": 1.0})),
        "commitment": replace(given, commitment=replace(made, every=made.every + 1)),
        "deletion proof": replace(given, commitment=replace(made, deletion=fewer)),
        "deleted records": replace(given, commitment=replace(made, deletion=fewer)),
    }
    file = tmp_path / "changed.proof"
    for name, changed in changes.items():
        file.write_bytes(submission_to_bytes(changed))
        status, report = proved.verify("--proof", str(file))
        assert status == 50
        (check,) = report["replay"]["checks"]
        assert name in check["message"].removeprefix("receipt and proof differ: ").split(", ")


def test_a_claimed_platform_is_met_or_said(proved: Proved, tmp_path: Path) -> None:
    """As many threads as the provider says: bytes. Another number: a tolerance, and the verdict says why."""
    found = proved.verify("--nonce", proved.nonce)[1]["replay"]
    assert found["tolerance"]["value"] == 0
    assert any("--model" in note for note in found["degraded"])
    assert any("No commitment was kept" in note for note in found["degraded"])
    found = proved.verify("--threads", "2")[1]["replay"]
    assert found["tolerance"]["value"] > 0
    assert any("another platform" in note for note in found["degraded"])
    assert any("nonce is the receipt's" in note for note in found["degraded"])


def test_one_commitment_takes_one_nonce(proved: Proved) -> None:
    status, report = run("-w", proved.ws, "challenge", proved.request, "--nonce", "n-2")
    assert (status, report["error"]["code"]) == (20, "nonce-used")
    again = run("-w", proved.ws, "challenge", proved.request, "--nonce", proved.nonce)[1]
    assert again["model"] == proved.done["model"]


def test_replay_and_records_belong_together(proved: Proved) -> None:
    assert run("verify", proved.done["bundle"], "--replay")[1]["error"]["code"] == "bad-arguments"


def test_the_next_deletion_makes_the_commitment_stale_and_erases_the_proof(
    proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One audit in place of six for the two deletions that follow: commitments hang on none of them."""
    monkeypatch.setattr(carry_out, "audits_for", lambda *_: ((Accuracy(),), ()))
    ws, kept = str(tmp_path / "ws"), str(tmp_path / "kept.bin")
    shutil.copytree(proved.ws, ws)
    proof = tmp_path / "ws" / "proofs" / Path(proved.done["proof"]).name
    assert proof.exists()
    waiting = run("-w", ws, "forget", "--owner", "owner-010", "--provable", "--method", "fine-tune")[1]
    for nonce, code in ((" ", "nonce-missing"), ("z" * 1025, "bad-arguments"), ("\udcff", "bad-arguments")):
        assert run("-w", ws, "challenge", waiting["request"], "--nonce", nonce)[1]["error"]["code"] == code
    plain = run("-w", ws, "forget", "--owner", "owner-011")[1]
    assert not proof.exists()
    words = ("verify", plain["bundle"], "--records", proved.retained, "--replay")
    assert run(*words)[1]["error"]["code"] == "bad-arguments"
    os.mkfifo(tmp_path / "pipe")
    for place, code in (("ws/store.db", "bad-arguments"), ("pipe", "bad-arguments"), ("none/kept", "no-such-file")):
        words = ("-w", ws, "challenge", waiting["request"], "--nonce", "n-3", "--retained", str(tmp_path / place))
        assert run(*words)[1]["error"]["code"] == code, "neither taken nor written over"
    words = ("-w", ws, "challenge", waiting["request"], "--retained", kept, "--nonce")
    before = run("-w", ws, "log")[1]["size"]
    assert run(*words, "n-3")[1]["error"]["code"] == "commitment-stale"
    assert run("-w", ws, "log")[1]["size"] == before + 2, "the nonce that came, and the commitment that stands now"
    assert run(*words, "n-3")[1]["error"]["code"] == "nonce-used", "it was known before the commitment that stands now"
    done = run(*words, "n-4")[1]
    assert done["state"] == "closed"
    assert any("model as it stood before" in note for note in done["degraded"])
    status, report = run("verify", done["bundle"], "--records", kept, "--replay", "--nonce", "n-4")
    assert status == 0, report
    assert run("-w", ws, "fsck")[0] == 0
    assert run("-w", ws, "challenge", plain["request"], "--nonce", "n")[1]["error"]["code"] == "illegal-move"


@pytest.mark.slow
def test_two_draws_on_two_copies_of_a_workspace_fork_the_log(tmp_path: Path) -> None:
    """Each verifier has a book of their own: their books, the kept checkpoint and the file in use tell them apart."""
    first = Proved(tmp_path, before=lambda ws: shutil.copytree(ws, tmp_path / "copy"))
    other = str(tmp_path / "copy")
    words = ("challenge", first.request, "--nonce", "another", "--retained", str(tmp_path / "other.bin"))
    done = run("-w", other, *words)[1]
    replay = ("verify", done["bundle"], "--replay", "--records", str(tmp_path / "other.bin"))
    assert run(*replay, "--nonce", "another")[0] == 0
    status, report = run(*replay, "--book", first.book)
    assert status == 50
    assert [check["name"] for check in report["replay"]["checks"] if check["holds"] is False] == ["draw"]
    for words in (("--checkpoint", first.ws + "/log/checkpoint"), ("--model", first.done["model_file"])):
        assert run("verify", done["bundle"], *words)[0] == 50
