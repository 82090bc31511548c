import pytest
import torch
from torch import nn

from expunge.errors import ProgrammerError
from expunge.networks import CNN, MLP, Network, ResNet, initialise, layout, state_of

NETWORKS = [MLP((7,)), MLP((), batch_norm=True), MLP((5, 6), batch_norm=True), CNN((2, 3), hidden=4), ResNet(width=2)]
SHAPE, CLASSES = (1, 8, 8), 10


@pytest.fixture(params=NETWORKS, ids=repr)
def module(request: pytest.FixtureRequest) -> nn.Module:
    return initialise(request.param, SHAPE, CLASSES, seed=0, name="n")


def test_flat_vector_and_back(module: nn.Module):
    plan, named = layout(module), dict(module.named_parameters())
    vector = plan.flatten(named)
    assert vector.shape == (plan.size,) == (sum(parameter.numel() for parameter in module.parameters()),)
    assert vector.equal(nn.utils.parameters_to_vector(module.parameters())), "the order is torch's own"
    back = plan.unflatten(vector)
    assert back.keys() == named.keys()
    assert all(back[name].equal(named[name]) for name in named)


def test_flattening_what_was_unflattened_is_the_vector(module: nn.Module):
    plan = layout(module)
    vector = torch.randn(plan.size, generator=torch.Generator().manual_seed(1))
    assert plan.flatten(plan.unflatten(vector)).equal(vector)


def test_leading_dimensions_are_kept(module: nn.Module):
    plan = layout(module)
    stack = torch.randn(3, 2, plan.size, generator=torch.Generator().manual_seed(1))
    parts = plan.unflatten(stack)
    assert all(part.shape == (3, 2, *shape) for part, shape in zip(parts.values(), plan.shapes, strict=True))
    assert plan.flatten({name: part[2, 1] for name, part in parts.items()}).equal(stack[2, 1])


def test_unflatten_gives_views(module: nn.Module):
    vector = torch.zeros(layout(module).size)
    next(iter(layout(module).unflatten(vector).values())).fill_(1)
    assert vector.sum() > 0


def test_buffers_stay_out_of_the_vector_and_in_the_state():
    module = initialise(MLP((5,), batch_norm=True), SHAPE, CLASSES, seed=0, name="n")
    assert not any("running" in name for name in layout(module).names)
    assert any("running" in name for name in state_of(module))
    both = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    assert layout(module).flatten(both).numel() == layout(module).size


def test_gradients_flatten_in_the_same_order(module: nn.Module):
    plan = layout(module)
    features = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(2))
    module(features).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    parts = plan.unflatten(plan.flatten(gradients))
    assert all(parts[name].equal(gradients[name]) for name in plan.names)


def test_vectors_of_another_length_are_refused():
    plan = layout(nn.Linear(2, 2))
    with pytest.raises(RuntimeError):
        plan.unflatten(torch.zeros(plan.size + 1))


def test_state_is_a_copy():
    module = nn.Linear(2, 2)
    state = state_of(module)
    before = state["weight"].clone()
    with torch.no_grad():
        module.weight.zero_()
    assert state["weight"].equal(before)
    assert not state["weight"].requires_grad


@pytest.mark.parametrize("empty", [nn.Flatten(), nn.Sequential(), nn.ReLU(), nn.BatchNorm1d(3, affine=False)])
def test_modules_without_parameters_are_refused(empty: nn.Module):
    with pytest.raises(ProgrammerError) as caught:
        layout(empty)
    assert caught.value.code == "no-parameters"


def test_each_reference_network_is_a_network():
    assert all(isinstance(network, Network) for network in NETWORKS)
