"""One scene for all tests of the room."""

import pytest
from verified_scenes import Scene, scene

from expunge.records import Records


@pytest.fixture(scope="session")
def small(few: Records) -> Records:
    """The digits of 20 owners."""
    kept = sorted(set(few.owners))[:20]
    return few.select([row for row, owner in enumerate(few.owners) if owner in kept])


@pytest.fixture(scope="session")
def the_scene(small: Records) -> Scene:
    return scene(small, [small.train.owners[0], small.train.owners[40]])
