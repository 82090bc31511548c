"""Exhausting certified budgets: delete first what a certificate pays most for (Marchant et al., AAAI 2022)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, vmap

from expunge.adversaries.requesters.contract import Crafted, Description, Task
from expunge.adversaries.requesters.view import View


@dataclass(frozen=True)
class Exhaust:
    """The records with the largest gradients: certified removal pays with the norm of the step and must retrain sooner.

    Without poisoning: the attacker owns what it owns, and only chooses.
    """

    def describe(self) -> Description:
        """The attack in words."""
        return Description("exhaust-budget", "Delete the records with the largest gradients first.", "AAAI 2022")

    def run(self, task: Task) -> Crafted:
        """Norms of all parameters' gradients."""
        view = View(task, task.known)
        view.evaluations += len(view.train)
        return Crafted(task.ids(task.best(_norms(view))), None, 0.0, view.evaluations)


def _norms(view: View) -> Tensor:
    loss = view.model.recipe.loss

    def single(point: Tensor, row: Tensor, target: Tensor) -> Tensor:
        return loss.per_record(view.logits(point, row[None]), target[None])[0]

    slopes = vmap(grad(single), in_dims=(None, 0, 0), chunk_size=64)
    parts = [
        slopes(view.point, view.train.features[rows], view.train.targets[rows]).norm(dim=1)
        for rows in torch.arange(len(view.train)).split(512)
    ]
    return torch.cat(parts)
