"""The standalone verifier as a command and as a file: what it prints, what it imports, what it costs."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import expunge_verify
from expunge.ledger import signatures

SOURCE = Path(expunge_verify.__file__)
NAMES = [
    "bundle",
    "signature",
    "key-trusted",
    "inclusion",
    "consistency",
    "model-file",
    "deletion",
    "receipt-complete",
    "not-covered",
]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "expunge_verify", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True)


@pytest.fixture
def files(desk: Any, model: Path, tmp_path: Path) -> dict[str, Path]:
    desk.file(2)
    contents = {
        "r.bundle.json": desk.bundle(),
        "key.pem": signatures.public_pem(desk.key.public).encode(),
        "old": desk.notes[0].encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents} | {"model": model}


def test_the_command_says_ok_and_what_failed(files: dict[str, Path]) -> None:
    asked = ["--model", files["model"], "--key", files["key.pem"], "--checkpoint", files["old"]]
    done = run(files["r.bundle.json"], *asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"(?m)^ok +(\S+)", done.stdout) == NAMES
    assert "not covered: backups" in done.stdout
    files["model"].write_bytes(b"another model")
    done = run(files["r.bundle.json"], *asked)
    assert done.returncode == 50
    assert re.findall(r"(?m)^FAILED +(\S+) +(\S+):", done.stdout) == [("model-file", "model-mismatch")]
    assert done.stdout.endswith("NOT VERIFIED\n")


def test_the_command_speaks_json(files: dict[str, Path]) -> None:
    done = run(files["r.bundle.json"], "--json")
    report = json.loads(done.stdout)
    assert report["holds"] is True
    assert report["exit_status"] == done.returncode == 0
    assert [check["name"] for check in report["checks"]] == NAMES


def test_several_bundles_get_a_line_each_and_the_worst_status(files: dict[str, Path], tmp_path: Path) -> None:
    good, broken, missing = files["r.bundle.json"], tmp_path / "broken", tmp_path / "missing"
    broken.write_bytes(good.read_bytes()[:-1])
    done = run(good, good, "--key", files["key.pem"])
    assert (done.returncode, done.stdout.count("ok      verified: request ")) == (0, 2)
    assert done.stdout.endswith("verified: 2 of 2 bundles\n")
    done = run(missing, good, broken)
    assert done.returncode == 40
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["FAILED", "ok", "FAILED", "NOT"]
    assert done.stdout.endswith("NOT VERIFIED: 2 of 3 bundles\n")
    assert "file-unreadable" in done.stdout
    assert "bundle-truncated" in done.stdout
    plain = json.loads(run(missing, good, "--json").stdout)
    assert (plain["holds"], plain["exit_status"]) == (False, 20)
    assert [(each["bundle"], each["holds"]) for each in plain["bundles"]] == [("missing", False), (good.name, True)]


@pytest.mark.parametrize("flag", ["bundle", "--model", "--key", "--checkpoint"])
def test_a_missing_file_is_one_line_and_status_20(files: dict[str, Path], tmp_path: Path, flag: str) -> None:
    missing = tmp_path / "missing"
    done = run(missing) if flag == "bundle" else run(files["r.bundle.json"], flag, missing)
    assert done.returncode == 20
    assert "file-unreadable" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    folder = run(tmp_path) if flag == "bundle" else run(files["r.bundle.json"], flag, tmp_path)
    assert folder.returncode == 20


def test_any_terminal_and_any_file_name_will_do(files: dict[str, Path], tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9\n\x1b[2J")
    odd.write_bytes(files["r.bundle.json"].read_bytes()[:-1])
    for path, status in ((odd, 40), (tmp_path / os.fsdecode(b"\xff"), 20)):
        for coding in ("ascii", "utf-8"):
            line = [sys.executable, "-m", "expunge_verify", path]
            done = subprocess.run(line, capture_output=True, env=os.environ | {"PYTHONIOENCODING": coding})
            assert (done.returncode, done.stderr) == (status, b"")
            assert b"\x1b" not in done.stdout


def test_it_imports_cryptography_and_the_standard_library_only() -> None:
    imported = set()
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).split(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


def test_it_works_when_copied_away_from_the_package(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / "check.py"
    copy.write_bytes(SOURCE.read_bytes())
    code = (
        f"import sys, runpy; sys.argv = ['check', {str(files['r.bundle.json'])!r}]\n"
        "class Only:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] not in {*sys.stdlib_module_names, 'cryptography', '_cffi_backend'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Only())\n"
        f"runpy.run_path({str(copy)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "verified" in done.stdout


@pytest.mark.parametrize("module", ["expunge_verify", "expunge.ledger.receipts", "expunge.ledger.bundle"])
def test_imports_are_light(module: str) -> None:
    code = f"import sys, {module}; print([m for m in sys.modules if m.split('.')[0] in {HEAVY!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HEAVY = ("torch", "numpy", "sklearn", "sqlalchemy", "cryptography", "argparse", "typer", "jinja2")

CHILD = """
import re, resource, sys
import expunge_verify
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
status = expunge_verify.main([sys.argv[1]])
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
sys.exit(0 if status in (40, 50) and peak < 200 * 1024 else f"status {status}, {peak} kB")
"""


def heavy(good: bytes) -> dict[str, bytes]:
    plain = json.loads(good)
    hashes = ["A" * 43 + "="] * 200_000
    earlier = [{"size": 1, "root": hashes[0], "proof": []}] * 60_000
    wide = {**plain, "inclusion": {"index": 0, "proof": hashes}}
    long = {**plain, "envelope": {**plain["envelope"], "payload": "A" * (15 << 20)}}
    return {
        "deep": b"[" * (16 << 20) + b"}",
        "wide proof": expunge_verify.canonical(wide),
        "many earlier states": expunge_verify.canonical({**plain, "consistency": earlier}),
        "many keys": expunge_verify.canonical({**plain, "keys": hashes}),
        "many rotations": expunge_verify.canonical({**plain, "rotations": [plain["envelope"]] * 8_000}),
        "long payload": expunge_verify.canonical(long),
        "long checkpoint": expunge_verify.canonical({**plain, "checkpoint": "a" * (15 << 20)}),
        "signatures in a checkpoint": expunge_verify.canonical(
            {**plain, "checkpoint": plain["checkpoint"] + "\u2014 a AAAAAAAA\n" * 4000}
        ),
        "beyond the cap": b'"' + b"a" * (64 << 20) + b'"}',
    }


@pytest.mark.parametrize("kind", list(heavy(b'{"envelope":{},"checkpoint":"","inclusion":{}}')))
def test_heavy_bundles_are_refused_within_200_mb_and_5_s(desk: Any, tmp_path: Path, kind: str) -> None:
    desk.file(3)
    path = tmp_path / "heavy"
    path.write_bytes(heavy(desk.bundle())[kind])
    done = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-300:]


def test_a_proof_that_is_all_places_is_left_at_its_first_missing_hash() -> None:
    """A hundred thousand places in a tree of 2^53 - 1 leaves: counting all that is missing would take many seconds."""
    asked = []

    class Counted(tuple):
        __slots__ = ()

        def __getitem__(self, key):  # type: ignore[no-untyped-def]
            asked.append(key)
            return super().__getitem__(key)

    places = Counted(range(0, 2**53 - 1, (2**53 - 1) // 100_000))[:100_000]
    proof = expunge_verify.DeletionProof(2**53 - 1, Counted(places), (b"x" * 32,) * len(places), ())
    asked.clear()
    assert not proof.joins(b"a" * 32, b"b" * 32)
    assert len(asked) < 10_000
