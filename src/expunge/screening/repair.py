"""Repair: after a deletion, give the neighbourhoods that it thinned out more weight, from retained records alone."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import functional_call

from expunge.errors import ProgrammerError
from expunge.networks import layout
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.screening.submission import Description
from expunge.training import Model


@dataclass(frozen=True)
class Repair:
    """Fine-tune the model after the deletion on batches that hold a share of the deleted records' retained neighbours.

    No deleted record is in any batch. *Where* they stood steers the choice, so that an exact claim becomes empirical:
    the audit has to be run on the repaired model.

    **Arguments:** `neighbours`: retained records of the same class for each deleted one; `share`: of a batch that they
    fill; `lr` falls over `steps` by half a cosine.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    neighbours: int = 20
    share: float = 0.25
    steps: int = 200
    lr: float = 0.1
    momentum: float = 0.9
    batch: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or min(self.neighbours, self.steps, self.batch) < 1 or self.lr <= 0:
            raise ProgrammerError("bad-hyperparameter", "0 < share < 1; neighbours, steps, batch and lr are positive")

    def describe(self) -> Description:
        """The defence in words."""
        return Description(
            "repair",
            "Part of the flips of a deletion by neighbours, at no loss of accuracy.",
            "Targets on the boundary that nothing retained resembles: exact retraining loses them too.",
            "spec D3",
        )

    def run(self, after: Model, deleted: Records, retained: Records, seed: int = 0) -> Model:
        """The repaired model.

        **Arguments:** `after`: the model after the deletion, one network; `deleted`, `retained`: training records.

        **Raises:** `ProgrammerError("method-unfit")` for several networks or a regression.
        """
        if not after.is_single or not retained.classes:
            raise ProgrammerError("method-unfit", "repair takes a classifier of one network")
        rows = self.thinned(deleted, retained)
        if not len(rows):
            return after
        module, draw = after.module(), torch_generator(seed, "screening/repair")
        state, where = dict(after.constituents[0] or {}), layout(module)
        point = where.flatten(state)
        speed, width = torch.zeros_like(point), max(1, round(self.share * self.batch))
        for step in range(self.steps):
            plain = torch.randint(len(retained), (self.batch - width,), generator=draw)
            chosen = torch.cat([plain, rows[torch.randint(len(rows), (width,), generator=draw)]])
            point = point.detach().requires_grad_()
            outputs = functional_call(module, where.unflatten(point), (retained.features[chosen],))
            loss = after.recipe.loss.mean(outputs, retained.targets[chosen])
            speed = self.momentum * speed + torch.autograd.grad(loss, point)[0]
            point = point - self.lr * after.recipe.schedule.factor(step, self.steps) * speed
        new = {name: part.clone() for name, part in where.unflatten(point.detach()).items()}
        return replace(after, constituents=({**state, **new},))

    def thinned(self, deleted: Records, retained: Records) -> Int[Tensor, " neighbours"]:
        """Positions among `retained` of the nearest records of the same class to each deleted one."""
        if not len(deleted):
            return torch.zeros(0, dtype=torch.long)
        apart: Float[Tensor, "deleted retained"] = torch.cdist(
            deleted.features.flatten(1), retained.features.flatten(1)
        )
        apart = apart.masked_fill(deleted.targets[:, None] != retained.targets[None], float("inf"))
        nearest = apart.topk(min(self.neighbours, len(retained)), largest=False)
        found: Tensor = nearest.indices[nearest.values.isfinite()].unique()
        return found
