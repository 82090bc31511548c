"""Over-unlearning by copies pushed to the boundary, with labels of predictions alone (Hu et al., NDSS 2024)."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.adversaries.requesters.contract import Crafted, Description, Task
from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training import Model


@dataclass(frozen=True)
class BoundaryCopies:
    """Own records of one class, pushed to just inside or just across its boundary: their unlearning takes the class.

    Black box: the model is asked for labels alone. A copy is found by bisection towards records of other labels, the
    nearest first, and moved closer to its original by random steps along the boundary. Its label is the prediction.

    **Arguments:** `across`: just across instead of just inside; `bisections`: questions for one bisection; `steps`:
    proposals of random steps; `spread`: their size as a share of the distance to the original; `label`: the class,
    `None` for the targets' most frequent one.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    across: bool = False
    bisections: int = 12
    steps: int = 10
    spread: float = 0.3
    label: int | None = None

    def __post_init__(self) -> None:
        if self.bisections < 1 or self.steps < 0 or self.spread <= 0:
            raise ProgrammerError("bad-hyperparameter", "bisections and spread are positive, steps not negative")

    def describe(self) -> Description:
        """The attack in words."""
        name, side = ("boundary-across", "across") if self.across else ("boundary-inside", "inside")
        return Description(name, f"Over-unlearning by copies pushed to just {side} the boundary.", "NDSS 2024, push")

    def run(self, task: Task) -> Crafted:
        """Records of the class at random; `evaluations` counts the questions asked."""
        oracle, train = _Oracle(task.known), task.records.train
        label = int(task.targets.targets.mode().values) if self.label is None else self.label
        generator = torch_generator(task.seed, "requesters/boundary")
        order = torch.rand(len(train), generator=generator).masked_fill(train.targets != label, -torch.inf)
        part = train.select([row for row in task.best(order) if order[row] > -torch.inf])
        if not len(part):
            raise ProgrammerError("method-unfit", "the requester owns no record of this class")
        own, known = oracle.labels(part.features), oracle.labels(train.features)
        other = _nearest_other(part.features, own, train.features, known)
        copies = self._pushed(oracle, part.features, own, other)
        for _ in range(self.steps):
            copies = self._closer(oracle, part.features, own, copies, generator)
        labels = oracle.labels(copies)
        made: Records = replace(part, features=copies, targets=labels, raw=None)
        return Crafted(frozenset(part.ids), made, 0.0, oracle.asked)

    def _pushed(
        self, oracle: "_Oracle", own: Tensor, labels: Int[Tensor, " n"], far: Tensor
    ) -> Float[Tensor, "n *shape"]:
        """On each segment the last point before the label changes, or the first after it."""
        low, high = torch.zeros(len(own)), torch.ones(len(own))
        for _ in range(self.bisections):
            middle = (low + high) / 2
            same = oracle.labels(_between(own, far, middle)) == labels
            low, high = torch.where(same, middle, low), torch.where(same, high, middle)
        return _between(own, far, high if self.across else low)

    def _closer(
        self, oracle: "_Oracle", own: Tensor, labels: Tensor, copies: Tensor, generator: torch.Generator
    ) -> Tensor:
        """A random step of each copy and a bisection back to the boundary, kept where it ended nearer the original."""
        away = (copies - own).flatten(1).norm(dim=1)
        noise = torch.randn(own.shape, generator=generator)
        size = self.spread * away / noise.flatten(1).norm(dim=1).clamp_min(1e-12)
        tried = copies + noise * size.view(-1, *[1] * (own.dim() - 1))
        found = self._pushed(oracle, own, labels, own + 1.5 * (tried - own))
        nearer = (found - own).flatten(1).norm(dim=1) < away
        crossed = (oracle.labels(found) != labels) == self.across
        return torch.where((nearer & crossed).view(-1, *[1] * (own.dim() - 1)), found, copies)


@dataclass(eq=False)
class _Oracle:
    """A model that answers with labels alone, and counts."""

    model: Model
    asked: int = 0

    def labels(self, features: Tensor) -> Int[Tensor, " n"]:
        """The labels of these features, each counted as one question."""
        self.asked += len(features)
        return self.model.predict(features)


def _between(own: Tensor, far: Tensor, share: Float[Tensor, " n"]) -> Tensor:
    return own + share.view(-1, *[1] * (own.dim() - 1)) * (far - own)


def _nearest_other(own: Tensor, labels: Int[Tensor, " n"], pool: Tensor, known: Int[Tensor, " m"]) -> Tensor:
    """For each record the nearest of the pool with another prediction."""
    far = torch.cdist(own.flatten(1), pool.flatten(1)).masked_fill(labels[:, None] == known[None], torch.inf)
    found: Tensor = pool[far.argmin(1)]
    return found
