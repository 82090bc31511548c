"""Many small networks trained at once, as one stacked computation. Equal to the reference engine to the bit.

Fully connected ReLU networks under SGD are trained by batched matrix products with a hand-written backward pass: one
call into the library for a layer of all networks, instead of one for each, and no autograd graph.

What keeps the bits, on one thread: element-wise operations, softmax and sums round each number alike wherever it
stands. Matrix products do not: how the library rounds depends on where a matrix begins in memory. So the matrices of
every lane begin on a 64-byte boundary, as those of a network alone do. Products that the library's batched routine
computes by other means (vectors, tiny ones) are made lane by lane. `agrees` tries the whole on this platform before it
is used, so that a library which rounds otherwise costs speed and changes no result.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from expunge.networks import MLP, State, initialise, state_of
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training.checkpoints import Checkpoints, MemoryCheckpoints, Snapshot
from expunge.training.courses import BatchStream, Stage
from expunge.training.engine import check_finite, run_stage
from expunge.training.recipe import SGD, CrossEntropy, Recipe, SquaredError
from expunge.training.tensors import StepTensors

CACHE = 1600 * 1024
"""Bytes of weights of one stack. Measured: wider ones gain nothing, since momentum and gradients leave the cache;
narrower ones pay the library's cost of a call more often (benchmarks/stacked_training.py)."""

BLOCK = 64
"""Steps whose batches are looked up together."""

SMALLEST_PRODUCT = 400
"""Below this size the library multiplies batches by a plain loop, whose rounding differs from its matrix product."""


@dataclass(frozen=True, eq=False)
class Lane:
    """One network of a stack: the stage it trains through, its seed, the weights it starts from, or a snapshot."""

    stage: Stage
    seed: int
    state: State
    snapshot: Snapshot | None = None


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

    @property
    def names(self) -> list[str]:
        """Names of all parameters, in the module's own order."""
        return [name for pair in zip(self.weights, self.biases, strict=True) for name in pair]


def layers_of(module: nn.Module, recipe: Recipe, records: Records) -> Layers | None:
    """The layers of a network that can be stacked under this recipe on these records; `None` for any other."""
    if type(module) is not nn.Sequential or not isinstance(recipe.optimiser, SGD):
        return None
    if recipe.radius is not None or recipe.pruning is not None or recipe.penalty is not None:
        return None
    named = list(module.named_children())
    linear = [(name, part) for name, part in named if isinstance(part, nn.Linear)]
    if not linear or [type(part) for _, part in named] != _pattern(len(linear)):
        return None
    weights, biases = ([f"{name}.{kind}" for name, _ in linear] for kind in ("weight", "bias"))
    widths = (linear[0][1].in_features, *(part.out_features for _, part in linear))
    layers = Layers(tuple(weights), tuple(biases), widths)
    return layers if _is_plain(module, layers) and _fits(layers, recipe, records) else None


def stack_width(layers: Layers) -> int:
    """How many networks to train in one stack."""
    return max(1, CACHE // (4 * layers.size))


def agrees(layers: Layers, recipe: Recipe, width: int) -> bool:
    """Whether three networks with batches of `width`, trained on this platform in one stack and each alone, are equal.

    Tried once a process for each shape.
    """
    return _agrees(layers.widths, width, isinstance(recipe.loss, CrossEntropy))


class Stack:
    """Lanes of equal batch width that stand at the same step, trained through their stages together."""

    def __init__(
        self,
        layers: Layers,
        recipe: Recipe,
        lanes: Sequence[Lane],
        features: Float[Tensor, "records *shape"],
        targets: Shaped[Tensor, " records"],
    ) -> None:
        self._layers, self._recipe, size = layers, recipe, recipe.batch_size
        # Lanes with more steps stand first: those that end drop off the far end of every tensor.
        self._order = sorted(range(len(lanes)), key=lambda number: -lanes[number].stage.steps(size))
        self._lanes = [lanes[number] for number in self._order]
        self._steps = [lane.stage.steps(size) for lane in self._lanes]
        self._streams = [BatchStream(lane.stage, size, lane.seed) for lane in self._lanes]
        self._features, self._targets = features.flatten(1), targets
        self._width = self._streams[0].width
        self._first = lanes[0].snapshot.step if lanes[0].snapshot else 0
        self._batched = [_batched(self._width, before, after) for before, after in pairwise(layers.widths)]
        self._all = StepTensors.zeros(layers.widths, len(lanes), self._width)
        self._tensors = self._all
        self._load()

    def run(self, store: Checkpoints, stepped: Callable[[int], None]) -> list[State]:
        """Train all lanes to the end; states in the order that the lanes were given in.

        **Raises:** `ProgrammerError("diverged")`.
        """
        for first in range(self._first, self._steps[0], BLOCK):
            self._run_block(first, min(first + BLOCK, self._steps[0]), store, stepped)
        found: list[State] = [{} for _ in self._lanes]
        for place, number in enumerate(self._order):
            found[number] = self._state(place)
        for number, place in sorted(zip(self._order, range(len(found)), strict=True)):
            check_finite(found[number], self._lanes[place].stage.name)
        return found

    def _load(self) -> None:
        for place, lane in enumerate(self._lanes):
            state = lane.snapshot.state if lane.snapshot else lane.state
            for name, parameter in zip(self._layers.names, self._all.parameters, strict=True):
                parameter[place].copy_(state[name])
            for number, momentum in enumerate(self._all.momenta if lane.snapshot else ()):
                if (saved := lane.snapshot.optimiser.get(f"{number}/momentum_buffer")) is not None:  # type: ignore[union-attr]
                    momentum[place].copy_(saved)

    def _run_block(self, first: int, last: int, store: Checkpoints, stepped: Callable[[int], None]) -> None:
        lanes = self._running(first)
        rows = torch.zeros(last - first, lanes, self._all.rows, dtype=torch.long)  # rows beyond the width are filler
        for place, stream in enumerate(self._streams[:lanes]):
            rows[:, place, : self._width] = stream.block(first, last)
        rates = self._rates(first, last, lanes)
        for step in range(first, last):
            lanes = self._running(step)
            if lanes != self._tensors.lanes:
                self._tensors = self._all.first(lanes)
            self._step(rows[step - first, :lanes])
            self._descend(rates[step - first, :lanes], first=step == 0)
            stepped(lanes * self._width)
            if store.every and (step + 1) % store.every == 0:
                self._keep(step + 1, store)

    def _running(self, step: int) -> int:
        """Lanes that have step `step` before them."""
        return sum(steps > step for steps in self._steps)

    def _rates(self, first: int, last: int, lanes: int) -> Float[Tensor, "steps lanes"]:
        factor, rate = self._recipe.schedule.factor, self._recipe.stepwise.lr
        every = [[-(rate * factor(step, steps)) for steps in self._steps[:lanes]] for step in range(first, last)]
        return torch.tensor(every, dtype=torch.float32)

    def _keep(self, step: int, store: Checkpoints) -> None:
        """Snapshots of the lanes that have steps left, in the form that the reference engine has."""
        optimiser = self._recipe.optimiser
        momenta = self._all.momenta if isinstance(optimiser, SGD) and optimiser.momentum else []
        for place in range(self._running(step)):
            kept = {f"{number}/momentum_buffer": tensor[place].clone() for number, tensor in enumerate(momenta)}
            store.save_snapshot(self._lanes[place].stage.name, Snapshot(step, self._state(place), kept))

    def _state(self, place: int) -> State:
        pairs = zip(self._layers.names, self._all.parameters, strict=True)
        return {name: parameter[place].clone() for name, parameter in pairs}

    def _step(self, rows: Int[Tensor, "lanes rows"]) -> None:
        """Forward and backward: the formulas of autograd, operation by operation."""
        tensors = self._tensors
        torch.index_select(self._features, 0, rows.reshape(-1), out=tensors.gathered)
        targets = self._targets[rows[:, : self._width]]
        self._forward()
        if isinstance(self._recipe.loss, CrossEntropy):
            _cross_entropy_gradient(tensors, targets)
        else:
            _squared_error_gradient(tensors, targets)
        self._backward()

    def _forward(self) -> None:
        tensors = self._tensors
        for number, batched in enumerate(self._batched):
            if number:
                tensors.hidden[number].relu_()
            weight, bias = tensors.parameters[2 * number : 2 * number + 2]
            operands = bias, tensors.hidden[number], weight.transpose(1, 2), tensors.hidden[number + 1]
            if batched:
                torch.baddbmm(bias[:, None], *operands[1:3], out=operands[3])
            else:
                for each, left, right, out in zip(*operands, strict=True):
                    torch.addmm(each, left, right, out=out)

    def _backward(self) -> None:
        tensors = self._tensors
        for number in reversed(range(len(self._batched))):
            error, hidden = tensors.errors[number], tensors.hidden[number]
            multiply = torch.bmm if self._batched[number] else _multiply_each
            multiply(error.transpose(1, 2), hidden, out=tensors.gradients[2 * number])
            torch.sum(error, 1, out=tensors.gradients[2 * number + 1])
            if number:
                below = tensors.errors[number - 1]
                multiply(error, tensors.parameters[2 * number], out=below)
                torch.ops.aten.threshold_backward.grad_input(below, hidden, 0, grad_input=below)

    def _descend(self, rates: Float[Tensor, " lanes"], *, first: bool) -> None:
        """torch.optim.SGD, operation by operation, with a learning rate for each lane."""
        optimiser = self._recipe.optimiser
        assert isinstance(optimiser, SGD)
        tensors = self._tensors
        parameters, directions = tensors.parameter_memory, tensors.gradient_memory
        momenta = tensors.momentum_memory
        if optimiser.weight_decay:
            torch._foreach_add_(directions, parameters, alpha=optimiser.weight_decay)
        if optimiser.momentum:
            if first:
                torch._foreach_copy_(momenta, directions)
            else:
                torch._foreach_mul_(momenta, optimiser.momentum)
                torch._foreach_add_(momenta, directions)
            directions = momenta
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.addcmul_(direction, rates[:, None])


def _cross_entropy_gradient(tensors: StepTensors, targets: Int[Tensor, "lanes width"]) -> None:
    logits, into = tensors.hidden[-1], tensors.chosen
    logarithms = torch.log_softmax(logits, 2)
    into.zero_().scatter_(2, targets[:, :, None], -1.0 / targets.shape[1])
    tensors.errors[-1].copy_(torch._log_softmax_backward_data(into, logarithms, 2, logits.dtype))


def _squared_error_gradient(tensors: StepTensors, targets: Float[Tensor, "lanes width"]) -> None:
    torch.sub(tensors.hidden[-1], targets[:, :, None], out=tensors.errors[-1])
    tensors.errors[-1].mul_(2.0).mul_(1.0 / targets.shape[1])


def _multiply_each(
    left: Float[Tensor, "lanes n k"], right: Float[Tensor, "lanes k m"], *, out: Float[Tensor, "lanes n m"]
) -> None:
    for one, other, product in zip(left, right, out, strict=True):
        torch.mm(one, other, out=product)


def _batched(width: int, before: int, after: int) -> bool:
    """Whether the library's batched routine multiplies these by its matrix product: no vectors, nothing tiny."""
    return min(width, before, after) > 1 and width * before * after >= SMALLEST_PRODUCT


def _pattern(linear: int) -> list[type[nn.Module]]:
    return [nn.Flatten, nn.Linear, *[nn.ReLU, nn.Linear] * (linear - 1)]


def _is_plain(module: nn.Module, layers: Layers) -> bool:
    """Whether the network is no more than its layers: nothing tied, frozen, hooked or computed."""
    parameters = list(module.parameters())
    if list(module.state_dict()) != layers.names or len(parameters) != len(layers.names):
        return False
    if not all(each.requires_grad and each.dtype == torch.float32 and each.is_contiguous() for each in parameters):
        return False
    hooked = any(getattr(part, name) for part in module.modules() for name in vars(part) if name.endswith("_hooks"))
    return not hooked and not any(parameter._backward_hooks for parameter in parameters)


def _fits(layers: Layers, recipe: Recipe, records: Records) -> bool:
    """Whether the reference engine would take these records without complaint."""
    if records.features.dtype != torch.float32 or layers.widths[0] != math.prod(records.shape):
        return False
    if isinstance(recipe.loss, SquaredError):
        return records.targets.dtype == torch.float32 and layers.widths[-1] == 1
    return 0 < records.classes <= layers.widths[-1]


@lru_cache(maxsize=1024)
def _agrees(widths: tuple[int, ...], width: int, classify: bool) -> bool:
    if width < 2 and min(widths) < 2:
        return False  # a batch of one through a layer of one: autograd multiplies in another order
    loss = CrossEntropy() if classify else SquaredError()
    recipe, count = Recipe(MLP(widths[1:-1]), SGD(), loss=loss, epochs=2, batch_size=width), 2 * width
    generator = torch_generator(0, "stacked/agrees")
    features = torch.randn(count, widths[0], generator=generator)
    targets = torch.randint(widths[-1], (count,), generator=generator) if classify else features[:, 0].clone()
    modules = [
        initialise(recipe.network, (widths[0],), widths[-1], seed=seed, name="stacked/agrees") for seed in range(3)
    ]
    stages = [Stage(f"stacked/agrees/{lane}", tuple(range(width + lane * width // 2)), 2) for lane in range(3)]
    lanes = [Lane(stage, seed, state_of(modules[seed])) for seed, stage in enumerate(stages)]
    names = list(modules[0].state_dict())
    found = Stack(Layers(tuple(names[::2]), tuple(names[1::2]), widths), recipe, lanes, features, targets).run(
        MemoryCheckpoints(), lambda count: None
    )
    for seed, stage in enumerate(stages):
        run_stage(modules[seed], recipe, stage, seed, features, targets)
    return all(state_of(m)[name].equal(state[name]) for m, state in zip(modules, found, strict=True) for name in names)
