import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from expunge.errors import ProgrammerError
from expunge.networks import CNN, MLP, Imported, InPython, Network, ResNet, initialise, needs_two_records, state_of

USERS_MODULE = """
from torch import nn

def small(width=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 10))

def empty():
    return nn.Flatten()

def fails():
    raise RuntimeError("no\\nluck")

def text():
    return "a network"

def needs(argument):
    return nn.Linear(1, argument)

number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "users_networks.py").write_text(USERS_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "users_networks", raising=False)
    return "users_networks"


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (MLP((64,)), 64 * 64 + 64 + 64 * 10 + 10),
        (MLP(()), 64 * 10 + 10),
        (MLP((8,), batch_norm=True), 64 * 8 + 8 + 2 * 8 + 8 * 10 + 10),
        (CNN((4, 6), hidden=5), 25 * 4 + 4 + 25 * 4 * 6 + 6 + (6 * 4) * 5 + 5 + 5 * 10 + 10),
    ],
)
def test_sizes_are_as_by_hand(network: Network, parameters: int):
    built = initialise(network, (1, 8, 8), 10, seed=0, name="n")
    assert sum(parameter.numel() for parameter in built.parameters()) == parameters


def test_documented_size_of_the_default_cnn():
    built = initialise(CNN(), (1, 28, 28), 10, seed=0, name="n")
    assert sum(parameter.numel() for parameter in built.parameters()) == 114_314


def test_resnet_of_one_block_has_eight_layers_on_its_longest_path():
    built = initialise(ResNet(width=4), (3, 16, 16), 10, seed=0, name="n")
    convolutions = [part for part in built.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)]
    assert len(convolutions) + 1 == 8


@pytest.mark.parametrize("network", [MLP((5,)), CNN((2, 2), hidden=3), ResNet(width=2)])
@pytest.mark.parametrize(("shape", "classes"), [((1, 8, 8), 10), ((3, 28, 28), 2), ((3, 32, 32), 0)])
def test_outputs_fit_the_classes(network: Network, shape: tuple[int, ...], classes: int):
    outputs = initialise(network, shape, classes, seed=0, name="n").eval()(torch.zeros(4, *shape))
    assert outputs.shape == (4, classes or 1)


@pytest.mark.parametrize("network", [MLP((5,)), CNN((2, 2)), ResNet(width=2)])
def test_initial_weights_depend_on_seed_and_name_alone(network: Network):
    def weights(seed: int, name: str) -> torch.Tensor:
        built = initialise(network, (1, 8, 8), 10, seed=seed, name=name)
        return torch.cat([tensor.flatten() for tensor in state_of(built).values()])

    first = weights(3, "shard/1")
    torch.manual_seed(99)
    torch.rand(5)
    assert weights(3, "shard/1").equal(first)
    assert not weights(3, "shard/2").equal(first)
    assert not weights(4, "shard/1").equal(first)


def test_the_global_generator_is_left_as_it_was():
    state = torch.random.get_rng_state()
    initialise(MLP(), (4,), 2, seed=0, name="n")
    assert torch.random.get_rng_state().equal(state)


@pytest.mark.parametrize("network", [CNN(), ResNet()])
@pytest.mark.parametrize("shape", [(10,), (8, 8), (1, 2, 3, 4)])
def test_convolutions_need_images(network: Network, shape: tuple[int, ...]):
    with pytest.raises(ProgrammerError, match="height, width") as caught:
        initialise(network, shape, 10, seed=0, name="n")
    assert caught.value.code == "bad-shape"


@pytest.mark.parametrize(
    ("network", "needed"),
    [
        (MLP((4,)), False),
        (MLP((4,), batch_norm=True), True),
        (CNN((2, 2)), False),
        (ResNet(width=2), True),
        (InPython(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.LayerNorm(4))), False),
        (InPython(lambda: nn.Sequential(nn.Sequential(nn.SyncBatchNorm(1)))), True),
        (InPython(lambda: nn.Sequential(nn.LazyBatchNorm1d(), nn.Linear(1, 1))), True),
    ],
)
def test_batch_normalisation_is_found(network: Network, needed: bool):
    assert needs_two_records(network.build((1, 8, 8), 10)) == needed


def test_batch_normalisation_does_break_on_one_record():
    """What `needs_two_records` protects from."""
    with pytest.raises(ValueError, match="more than 1 value"):
        MLP((4,), batch_norm=True).build((3,), 2).train()(torch.zeros(1, 3))


def test_a_users_factory_is_called_with_its_arguments(module: str):
    built = initialise(Imported(f"{module}:small", {"width": 5}), (1, 8, 8), 10, seed=1, name="n")
    assert built(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert built[1].out_features == 5
    again = initialise(Imported(f"{module}:small", {"width": 5}), (1, 8, 8), 10, seed=1, name="n")
    assert again[1].weight.equal(built[1].weight)


@pytest.mark.parametrize(
    ("factory", "code", "words"),
    [
        ("users_networks", "unknown-network", "neither a known network nor module:factory"),
        ("users_networks:none", "unknown-network", "cannot import"),
        ("no_such_module_here:make", "unknown-network", "cannot import"),
        (":make", "unknown-network", "neither a known network"),
        ("users_networks:", "unknown-network", "neither a known network"),
        ("..:make", "unknown-network", "cannot import"),
        ("users_networks:number", "unknown-network", "is not callable"),
        ("users_networks:fails", "unknown-network", "failed: RuntimeError: no luck"),
        ("users_networks:needs", "unknown-network", "failed: TypeError"),
        ("users_networks:text", "unknown-network", "returned a str"),
        ("users_networks:empty", "no-parameters", "no parameters"),
    ],
)
def test_factories_that_do_not_work_are_refused_in_one_line(module: str, factory: str, code: str, words: str):
    with pytest.raises(ProgrammerError, match=words) as caught:
        initialise(Imported(factory), (1, 8, 8), 10, seed=0, name="n")
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_a_module_that_fails_on_import_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "broken_networks.py").write_text("1 / 0")
    (tmp_path / "unparsed_networks.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("broken_networks", "unparsed_networks"):
        with pytest.raises(ProgrammerError) as caught:
            initialise(Imported(f"{name}:make"), (1, 8, 8), 10, seed=0, name="n")
        assert caught.value.code == "unknown-network"
