"""The recipe: all that training needs besides records."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from expunge.errors import ProgrammerError
from expunge.ledger import strict_json
from expunge.networks import (
    CNN,
    LSTM,
    MLP,
    Imported,
    MonotoneMLP,
    Network,
    OrientedFilters,
    RandomFeatures,
    ResNet,
    Trends,
)
from expunge.plain import decode, encode
from expunge.randomness import SEED_LIMIT
from expunge.training.pruning.kinds import SNIP, GraSP, Iterative, Magnitude, RandomPruning, SynFlow
from expunge.training.sharding import Sharding


def _positive(name: str, value: float) -> None:
    if not value > 0 or not math.isfinite(value):
        raise ProgrammerError("bad-hyperparameter", f"{name} must be positive, not {value}")


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum and weight decay, as `torch.optim.SGD`."""

    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        _positive("lr", self.lr)

    def build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimiser over `parameters`."""
        return torch.optim.SGD(parameters, self.lr, self.momentum, weight_decay=self.weight_decay, foreach=False)


@dataclass(frozen=True)
class Adam:
    """Adam with decoupled weight decay, as `torch.optim.AdamW`."""

    lr: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _positive("lr", self.lr)

    def build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimiser over `parameters`."""
        return torch.optim.AdamW(parameters, self.lr, weight_decay=self.weight_decay, foreach=False)


@dataclass(frozen=True)
class HeadSolver:
    """No steps: the last layer, on fixed features, is solved to its optimum (Newton with conjugate gradient).

    The recipe's `epochs` are then passes over the records at most; batch size and schedule have no part in it.

    **Arguments:** `l2`: penalty (l2/2)|W|^2 beside the mean loss; `gradient_norm`: where to stop.
    """

    l2: float = 1e-3
    gradient_norm: float = 1e-5

    def __post_init__(self) -> None:
        _positive("l2", self.l2)
        _positive("gradient_norm", self.gradient_norm)


@dataclass(frozen=True)
class LeastSquares(HeadSolver):
    """The last layer minimises the squared distance to unit vectors instead: one linear system, no passes.

    Records can be taken from it exactly (`unlearning.Downdate`). **Arguments:** `l2`: as in `HeadSolver`.
    """


@dataclass(frozen=True)
class Constant:
    """The learning rate stays."""

    def factor(self, step: int, steps: int) -> float:
        """Multiplier of the learning rate at `step` of `steps`."""
        del step, steps
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 to 0 (Loshchilov and Hutter 2017, without restarts)."""

    def factor(self, step: int, steps: int) -> float:
        """Multiplier of the learning rate at `step` of `steps`."""
        return 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True)
class Steps:
    """Multiplied by `gamma` at each of the milestones, given as shares of the run."""

    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1

    def factor(self, step: int, steps: int) -> float:
        """Multiplier of the learning rate at `step` of `steps`."""
        return float(self.gamma ** sum(step >= share * steps for share in self.milestones))


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy against class numbers, in nats."""

    def per_record(self, logits: Float[Tensor, "n classes"], targets: Shaped[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The loss of each record."""
        return nn.functional.cross_entropy(logits, targets, reduction="none")

    def mean(self, logits: Float[Tensor, "n classes"], targets: Shaped[Tensor, " n"]) -> Float[Tensor, ""]:
        """What training minimises."""
        return nn.functional.cross_entropy(logits, targets)


@dataclass(frozen=True)
class SquaredError:
    """Squared error of the single output, in target units squared."""

    def per_record(self, logits: Float[Tensor, "n 1"], targets: Shaped[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The loss of each record."""
        return (logits[:, 0] - targets).square()

    def mean(self, logits: Float[Tensor, "n 1"], targets: Shaped[Tensor, " n"]) -> Float[Tensor, ""]:
        """What training minimises."""
        return self.per_record(logits, targets).mean()


@dataclass(frozen=True)
class L1:
    """A penalty gamma_t * |w|_1 on all parameters, added to the loss at step t (Jia et al., NeurIPS 2023, section 4).

    **Arguments:** `gamma`; `trend`: `"decreasing"` linearly to 0, which the paper prefers, `"constant"` or
    `"increasing"`; `free`: share of the steps, at the end, that run without.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    gamma: float = 1e-3
    trend: Literal["decreasing", "constant", "increasing"] = "decreasing"
    free: float = 0.0

    def __post_init__(self) -> None:
        if self.trend not in ("decreasing", "constant", "increasing"):
            raise ProgrammerError("bad-hyperparameter", f"trend is decreasing, constant or increasing: {self.trend}")
        if not 0 <= self.gamma < math.inf or not 0 <= self.free < 1:
            raise ProgrammerError("bad-hyperparameter", f"gamma >= 0 and 0 <= free < 1: {self.gamma}, {self.free}")

    def weight(self, step: int, steps: int) -> float:
        """gamma_t at `step` of `steps`."""
        last = steps * (1 - self.free)
        if step >= last:
            return 0.0
        if self.trend == "constant":
            return self.gamma
        return self.gamma * (1 - step / last if self.trend == "decreasing" else step / last)


@dataclass(frozen=True)
class Recipe:
    """Network, loss, optimiser, schedule, length, seed and structure: the same recipe and records give the same bytes.

    **Arguments:**

    - `epochs`: passes over the records, at most `MOST_EPOCHS`; a fraction is allowed.
    - `batch_size`: records in *every* step: batches are windows of a stream of shuffled passes, so that there is no
      short last batch; data smaller than that goes whole into each step.
    - `sharding`: `None` for one network, else SISA.
    - `radius`: after every step the trained weights are projected to the ball |w| <= radius; `None` for no ball.
    - `seed`: every random stream derives from it by name.
    - `pruning`: how each network is made sparse in the first stage that has records; later stages, and whatever
      unlearns, leave its zeros where they are. `None` for a dense network.
    - `penalty`: added to the loss at every step.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    network: Network = MLP()
    optimiser: SGD | Adam | HeadSolver = SGD(lr=0.1)
    schedule: Constant | Cosine | Steps = Cosine()
    loss: CrossEntropy | SquaredError = CrossEntropy()
    epochs: float = 30
    batch_size: int = 32
    sharding: Sharding | None = None
    seed: int = 0
    radius: float | None = None
    pruning: Magnitude | Iterative | SynFlow | SNIP | GraSP | RandomPruning | None = None
    penalty: L1 | None = None

    def __post_init__(self) -> None:
        if isinstance(self.optimiser, HeadSolver) and (self.pruning or self.penalty):
            raise ProgrammerError("bad-hyperparameter", "a solved head is neither pruned nor penalised by L1")
        if self.radius is not None:
            _positive("radius", self.radius)
        _positive("epochs", self.epochs)
        if self.epochs > MOST_EPOCHS:
            raise ProgrammerError("bad-hyperparameter", f"epochs must be at most {MOST_EPOCHS}, not {self.epochs}")
        _positive("batch_size", self.batch_size)
        if not 0 <= self.seed < SEED_LIMIT:
            raise ProgrammerError("bad-hyperparameter", f"seed must be in [0, 2**63), not {self.seed}")

    @property
    def stepwise(self) -> SGD | Adam:
        """An optimiser of the same penalised loss that takes steps: the recipe's own, or SGD for a solved head."""
        if isinstance(self.optimiser, HeadSolver):
            return SGD(lr=HEAD_RATE, weight_decay=self.optimiser.l2)
        return self.optimiser

    def to_json(self) -> dict[str, Any]:
        """Plain form; raises `ProgrammerError("bad-hyperparameter")` for a network that is a Python callable."""
        return dict(encode(self))

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of the plain form; empty for a network that is a Python callable."""
        try:
            plain = {**self.to_json(), "seed": str(self.seed)}
        except ProgrammerError:
            return ""
        return hashlib.sha256(strict_json.canonical(plain)).hexdigest()

    @staticmethod
    def from_json(value: Any) -> "Recipe":
        """The inverse of `to_json`; raises `OperatorError("bad-config")`."""
        recipe = decode(value, KINDS)
        if not isinstance(recipe, Recipe):
            raise ProgrammerError("bad-hyperparameter", f"not a recipe: {type(recipe).__name__}")
        return recipe


MOST_EPOCHS = 1_000_000
"""More is a slip of the keyboard: a million passes over a hundred records take a day."""

HEAD_RATE = 0.01
"""Learning rate for fixed features of norm 10, whose loss has no curvature above 50."""

KINDS = (
    Recipe,
    MLP,
    MonotoneMLP,
    CNN,
    LSTM,
    ResNet,
    Trends,
    RandomFeatures,
    OrientedFilters,
    Imported,
    SGD,
    Adam,
    HeadSolver,
    LeastSquares,
    Constant,
    Cosine,
    Steps,
    CrossEntropy,
    SquaredError,
    Sharding,
    L1,
    Magnitude,
    Iterative,
    SynFlow,
    SNIP,
    GraSP,
    RandomPruning,
)
"""Classes that a recipe file may name."""
