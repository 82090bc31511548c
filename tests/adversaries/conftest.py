"""One small provable deletion for every attack on it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "verification"))

from verified_scenes import Scene, scene

from expunge.records import Records
from expunge.verification import Proven


@pytest.fixture(scope="session")
def place(few: Records) -> Scene:
    kept = sorted(set(few.owners))[:20]
    small = few.select([row for row, owner in enumerate(few.owners) if owner in kept])
    return scene(small, [small.train.owners[0], small.train.owners[40]])


@pytest.fixture(scope="session")
def honest(place: Scene) -> Proven:
    """An honest run under the nonce n1."""
    return place.prove("n1")
