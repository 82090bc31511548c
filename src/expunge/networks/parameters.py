"""Parameters as one flat vector, and back."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.errors import ProgrammerError

State = dict[str, Tensor]
"""A network's named parameters and buffers, detached, on the CPU."""


@dataclass(frozen=True)
class Layout:
    """Where each parameter stands in the flat vector: names, shapes, in the module's own order. Buffers stay out."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @property
    def size(self) -> int:
        """Length of the flat vector."""
        return sum(shape.numel() for shape in self.shapes)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, " parameters"]:
        """Named parameters (or their gradients) as one vector; other names are left out."""
        return torch.cat([tensors[name].reshape(-1) for name in self.names])

    def unflatten(self, vector: Float[Tensor, "*batch parameters"]) -> dict[str, Tensor]:
        """The inverse of `flatten`: views into `vector`, leading dimensions kept."""
        parts = vector.split([shape.numel() for shape in self.shapes], dim=-1)
        lead = vector.shape[:-1]
        return {n: p.reshape(*lead, *s) for n, p, s in zip(self.names, parts, self.shapes, strict=True)}


def layout(module: nn.Module) -> Layout:
    """The layout of a module's parameters.

    **Raises:** `ProgrammerError("no-parameters")`.
    """
    named = list(module.named_parameters())
    if not named:
        raise ProgrammerError("no-parameters", f"{type(module).__name__} has no parameters to train")
    return Layout(tuple(name for name, _ in named), tuple(parameter.shape for _, parameter in named))


def state_of(module: nn.Module) -> State:
    """A detached CPU copy of all parameters and buffers."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
