"""What a provider knows before any request: how each record pulls on the model, and how each probe would move.

Everything is seen through the last layer: features are taken as fixed, and the damped Gauss-Newton matrix of that layer
is factorised once. A forecast is then one product, so that a request is judged in milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.records import Records
from expunge.training import Model, courses
from expunge.training.platform import deterministic

BATCH = 1024
FAR = 1e9


@dataclass(frozen=True, eq=False)
class Ground:
    """A classifier and its records, as screens see them.

    Of several networks each forecasts for its own records; a probe's margin is the mean over the networks.

    **Arguments:**

    - `records`: everything that the provider holds; the test part is the probe set.
    - `damping`: added to the last layer's Gauss-Newton matrix of the mean loss.
    - `seed`: of every draw of calibration.
    """

    model: Model
    records: Records
    damping: float = 1e-3
    seed: int = 0

    @cached_property
    def heads(self) -> tuple["Head", ...]:
        """One view for each network, in the order of the constituents.

        **Raises:** `ProgrammerError("method-unfit")` for a regression, or where the outputs are no linear layer's.
        """
        if not self.records.classes:
            raise ProgrammerError("method-unfit", "margins need classes")
        plan = courses(self.model.recipe, self.records.train)
        rows = [sorted({row for stage in course.stages for row in stage.rows}) for course in plan]
        pairs = zip(self.model.constituents, rows, strict=True)
        return tuple(self._head(state, torch.tensor(some)) for state, some in pairs if state is not None)

    @property
    def size(self) -> int:
        """Number of training records."""
        return len(self.records.train)

    @cached_property
    def losses(self) -> Float[Tensor, " records"]:
        """Cross-entropy of each training record under its own network."""
        return self._gathered([head.losses for head in self.heads])

    @cached_property
    def gradient_norms(self) -> Float[Tensor, " records"]:
        """Euclidean norm of each record's gradient in the last layer."""
        return self._gathered([head.errors.norm(dim=1) * head.features.norm(dim=1) for head in self.heads])

    @cached_property
    def margins(self) -> Float[Tensor, " records"]:
        """Logit of the true class minus the highest other, of each training record."""
        return self._gathered([margins(head.outputs, head.targets) for head in self.heads])

    @cached_property
    def probe_margins(self) -> Float[Tensor, " probes"]:
        """The same of each probe, the mean over the networks."""
        targets = self.records.test.targets
        return torch.stack([margins(head.probes @ head.weights.T, targets) for head in self.heads]).mean(0)

    def _head(self, state: State, rows: Int[Tensor, " rows"]) -> "Head":
        train, module = self.records.train, self.model.module(state)
        features, outputs = _seen(module, state, train.features[rows])
        probes, _ = _seen(module, state, self.records.test.features)
        return Head(rows, features, outputs, train.targets[rows], probes, _weights(module), self.damping)

    def _gathered(self, parts: list[Tensor]) -> Tensor:
        found = torch.zeros(self.size)
        for head, part in zip(self.heads, parts, strict=True):
            found[head.rows] = part
        return found


@dataclass(frozen=True, eq=False)
class Head:
    """The last layer of one network: softmax regression on fixed features with a column of ones.

    **Arguments:** `rows`: positions of its records among the training records; `weights`: `[classes, columns]`.
    """

    rows: Int[Tensor, " records"]
    features: Float[Tensor, "records columns"]
    outputs: Float[Tensor, "records classes"]
    targets: Int[Tensor, " records"]
    probes: Float[Tensor, "probes columns"]
    weights: Float[Tensor, "classes columns"]
    damping: float

    @cached_property
    def errors(self) -> Float[Tensor, "records classes"]:
        """Softmax minus one-hot: the gradient in the outputs."""
        return self.outputs.softmax(1) - nn.functional.one_hot(self.targets, self.outputs.shape[1])

    @property
    def losses(self) -> Float[Tensor, " records"]:
        """Cross-entropy of each record."""
        return nn.functional.cross_entropy(self.outputs, self.targets, reduction="none")

    @cached_property
    def factor(self) -> Float[Tensor, "parameters parameters"]:
        """Cholesky factor of the damped Gauss-Newton matrix of the mean loss, classes outermost."""
        shares, (count, columns) = self.outputs.softmax(1), self.features.shape
        classes = shares.shape[1]
        matrix = torch.zeros(classes, columns, classes, columns)
        for one in range(classes):
            for other in range(one, classes):
                weight = shares[:, one] * (float(one == other) - shares[:, other])
                block = (self.features * weight[:, None]).T @ self.features / count
                matrix[one, :, other], matrix[other, :, one] = block, block.T
        square = matrix.reshape(classes * columns, -1).double()
        found: Tensor = torch.linalg.cholesky(
            square + self.damping * torch.eye(len(square), dtype=torch.float64)
        ).float()
        return found

    def gradients(self, places: Int[Tensor, " some"]) -> Float[Tensor, "some parameters"]:
        """Gradients of single records' losses in the last layer."""
        return torch.einsum("nc,nd->ncd", self.errors[places], self.features[places]).flatten(1)

    def moves(self, places: Int[Tensor, " some"]) -> Float[Tensor, "some classes columns"]:
        """How the last layer would move if each record alone were deleted: H^-1 g / n (Koh and Liang 2017, eq. 1)."""
        return self.solved(self.gradients(places))

    def solved(self, gradients: Float[Tensor, "some parameters"]) -> Float[Tensor, "some classes columns"]:
        """H^-1 g / n for each row."""
        found = torch.cholesky_solve(gradients.T, self.factor).T / len(self.rows)
        return found.reshape(-1, *self.weights.shape)

    def distances(self, places: Int[Tensor, " some"]) -> Float[Tensor, "some some"]:
        """Between the gradients of single records: each is an outer product, so that none is written out."""
        errors, features = self.errors[places], self.features[places]
        inner = (errors @ errors.T) * (features @ features.T)
        square = inner.diagonal()
        found: Tensor = (square[:, None] + square[None] - 2 * inner).clamp_min(0).sqrt()
        return found.fill_diagonal_(0.0)

    def of(self, rows: Int[Tensor, " requested"]) -> Int[Tensor, " here"]:
        """Places in this head of those of the training records `rows` that it saw."""
        return torch.isin(self.rows, rows).nonzero()[:, 0]


def margins(outputs: Float[Tensor, "n classes"], targets: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Output of the true class minus the highest other one."""
    own = outputs.gather(1, targets[:, None])[:, 0]
    return own - outputs.scatter(1, targets[:, None], -FAR).max(1).values


@dataclass(frozen=True, eq=False)
class Forecast:
    """What deleting a batch would do, to first order in the last layer.

    **Arguments:**

    - `move`: Euclidean norm of the last layer's move, the largest over the networks.
    - `drops`: fall of each probe's margin, the mean over the networks.
    - `pulls`: `[requested, probes]` the share of each record in `drops`.
    - `own_drops`: fall of the margin of each requested record itself.
    """

    move: float
    drops: Float[Tensor, " probes"]
    pulls: Float[Tensor, "requested probes"]
    own_drops: Float[Tensor, " requested"]


@torch.no_grad()
def forecast(ground: Ground, rows: Int[Tensor, " requested"]) -> Forecast:
    """The forecast for the training records at `rows`."""
    targets, count = ground.records.test.targets, len(ground.heads)
    drops, pulls, own, move = torch.zeros(len(targets)), [], [], 0.0
    for head in ground.heads:
        places = head.of(rows)
        moves = head.moves(places)
        total = moves.sum(0)
        before, after = head.probes @ head.weights.T, head.probes @ (head.weights + total).T
        drops += (margins(before, targets) - margins(after, targets)) / count
        pulls.append(_pulls(head, moves, before, targets) / count)
        moved = head.features[places] @ (head.weights + total).T
        own.append(margins(head.outputs[places], head.targets[places]) - margins(moved, head.targets[places]))
        move = max(move, float(total.norm()))
    return Forecast(move, drops, torch.cat(pulls), torch.cat(own))


@torch.no_grad()
def drops(ground: Ground, batches: Sequence[Int[Tensor, " requested"]]) -> Float[Tensor, "batches probes"]:
    """`forecast(...).drops` of many batches: one system is solved for each batch, not for each record."""
    targets, found = ground.records.test.targets, torch.zeros(len(batches), len(ground.records.test))
    for head in ground.heads:
        summed = torch.stack([head.gradients(head.of(rows)).sum(0) for rows in batches])
        moves = head.solved(summed)
        before = margins(head.probes @ head.weights.T, targets)
        after = [margins(head.probes @ (head.weights + move).T, targets) for move in moves]
        found += (before - torch.stack(after)) / len(ground.heads)
    return found


def _pulls(head: Head, moves: Tensor, before: Tensor, targets: Tensor) -> Tensor:
    """Each record's part: the true class's logit against the runner-up's, both before the deletion."""
    rival = before.scatter(1, targets[:, None], -FAR).argmax(1)
    moved = torch.einsum("kcd,pd->kpc", moves, head.probes)
    places = torch.arange(len(targets))
    return moved[:, places, rival] - moved[:, places, targets]


def _last(module: nn.Module) -> tuple[str, nn.Linear]:
    linear = [(name, part) for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    if not linear or linear[-1][1].bias is None:
        raise ProgrammerError("method-unfit", "the outputs are not a linear layer's")
    return linear[-1]


def _weights(module: nn.Module) -> Tensor:
    _, layer = _last(module)
    return torch.cat([layer.weight, layer.bias[:, None]], 1).detach()


@torch.no_grad()
def _seen(module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """What the last layer sees, with a column of ones, and the outputs."""
    _, layer = _last(module)
    caught: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, given, __: caught.append(given[0]))
    try:
        with deterministic(threads=1):
            outputs = torch.cat([functional_call(module, dict(state), (part,)) for part in inputs.split(BATCH)])
    finally:
        hook.remove()
    features = torch.cat([torch.cat(caught), torch.ones(len(inputs), 1)], 1)
    if not bool(torch.isclose(features @ _weights(module).T, outputs, atol=1e-3, rtol=1e-3).all()):
        raise ProgrammerError("method-unfit", "the outputs are not the last linear layer's own")
    return features, outputs


def right(ground: Ground) -> Bool[Tensor, " probes"]:
    """Which probes the model classifies rightly."""
    return ground.probe_margins > 0
