"""Monotone by construction: for any parameters, in the named inputs and in no other."""

import pytest
import torch
from torch import nn

from expunge.errors import ProgrammerError
from expunge.networks import MonotoneMLP, SignedLinear


def _random(network: MonotoneMLP, seed: int) -> nn.Module:
    """Any parameters at all, far from where training starts."""
    module, generator = network.build((5,), 0), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(3 * torch.randn(parameter.shape, generator=generator))
    return module.double().requires_grad_(False)


@pytest.mark.parametrize("hidden", [(), (16,), (16, 1), (12, 9, 1)])
def test_outputs_move_one_way_whatever_the_parameters_are(hidden: tuple[int, ...]) -> None:
    for seed in range(10):
        module, generator = _random(MonotoneMLP(hidden, (0, 3), (1,)), seed), torch.Generator().manual_seed(seed)
        x = 4 * torch.randn(500, 5, generator=generator, dtype=torch.float64)
        up = torch.rand(500, 5, generator=generator, dtype=torch.float64) * torch.tensor([1.0, -1, 0, 1, 0])
        assert float((module(x + up) - module(x)).min()) >= -1e-9


def test_other_inputs_are_free_and_the_network_is_not_only_convex() -> None:
    network = MonotoneMLP((16,), (0,))
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)[:, None] * torch.eye(5, dtype=torch.float64)[0]
    bends, slopes = set(), set()
    for seed in range(20):
        module = _random(network, seed)
        bends |= set(module(x)[:, 0].diff(n=2).sign().tolist())
        slopes |= set(module(x.roll(1, 1))[:, 0].diff().sign().tolist())
    assert {-1.0, 1.0} <= bends
    assert {-1.0, 1.0} <= slopes


def test_a_last_layer_of_one_is_a_floor() -> None:
    module = _random(MonotoneMLP((16, 1), (0,)), 0)
    x = 1e4 * torch.randn(1000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    last = module[-1]
    assert isinstance(last, SignedLinear)
    assert float(module(x).min()) == float(last.bias[0])


@pytest.mark.parametrize(("rising", "falling"), [((5,), ()), ((0,), (0,)), ((), (-1,)), ((1, 1), ())])
def test_places_that_are_not_there_or_twice_are_refused(rising: tuple[int, ...], falling: tuple[int, ...]) -> None:
    with pytest.raises(ProgrammerError) as caught:
        MonotoneMLP((4,), rising, falling).build((5,), 0)
    assert caught.value.code == "bad-hyperparameter"
