"""Multilayer perceptron that is monotone in chosen inputs whatever its parameters are: signs by construction.

Every hidden neuron rises or falls with what the chosen inputs mean, and every weight's sign follows from the two ends
that it joins; an inner weight is free in size alone. Falling neurons that are subtracted are concave parts, so that the
network is not convex as one with positive weights only would be (Runje and Shankaranarayana, "Constrained Monotonic
Neural Networks", ICML 2023, who reflect the activation instead). No way of training or unlearning can break it.
"""

import math
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.errors import ProgrammerError


@dataclass(frozen=True)
class MonotoneMLP:
    """Fully connected ReLU network that never falls with the inputs `rising`, never rises with those of `falling`.

    **Arguments:** `hidden`: widths; a last one of 1 lets the network learn a floor that no prediction falls below.
    `rising`, `falling`: places of inputs, from 0.

    **Raises:** `ProgrammerError("bad-hyperparameter")` from `build` for places that are not there, or twice.
    """

    hidden: tuple[int, ...] = (64, 1)
    rising: tuple[int, ...] = ()
    falling: tuple[int, ...] = ()

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """`Flatten, (SignedLinear, ReLU)*, SignedLinear`."""
        before = self._inputs(prod(shape))
        layers: list[nn.Module] = [nn.Flatten()]
        for width in self.hidden:
            after = torch.ones(width)
            after[(width + 1) // 2 :] = -1
            layers += [SignedLinear(torch.outer(after, before)), nn.ReLU()]
            before = after
        return nn.Sequential(*layers, SignedLinear(torch.outer(torch.ones(max(classes, 1)), before)))

    def _inputs(self, count: int) -> Float[Tensor, " inputs"]:
        """1, -1, or 0 for each input that is free."""
        places = (*self.rising, *self.falling)
        if len(set(places)) < len(places) or not all(0 <= place < count for place in places):
            raise ProgrammerError("bad-hyperparameter", f"monotone inputs are places in 0 to {count - 1}, each once")
        signs = torch.zeros(count)
        signs[list(self.rising)], signs[list(self.falling)] = 1.0, -1.0
        return signs


class SignedLinear(nn.Module):
    """A linear layer whose weights take the signs it was made with; where the sign is 0 the weight is free."""

    def __init__(self, signs: Float[Tensor, "outputs inputs"]) -> None:
        super().__init__()
        reach = 1 / math.sqrt(signs.shape[1])
        self.weight = nn.Parameter(torch.empty_like(signs).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(len(signs)).uniform_(-reach, reach))
        self.register_buffer("signs", signs, persistent=False)
        self.signs: Tensor

    def effective(self) -> Float[Tensor, "outputs inputs"]:
        """The weights that are multiplied with."""
        return torch.where(self.signs == 0, self.weight, self.signs * self.weight.abs())

    def forward(self, inputs: Float[Tensor, "records inputs"]) -> Float[Tensor, "records outputs"]:
        """inputs · effective + bias."""
        return nn.functional.linear(inputs, self.effective(), self.bias)
