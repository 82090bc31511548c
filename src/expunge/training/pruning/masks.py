"""Masks: which weights are there. A pruned weight is an exact zero, and training holds it there."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from expunge.networks import State

Mask = dict[str, Tensor]
"""For each prunable weight, by name: True where it stays."""

PRUNED_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
"""Layers whose weights can go; biases and normalisation stay."""


def prunable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of convolutions and linear layers, by name, in the module's own order."""
    layers = [name for name, part in module.named_modules() if isinstance(part, PRUNED_LAYERS)]
    own = dict(module.named_parameters())
    wanted = [f"{name}.weight" if name else "weight" for name in layers]
    return {name: own[name] for name in wanted if name in own and own[name].requires_grad}


def masks(module: nn.Module) -> Mask:
    """The masks that the weights themselves show."""
    return {name: parameter.detach() != 0 for name, parameter in prunable(module).items()}


def sparsity_of(module: nn.Module) -> float:
    """Share of the prunable weights that is zero."""
    found = masks(module).values()
    total = sum(mask.numel() for mask in found)
    return 1 - sum(int(mask.sum()) for mask in found) / total if total else 0.0


def highest(scores: Mapping[str, Tensor], density: float) -> Mask:
    """Keep this share of all the weights together, those that score highest; of equals the earlier stay."""
    flat = torch.cat([score.reshape(-1) for score in scores.values()])
    kept = round(density * len(flat))
    chosen = torch.zeros(len(flat), dtype=torch.bool)
    chosen[torch.argsort(flat, descending=True, stable=True)[:kept]] = True
    parts = chosen.split([score.numel() for score in scores.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}


def masked(state: State, mask: Mask) -> State:
    """The state with the weights that go set to zero."""
    return {name: value * mask[name] if name in mask else value for name, value in state.items()}


@dataclass(frozen=True, eq=False)
class Held:
    """The zeros of a network that a step must not move.

    Gradients are masked before the optimiser sees them, and so is the momentum of a snapshot: momentum and weight
    decay then leave a zero where it is.
    """

    pairs: tuple[tuple[nn.Parameter, Tensor], ...]

    @staticmethod
    def of(module: nn.Module, *, sparse: bool) -> "Held":
        """The zeros that `module` has now; none where the recipe does not prune."""
        found = masks(module) if sparse else {}
        return Held(tuple((parameter, found[name]) for name, parameter in prunable(module).items() if name in found))

    def mask_gradients(self) -> None:
        """Call between the backward pass and the step."""
        for parameter, mask in self.pairs:
            if parameter.grad is not None:
                parameter.grad.mul_(mask)

    def mask_optimiser(self, optimiser: torch.optim.Optimizer) -> None:
        """Call once after an optimiser's state was loaded."""
        for parameter, mask in self.pairs:
            for value in optimiser.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == mask.shape:
                    value.mul_(mask)
