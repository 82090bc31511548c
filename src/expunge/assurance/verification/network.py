"""ReLU networks in physical units: the float64 form that is reasoned about, and the network that is deployed."""

import copy
import itertools
from dataclasses import dataclass, field
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from expunge.errors import ProgrammerError
from expunge.networks import SignedLinear

FLOAT32_UNIT: Final = 2.0**-24
"""Unit roundoff of float32."""


@dataclass(frozen=True)
class Scaling:
    """Physical units to network units and back: network input = (x - centre) / spread, y = offset + factor * output.

    **Arguments:** one number per input feature (`centre`, `spread` > 0) and per output (`offset`, `factor`). Empty
    tuples mean no scaling.
    """

    centre: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    factor: tuple[float, ...] = ()

    def filled(self, inputs: int, outputs: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centre, spread, offset and factor as float64. Raises `bad-network` on wrong lengths, spread <= 0."""
        values = (
            (self.centre, 0.0, inputs),
            (self.spread, 1.0, inputs),
            (self.offset, 0.0, outputs),
            (self.factor, 1.0, outputs),
        )
        centre, spread, offset, factor = (_vector(given, default, size) for given, default, size in values)
        if not bool((spread > 0).all()):
            raise ProgrammerError("bad-network", "the spread of an input must be positive")
        return centre, spread, offset, factor


@dataclass(frozen=True, eq=False)
class ReluNetwork:
    """f(x) = W_L relu(... relu(W_0 x + b_0) ...) + b_L in float64, with the scaling folded into W_0, b_0, W_L, b_L.

    Made by [`fold`][]. `deployed` is a copy of the module, in its own arithmetic; `centre`, `spread`, `offset` and
    `factor` are what was folded in.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    deployed: nn.Sequential = field(repr=False)
    centre: Tensor = field(repr=False)
    spread: Tensor = field(repr=False)
    offset: Tensor = field(repr=False)
    factor: Tensor = field(repr=False)

    @property
    def inputs(self) -> int:
        """Number of input features."""
        return int(self.weights[0].shape[1])

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return int(self.weights[-1].shape[0])

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs, hidden layers, outputs: (12, 64, 64, 1), say."""
        return (self.inputs, *(int(bias.shape[0]) for bias in self.biases))

    def __call__(self, x: Float[Tensor, "points inputs"]) -> Float[Tensor, "points outputs"]:
        """f in float64, physical units in and out."""
        values = x
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.addmm(bias, values.relu() if layer else values, weight.T)
        return values

    def run_deployed(self, x: Float[Tensor, "points inputs"]) -> Float[Tensor, "points outputs"]:
        """The module itself, in its own dtype, on scaled inputs; physical units (float64) in and out."""
        scaled = ((x - self.centre) / self.spread).to(next(self.deployed.parameters()).dtype)
        with torch.no_grad():
            output: Tensor = self.deployed(scaled)
        return self.offset + self.factor * output.double()


def fold(module: nn.Sequential, scaling: Scaling | None = None) -> ReluNetwork:
    """The verifiable form of an `nn.Sequential` of Linear and ReLU layers.

    Flatten, Identity and Dropout (a no-op in evaluation mode) are skipped. Raises `bad-network` for any other layer,
    for Linear layers with no ReLU between them, for a module that does not end in a Linear, or for weights that are not
    finite.
    """
    layers = _affine_layers(module)
    if any(outer.shape[1] != inner.shape[0] for (inner, _), (outer, _) in itertools.pairwise(layers)):
        raise ProgrammerError("bad-network", "a layer's width differs from what the next one reads")
    centre, spread, offset, factor = (scaling or Scaling()).filled(layers[0][0].shape[1], layers[-1][0].shape[0])
    first, bias = layers[0]
    layers[0] = (first / spread, bias - first @ (centre / spread))
    last, bias = layers[-1]
    layers[-1] = (factor[:, None] * last, factor * bias + offset)
    weights, biases = tuple(weight.contiguous() for weight, _ in layers), tuple(bias for _, bias in layers)
    if not all(bool(values.isfinite().all()) for values in (*weights, *biases)):
        raise ProgrammerError("bad-network", "weights, biases and scaling must be finite")
    deployed = copy.deepcopy(module).eval().requires_grad_(False)
    return ReluNetwork(weights, biases, deployed, centre, spread, offset, factor)


def _vector(values: tuple[float, ...], default: float, size: int) -> Tensor:
    """Given numbers, or the default that means no scaling."""
    if values and len(values) != size:
        raise ProgrammerError("bad-network", f"scaling has {len(values)} numbers where the network has {size}")
    return torch.tensor(values or (default,) * size, dtype=torch.float64)


def _affine_layers(module: nn.Sequential) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases between ReLUs, in float64."""
    layers: list[tuple[Tensor, Tensor]] = []
    fresh = True
    for layer in module:
        exact = _kind(layer) in (nn.Linear, SignedLinear, nn.ReLU)  # a subclass may compute something else
        if exact and isinstance(layer, nn.Linear | SignedLinear | nn.ReLU):
            if isinstance(layer, nn.ReLU) == fresh:
                raise ProgrammerError("bad-network", "Linear and ReLU layers must take turns")
            if not isinstance(layer, nn.ReLU):
                layers.append(_float64(layer))
            fresh = not fresh
        elif not isinstance(layer, nn.Flatten | nn.Identity | nn.Dropout):
            raise ProgrammerError("bad-network", f"a {type(layer).__name__} layer cannot be verified")
    if not layers or fresh:
        raise ProgrammerError("bad-network", "the network must end in a Linear layer")
    return layers


def _kind(layer: nn.Module) -> type:
    """A layer's class; for a parametrised one, the class whose forward runs on the parametrised weight."""
    return parametrize.type_before_parametrizations(layer)


def _float64(layer: nn.Linear | SignedLinear) -> tuple[Tensor, Tensor]:
    """Weight and bias (zero where there is none); signs and sizes of a signed layer are exact in every arithmetic."""
    given = layer.effective() if isinstance(layer, SignedLinear) else layer.weight
    weight = given.detach().double().cpu().clone()
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().cpu().clone()
    return weight, bias
