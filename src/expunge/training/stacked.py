"""Many small networks trained at once, as one stacked computation. Equal to the reference engine to the bit.

Fully connected ReLU networks under SGD are trained by batched matrix products with a hand-written backward pass: one
call into the library for a layer of all networks, instead of one for each, and no autograd graph. On one thread the
library's batched products, reductions and element-wise kernels give each network the bits that they give it alone
(tests hold this over shapes, widths and seeds), so that it does not matter which networks share a stack.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.networks import State
from expunge.training.checkpoints import Checkpoints, Snapshot
from expunge.training.courses import BatchStream, Stage
from expunge.training.engine import check_finite
from expunge.training.recipe import SGD, CrossEntropy, Recipe

CACHE = 1600 * 1024
"""Bytes of weights of one stack. Measured: wider ones gain nothing, since momentum and gradients leave the cache;
narrower ones pay the library's cost of a call more often (benchmarks/stacked_training.py)."""

BLOCK = 64
"""Steps whose batches are looked up together."""

SMALLEST_PRODUCT = 400
"""Below this size the library multiplies batches by a plain loop, whose rounding differs from its matrix product."""


@dataclass(frozen=True, eq=False)
class Lane:
    """One network of a stack: the stage it trains through, its seed and the weights it starts from."""

    stage: Stage
    seed: int
    state: State


@dataclass(frozen=True)
class Layers:
    """A fully connected ReLU network: names of its weights and biases in order, and its layer widths."""

    weights: tuple[str, ...]
    biases: tuple[str, ...]
    widths: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum((before + 1) * after for before, after in pairwise(self.widths))


def layers_of(module: nn.Module, recipe: Recipe) -> Layers | None:
    """The layers of a network that can be stacked under this recipe; `None` for any other network or optimiser."""
    if not isinstance(module, nn.Sequential) or not isinstance(recipe.optimiser, SGD):
        return None
    if not isinstance(recipe.loss, CrossEntropy):
        return None
    if not all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in module.parameters()):
        return None
    named = list(module.named_children())
    linear = [(name, part) for name, part in named if isinstance(part, nn.Linear)]
    if not linear or [type(part) for _, part in named] != _pattern(len(linear)):
        return None
    if any(part.bias is None for _, part in linear):
        return None
    widths = (linear[0][1].in_features, *(part.out_features for _, part in linear))
    names = [name for name, _ in linear]
    return Layers(tuple(f"{name}.weight" for name in names), tuple(f"{name}.bias" for name in names), widths)


def stackable(layers: Layers, width: int) -> bool:
    """Whether all products of batches of `width` records are rounded as single ones are: no vectors, nothing tiny."""
    return min(width, *layers.widths) > 1 and all(
        width * before * after >= SMALLEST_PRODUCT for before, after in pairwise(layers.widths)
    )


def stack_width(layers: Layers) -> int:
    """How many networks to train in one stack."""
    return max(1, CACHE // (4 * layers.size))


class Stack:
    """Lanes of equal batch width, trained through their stages together; lanes with more steps stand first."""

    def __init__(
        self, layers: Layers, recipe: Recipe, lanes: Sequence[Lane], features: Tensor, targets: Tensor
    ) -> None:
        self._layers, self._recipe = layers, recipe
        self._order = sorted(range(len(lanes)), key=lambda number: -lanes[number].stage.steps(recipe.batch_size))
        self._lanes = [lanes[number] for number in self._order]
        self._steps = [lane.stage.steps(recipe.batch_size) for lane in self._lanes]
        self._streams = [BatchStream(lane.stage, recipe.batch_size, lane.seed) for lane in self._lanes]
        self._features, self._targets = features.flatten(1), targets
        names = [name for pair in zip(layers.weights, layers.biases, strict=True) for name in pair]
        self._names = names
        self._parameters = [torch.stack([lane.state[name] for lane in self._lanes]) for name in names]
        self._momenta = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._gradients = [torch.zeros_like(parameter) for parameter in self._parameters]

    def run(self, store: Checkpoints, stepped: Callable[[int], None]) -> list[State]:
        """Train all lanes to the end; states in the order that the lanes were given in.

        **Raises:** `ProgrammerError("diverged")`.
        """
        for first in range(0, self._steps[0], BLOCK):
            self._run_block(first, min(first + BLOCK, self._steps[0]), store, stepped)
        found: list[State] = [{} for _ in self._lanes]
        for place, number in enumerate(self._order):
            found[number] = self._state(place)
            check_finite(found[number], self._lanes[place].stage.name)
        return found

    def _run_block(self, first: int, last: int, store: Checkpoints, stepped: Callable[[int], None]) -> None:
        alive = sum(steps > first for steps in self._steps)
        rows = torch.stack([stream.block(first, last) for stream in self._streams[:alive]], 1)
        width = rows.shape[2]
        for step in range(first, last):
            alive = sum(steps > step for steps in self._steps[:alive])
            self._step(rows[step - first, :alive], step)
            stepped(alive * width)
            if store.every and (step + 1) % store.every == 0:
                self._keep(step + 1, store)

    def _keep(self, step: int, store: Checkpoints) -> None:
        """Snapshots of the lanes that have steps left, in the form that the reference engine resumes from."""
        momentum = isinstance(self._recipe.optimiser, SGD) and self._recipe.optimiser.momentum
        for place in range(sum(steps > step for steps in self._steps)):
            kept = enumerate(self._momenta if momentum else ())
            optimiser = {f"{number}/momentum_buffer": tensor[place].clone() for number, tensor in kept}
            store.save_snapshot(self._lanes[place].stage.name, Snapshot(step, self._state(place), optimiser))

    def _state(self, place: int) -> State:
        pairs = zip(self._names, self._parameters, strict=True)
        return {name: parameter[place].clone() for name, parameter in pairs}

    def _step(self, rows: Int[Tensor, "lanes width"], step: int) -> None:
        """Forward, backward, update: the formulas of autograd and torch.optim.SGD, operation by operation."""
        lanes, width = rows.shape
        flat = rows.reshape(-1)
        inputs = self._features.index_select(0, flat).view(lanes, width, -1)
        hidden = self._forward(inputs)
        error = self._loss_gradient(hidden[-1], self._targets.index_select(0, flat))
        self._backward(hidden, error)
        self._update(lanes, step)

    def _forward(self, inputs: Float[Tensor, "lanes width features"]) -> list[Tensor]:
        hidden, lanes = [inputs], len(inputs)
        for weight, bias in zip(self._parameters[::2], self._parameters[1::2], strict=True):
            if len(hidden) > 1:
                hidden[-1].relu_()
            hidden.append(torch.baddbmm(bias[:lanes, None, :], hidden[-1], weight[:lanes].transpose(1, 2)))
        return hidden

    def _loss_gradient(self, output: Tensor, targets: Tensor) -> Tensor:
        lanes, width, outputs = output.shape
        flat = output.view(lanes * width, outputs)
        logarithms = torch.log_softmax(flat, 1)
        into = torch.zeros_like(flat).scatter_(1, targets[:, None], -1.0 / width)
        found = torch._log_softmax_backward_data(into, logarithms, 1, flat.dtype)
        return found.view(lanes, width, outputs)

    def _backward(self, hidden: list[Tensor], error: Tensor) -> None:
        lanes = len(error)
        for number in reversed(range(len(self._layers.weights))):
            torch.bmm(error.transpose(1, 2), hidden[number], out=self._gradients[2 * number][:lanes])
            torch.sum(error, 1, out=self._gradients[2 * number + 1][:lanes])
            if number:
                error = torch.bmm(error, self._parameters[2 * number][:lanes])
                error = torch.ops.aten.threshold_backward(error, hidden[number], 0)

    def _update(self, lanes: int, step: int) -> None:
        factors = [self._recipe.schedule.factor(step, steps) for steps in self._steps[:lanes]]
        parts = (self._parameters, self._gradients, self._momenta)
        parameters, gradients, momenta = ([tensor[:lanes] for tensor in part] for part in parts)
        _descend(parameters, gradients, momenta, self._recipe, factors, step)


def _descend(
    parameters: list[Tensor],
    gradients: list[Tensor],
    momenta: list[Tensor],
    recipe: Recipe,
    factors: list[float],
    step: int,
) -> None:
    """torch.optim.SGD, operation by operation, with a learning rate for each lane."""
    optimiser, directions = recipe.optimiser, gradients
    assert isinstance(optimiser, SGD)
    if optimiser.weight_decay:
        torch._foreach_add_(gradients, parameters, alpha=optimiser.weight_decay)
    if optimiser.momentum:
        if step:
            torch._foreach_mul_(momenta, optimiser.momentum)
        torch._foreach_add_(momenta, gradients)
        directions = momenta
    if min(factors) == max(factors):
        torch._foreach_add_(parameters, directions, alpha=-optimiser.lr * factors[0])
        return
    rates = torch.tensor([-(optimiser.lr * factor) for factor in factors])
    for parameter, direction in zip(parameters, directions, strict=True):
        parameter.addcmul_(direction, rates.view(-1, *[1] * (parameter.dim() - 1)))


def _pattern(linear: int) -> list[type[nn.Module]]:
    return [nn.Flatten, nn.Linear, *[nn.ReLU, nn.Linear] * (linear - 1)]
