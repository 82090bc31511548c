"""docs/verify.md says what the verifier does: sections, codes, names, fields, and the commands to do it by hand."""

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import expunge_verify

SOURCE = Path(expunge_verify.__file__).read_text()
PAGE = (Path(__file__).parents[2] / "docs" / "verify.md").read_text()
GOLDEN = Path(__file__).parent / "golden" / "v1"


def test_every_section_of_the_code_is_a_section_of_the_page() -> None:
    sections = re.findall(r"(?m)^# --- (\d\. [^-]+?) -+$", SOURCE)
    assert len(sections) == 8
    assert re.findall(r"(?m)^## (\d\. .+)$", PAGE) == sections


def test_every_code_stands_in_the_table() -> None:
    rows = re.findall(r"(?m)^\| `([a-z-]+)` \| (\d+) \| (.+) \|$", PAGE)
    assert {code: (int(status), text) for code, status, text in rows} == expunge_verify.CODES


def test_every_code_is_used_and_every_use_has_a_code() -> None:
    used = set(re.findall(r'Refused\(\s*"([a-z-]+)"', SOURCE)) | set(re.findall(r', "([a-z]+-[a-z-]+)"\)', SOURCE))
    assert used | {"ok", "file-unreadable"} == set(expunge_verify.CODES)


def test_every_public_name_is_explained() -> None:
    names = set()
    for node in ast.parse(SOURCE).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    assert [name for name in sorted(names) if not name.startswith("_") and f"`{name}" not in PAGE] == []


def test_every_field_of_a_receipt_is_described() -> None:
    fields = re.findall(r"(?m)^\| `([a-z_]+)` \|", PAGE.partition("## 5.")[2].partition("## 6.")[0])
    assert sorted(fields) == sorted([*expunge_verify.PREDICATE, "not_covered"])


def test_every_check_is_described() -> None:
    report = expunge_verify.verify((GOLDEN / "exact.bundle.json").read_bytes())
    rows = re.findall(r"(?m)^\| `([a-z-]+)` \| .+ \| (.+) \|$", PAGE.partition("## 7.")[2].partition("## 8.")[0])
    assert [name for name, _ in rows] == [check.name for check in report.checks]
    assert {code for _, codes in rows for code in re.findall(r"`([a-z-]+)`", codes)} == set(expunge_verify.CODES) - {
        "ok",
        "not-asked",
        "not-reached",
    }


TOOLS = ("openssl", "jq", "xxd", "sha256sum", "bash")


@pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")
@pytest.mark.parametrize("name", ["exact", "certified", "exact-after-rotation"])
def test_the_commands_of_the_page_give_the_same_answer(tmp_path: Path, name: str) -> None:
    script = PAGE.partition("## By hand")[2].partition("```sh\n")[2].partition("```")[0]
    environment = os.environ | {
        "BUNDLE": str(GOLDEN / f"{name}.bundle.json"),
        "MODEL": str(GOLDEN / "model.safetensors"),
    }
    done = subprocess.run(["bash", "-eu", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Signature Verified Successfully") == 2
    assert "in the log\n" in done.stdout
    assert done.stdout.endswith("the model\n")
