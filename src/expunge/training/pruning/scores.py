"""What a weight is worth before training: the scores of pruning at initialisation."""

from copy import deepcopy

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator
from expunge.training.pruning.masks import Mask, highest, prunable

Scores = dict[str, Tensor]


def synflow(module: nn.Module, shape: tuple[int, ...], densities: tuple[float, ...]) -> Mask:
    """The mask of synaptic flow, one round for each density; in double precision, for R is a product over layers."""
    copy = deepcopy(module).double().eval()
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.abs_()
        for buffer in copy.buffers():
            if buffer.is_floating_point():
                buffer.abs_()
    weights, ones = prunable(copy), torch.ones(1, *shape, dtype=torch.float64)
    mask: Mask = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    for density in densities:
        slopes = torch.autograd.grad(copy(ones).sum(), list(weights.values()))
        scores = {
            name: torch.where(mask[name], (weight * slope).detach(), torch.full_like(slope, -1.0))
            for (name, weight), slope in zip(weights.items(), slopes, strict=True)
        }
        mask = highest(scores, density)
        with torch.no_grad():
            for name, weight in weights.items():
                weight.mul_(mask[name])
    return mask


def snip(module: nn.Module, loss: Float[Tensor, ""]) -> Scores:
    """|w dL/dw|: the change of the loss when the weight goes, to first order."""
    weights = prunable(module)
    slopes = torch.autograd.grad(loss, list(weights.values()))
    return {
        name: (weight * slope).abs().detach() for (name, weight), slope in zip(weights.items(), slopes, strict=True)
    }


def grasp(module: nn.Module, loss: Float[Tensor, ""]) -> Scores:
    """w (H g): what the squared norm of the gradient loses when the weight goes, to first order, halved."""
    weights = prunable(module)
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    square = sum(((slope * slope.detach()).sum() for slope in slopes), torch.zeros(()))
    products = torch.autograd.grad(square, list(weights.values()))
    return {
        name: (weight * product).detach() for (name, weight), product in zip(weights.items(), products, strict=True)
    }


def random_scores(module: nn.Module, seed: int, name: str) -> Scores:
    """Uniform numbers."""
    generator = torch_generator(seed, name)
    return {key: torch.rand(weight.shape, generator=generator) for key, weight in prunable(module).items()}


def balanced(targets: Shaped[Tensor, " records"], count: int, seed: int, name: str) -> Tensor:
    """Rows of a batch with as many records of each class as there are, in turn; any rows for regression.

    **Raises:** `ProgrammerError("bad-shape")` without records.
    """
    if not len(targets):
        raise ProgrammerError("bad-shape", "a batch is to be drawn from no records")
    order = torch.randperm(len(targets), generator=torch_generator(seed, name))
    if targets.is_floating_point():
        return order[:count]
    seen: dict[int, int] = {}
    ranks: list[tuple[int, int, int]] = []
    for row in order.tolist():
        label = int(targets[row])
        seen[label] = seen.get(label, 0) + 1
        ranks.append((seen[label], len(ranks), row))
    return torch.tensor([row for _, _, row in sorted(ranks)[:count]])
