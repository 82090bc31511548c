"""Documentation is tested: generated pages are fresh, links lead somewhere, public things are documented."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

from expunge.cli import reference

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", ["cli.md", "errors.md", "api.md"])
def test_generated_pages_are_fresh(name: str):
    assert (ROOT / "docs" / name).read_text("utf-8") == reference.pages()[name], "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page: Path):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("room", reference.ROOMS)
def test_every_public_name_has_a_docstring(room: str):
    package = importlib.import_module(f"expunge.{room}")
    things = {name: getattr(package, name) for name in package.__all__}
    bare = [n for n, thing in things.items() if inspect.isclass(thing) and not inspect.getdoc(thing)]
    bare += [n for n, thing in things.items() if inspect.isfunction(thing) and not inspect.getdoc(thing)]
    for name, thing in things.items():
        if inspect.isclass(thing):
            own = [(n, m) for n, m in vars(thing).items() if inspect.isfunction(m) and not n.startswith("_")]
            bare += [f"{name}.{n}" for n, method in own if not inspect.getdoc(method)]
    assert not bare


def test_every_command_has_help_and_an_example():
    text = reference.cli_page()
    for section in text.split("\n## ")[1:]:
        assert "    expunge" in section.split("| option")[0], section.splitlines()[0]


def test_commands_in_the_readme_exist():
    known = set(re.findall(r"^## (\S+)", reference.cli_page(), re.MULTILINE))
    used = set(re.findall(r"^    expunge (?:-w \S+ )?([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert used
    assert used <= known


def test_the_threat_model_names_tests_that_exist():
    text = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|") and not line.startswith(("| ---", "| threat"))]
    assert len(rows) >= 10
    for row in rows:
        tests = re.findall(r"`(tests/[\w/.]+)::(\w+)`", row)
        assert tests, f"no test in: {row}"
        for path, name in tests:
            assert f"def {name}(" in (ROOT / path).read_text("utf-8"), f"{path}::{name}"
