"""Shapes are checked at run time, and small real problems are shared."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Before anything imports the package: every shape annotation in it is checked while the tests run.
ROOMS = ("records", "networks", "training", "unlearning", "auditing", "verification", "adversaries", "valuation")
_hook = install_import_hook([f"expunge.{room}" for room in ROOMS], "runtime_types.check")

from expunge.networks import MLP  # noqa: E402
from expunge.records import Records, digits  # noqa: E402
from expunge.training import SGD, Recipe, Sharding, Trained, train  # noqa: E402

ROOT = Path(__file__).parent.parent


def elsewhere(variable: str, folder: str) -> Path:
    """The folder of data from elsewhere, or a skip that says what is missing."""
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / folder))
    if not path.is_dir():
        pytest.skip(f"{variable} names no folder and ../shared/{folder} is not there")
    return path


@pytest.fixture(scope="session")
def data_folder() -> Path:
    return elsewhere("EXPUNGE_DATA", "data")


@pytest.fixture(scope="session")
def vectors_folder() -> Path:
    return elsewhere("EXPUNGE_VECTORS", "vectors")


@pytest.fixture(scope="session")
def records() -> Records:
    return digits()


@pytest.fixture(scope="session")
def few(records: Records) -> Records:
    """The digits of 40 owners: quick to train on."""
    kept = sorted(set(records.owners))[:40]
    return records.select([row for row, owner in enumerate(records.owners) if owner in kept])


SMALL = Recipe(network=MLP((16,)), optimiser=SGD(lr=0.1), epochs=4, batch_size=16)


@pytest.fixture(scope="session")
def plain_model(few: Records) -> Trained:
    return train(SMALL, few)


@pytest.fixture(scope="session")
def sharded_recipe() -> Recipe:
    return Recipe(SMALL.network, SMALL.optimiser, epochs=4, batch_size=16, sharding=Sharding(shards=5, slices=3))


@pytest.fixture(scope="session")
def sharded_model(few: Records, sharded_recipe: Recipe) -> Trained:
    return train(sharded_recipe, few)


@pytest.fixture(scope="session")
def small_recipe() -> Recipe:
    return SMALL


@pytest.fixture
def owner_in(few: Records) -> Callable[[str], tuple[str, ...]]:
    """Record ids of an owner who has records in the named part."""

    def find(part: str) -> tuple[str, ...]:
        owners = [who for who, where in zip(few.owners, few.split, strict=True) if where == part]
        return few.owned_by(owners[0])

    return find
