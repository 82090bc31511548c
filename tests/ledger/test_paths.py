"""Paths from outside stay inside."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expunge.errors import AttackSuspected
from expunge.ledger import paths

HOSTILE = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../x",
    "a/..",
    "a/../b",
    "./a",
    "a/.",
    "a//b",
    "a/",
    "a\\b",
    "C:\\x",
    "C:x",
    "a\0b",
    "a\nb",
    "\x7f",
    "a" * 2000,
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_paths_are_refused(text: str):
    with pytest.raises(AttackSuspected) as caught:
        paths.relative(text)
    assert caught.value.code == "unsafe-path"


@pytest.mark.parametrize("text", ["a", "a/b.json", "receipts/r1.bundle.json", "..a", "a..b", ".hidden", "ü/é"])
def test_plain_paths_are_taken(text: str, tmp_path: Path):
    assert paths.inside(tmp_path, text) == tmp_path / text


@given(text=st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "a", "", "/", "\\"])).map("/".join))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_taken_is_inside(text: str, tmp_path: Path):
    try:
        found = paths.inside(tmp_path, text)
    except AttackSuspected:
        return
    root = os.path.normpath(tmp_path)
    assert os.path.commonpath([os.path.normpath(found), root]) == root
    assert os.path.normpath(found) != root


@pytest.mark.parametrize("text", ["link", "link/x", "folder/link/x"])
def test_links_are_refused_wherever_they_stand(text: str, tmp_path: Path):
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path)
    (root / "folder" / "link").symlink_to(tmp_path)
    with pytest.raises(AttackSuspected):
        paths.inside(root, text)


def test_digests():
    assert paths.digest("0a" * 32) == "0a" * 32
    for text in ("0A" * 32, "0a" * 31, "0a" * 32 + "\n", "../" + "0" * 61, "０" * 64):
        with pytest.raises(AttackSuspected):
            paths.digest(text)
