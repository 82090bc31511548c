"""A memorised model, a sharded one, and a broken one; see `scenes`."""

from dataclasses import replace

import pytest
import torch
from scenes import RECIPE, SHARDED, Scene, noisy, scene

from expunge.networks import MLP
from expunge.records import Records
from expunge.training import Model


@pytest.fixture(scope="session")
def memorised(records: Records) -> Scene:
    data = noisy(records, 400)
    return scene(RECIPE, data, data.train.ids[:80])


@pytest.fixture(scope="session")
def sharded(records: Records) -> Scene:
    """An owner in one of three shards."""
    data = noisy(records, 400)
    return scene(SHARDED, data, tuple(i for i in data.owned_by(data.train.owners[0]) if i in data.train.row_of))


@pytest.fixture(scope="session")
def quick(records: Records) -> Scene:
    """Small, and soon trained: for what does not hang on the figures."""
    data = noisy(records, 150)
    return scene(replace(RECIPE, network=MLP((16,)), epochs=8), data, data.train.ids[:30])


@pytest.fixture
def broken(quick: Scene) -> Model:
    """A model whose weights are not numbers."""
    (state,) = quick.exact.constituents
    return replace(quick.exact, constituents=({name: tensor * torch.nan for name, tensor in state.items()},))
