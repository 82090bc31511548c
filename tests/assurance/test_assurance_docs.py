"""docs/assurance.md runs as it stands: a second case, another domain."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from expunge.assurance import read
from expunge.cli.main import main
from expunge.journey.casework import CHECKS

DOCS = Path(__file__).parents[2] / "docs"


def test_every_check_is_in_the_docs() -> None:
    text = (DOCS / "assurance.md").read_text("utf-8")
    assert all(f"| `{name}` |" in text for name in CHECKS)


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "assurance.md").read_text("utf-8")
    ((source, block),) = re.findall(r"## 1\..*?```yaml\n(.*?)```.*?```\n(.*?)```", text, re.DOTALL)
    Path("cheques.yaml").write_text(source, "utf-8")
    for line in block.splitlines():
        words = shlex.split(line)
        if words[0] == "cp":
            shutil.copy(*words[1:])
            continue
        if "forget" in words:
            toml = Path("ws/expunge.toml")
            toml.write_text(toml.read_text("utf-8").replace("shadow_models = 64", "shadow_models = 8"), "utf-8")
        assert main([*words[1:], "--json"]) == 0, (line, capsys.readouterr().out)
        found = json.loads(capsys.readouterr().out)
        if words[-1] == "check":
            assert found["verdict"] == "undermined"
            assert found["fallen"] == ["G-writers", "G-forgery"]
            assert len(found["ran"]) == 3
    receipt = json.loads(Path(found["bundle"]).read_text("utf-8"))
    assert receipt
    assert found["case"]["checks"]["all"] == 3
    assert "G-forgery" in found["case"]["words"]
    page = Path(found["case"]["page"]).read_text("utf-8")
    assert "What changed" in page
    assert "<script" not in page
    assert read(Path("ws/case.yaml").read_text("utf-8")).defeaters[0].answer
    written = {path.name for path in Path("case-out").iterdir()}
    assert written == {"case.html", "case.svg", "case.md", "case.json", "case.cdx.json"}
