"""Squared gradients layer by layer against one record after another."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from expunge.networks import CNN, MLP, ResNet
from expunge.training import CrossEntropy
from expunge.training.curvature import Diagonal, squared_gradients, true_fisher
from expunge.training.curvature.diagonal import _is_layered

LOSS = CrossEntropy()


def naive(module: nn.Module, features: Tensor, loss: Callable[[Tensor, int], Tensor]) -> Diagonal:
    module.eval()
    total = {name: torch.zeros_like(part) for name, part in module.named_parameters()}
    for row in range(len(features)):
        slopes = torch.autograd.grad(loss(module(features[row : row + 1])[0], row), list(module.parameters()))
        for name, slope in zip(total, slopes, strict=True):
            total[name] += slope.square() / len(features)
    return total


class Odd(nn.Module):
    """A parameter that stands in no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.last = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.flatten(1) * self.scale)


def networks() -> list[tuple[str, nn.Module, bool]]:
    torch.manual_seed(0)
    made = [
        ("mlp", MLP((9,)).build((1, 8, 8), 3), True),
        ("batch norm", MLP((9,), batch_norm=True).build((1, 8, 8), 3), True),
        ("cnn", CNN((2, 3), 5).build((1, 8, 8), 3), True),
        ("resnet", ResNet(2).build((1, 8, 8), 3), True),
        ("parameter outside layers", Odd(), False),
    ]
    for _, module, _ in made:
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
    return made


@pytest.mark.parametrize(("name", "module", "layered"), networks(), ids=[name for name, *_ in networks()])
def test_every_kind_of_network_meets_the_loop(name: str, module: nn.Module, layered: bool) -> None:
    assert _is_layered(module) == layered
    features, targets = torch.randn(11, 1, 8, 8).double(), torch.randint(3, (11,))
    module = module.double()
    found = squared_gradients(module, features, targets, LOSS)
    expected = naive(module, features, lambda out, row: nn.functional.cross_entropy(out[None], targets[row][None]))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("name", "module", "layered"), networks()[:3] + networks()[4:])
def test_the_fisher_matrix_is_the_mean_over_the_models_own_labels(name: str, module: nn.Module, layered: bool) -> None:
    features, module = torch.randn(7, 1, 8, 8).double(), module.double()
    shares = module.eval()(features).softmax(1).detach()
    found = true_fisher(module, features)
    expected = {key: torch.zeros_like(value) for key, value in found.items()}
    for label in range(3):
        own = naive(
            module, features, lambda out, row, label=label: -out.log_softmax(0)[label] * shares[row, label].sqrt()
        )
        expected = {key: expected[key] + own[key] for key in expected}
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-12)


def test_the_module_is_given_back_as_it_was() -> None:
    module = MLP((4,)).build((1, 8, 8), 3).train()
    squared_gradients(module, torch.randn(3, 1, 8, 8), torch.tensor([0, 1, 2]), LOSS)
    assert module.training
    assert not any(part._forward_hooks for part in module.modules())
    assert all(part.grad is None for part in module.parameters())
