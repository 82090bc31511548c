"""Golden bundles: what any version signed, every later version verifies."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import expunge_verify
from expunge.ledger import receipts

FOLDER = Path(__file__).parent / "golden"
VERSIONS = sorted(path for path in FOLDER.iterdir() if path.is_dir() and not path.name.startswith("_"))
BUNDLES = [path for version in VERSIONS for path in sorted(version.glob("*.bundle.json"))]


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize("path", BUNDLES, ids=named)
def test_every_golden_bundle_verifies(path: Path) -> None:
    key, kept = (path.with_name(name).read_text() for name in ("first-key.pem", "checkpoint"))
    report = expunge_verify.verify(path.read_bytes(), path.with_name("model.safetensors"), key, kept)
    open_ = {check.name for check in report.checks if check.holds is not True}
    assert open_ == ({"deletion"} if path.parent.name == "v1" else set()), list(report.lines())  # v1 held no proof
    assert report.receipt is not None
    assert receipts.Receipt.from_predicate(report.receipt).request.id.startswith("golden-")


@pytest.mark.parametrize("path", BUNDLES, ids=named)
def test_flipped_bits_of_golden_bundles_are_found(path: Path) -> None:
    data = path.read_bytes()
    for position in range(0, len(data), 37):
        flipped = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        assert not expunge_verify.verify(flipped).holds, position


@pytest.mark.parametrize("path", BUNDLES, ids=named)
def test_the_second_key_reaches_only_bundles_made_after_it(path: Path) -> None:
    report = expunge_verify.verify(path.read_bytes(), key=path.with_name("second-key.vkey").read_text())
    assert report.holds is ("rotation" in path.name or "new-key" in path.name)


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("golden_make", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_format_has_not_moved(tmp_path: Path) -> None:
    """The generator still gives the newest folder byte for byte; a deliberate change gets a new folder."""
    generator().make(tmp_path)
    newest = VERSIONS[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in newest.iterdir())
    for path in newest.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
