"""A workspace with real records, a network and every step of the journey, as small as they come: seconds a deletion."""

from pathlib import Path

import pytest

from expunge.auditing import Accuracy
from expunge.journey import carry_out, pages
from expunge.journey.workspace import Workspace
from expunge.networks import MLP
from expunge.records import Records, digits
from expunge.training import SGD, Recipe

RECIPE = Recipe(network=MLP((4,)), optimiser=SGD(lr=0.1), epochs=1, batch_size=8)


def some_digits() -> Records:
    """Digits of 15 owners, every fourth."""
    records = digits()
    kept = sorted(set(records.owners))[:15]
    return records.select([row for row, owner in enumerate(records.owners) if owner in kept][::4])


def owners() -> list[str]:
    """Who has training records in it."""
    return sorted(set(some_digits().train.owners))


def create(folder: Path) -> Workspace:
    """The workspace, trained, with as few shadow models as there may be."""
    workspace = Workspace.create(folder, some_digits(), RECIPE, "digits")
    config = folder / "expunge.toml"
    config.write_text(config.read_text("utf-8").replace("shadow_models = 64", "shadow_models = 8"), "utf-8")
    workspace.train()
    return workspace


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longest and is tested elsewhere: most audits, and the drawing of the pages."""
    patch.setattr(carry_out, "audits_for", lambda *arguments: ((Accuracy(),), ()))
    patch.setattr(pages, "deletion_report", lambda story: f"<!doctype html><p>{story.files['bundle']}")
