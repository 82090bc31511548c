"""SalUn: random labels, taught to the weights alone that the forgotten records lean on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.training.pruning import highest
from expunge.unlearning.empirical import Ground, carry_out, check_positive, forecast, needs_classes
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned
from expunge.unlearning.random_labels import relabelled, relabelling_work


@dataclass(frozen=True)
class SalUn:
    """Random labels on the `share` of the weights with the largest gradient of the forgotten records' loss.

    All other weights are put back after every step: masking gradients alone would let weight decay move them.

    **Arguments:** `rounds`; `lr`, `None` for the recipe's own; `share` of all parameters that may move.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    rounds: int = 2
    lr: float | None = 0.01
    share: float = 0.5

    def __post_init__(self) -> None:
        check_positive(rounds=self.rounds, lr=self.lr)
        if not 0 < self.share <= 1:
            raise ProgrammerError("bad-hyperparameter", f"share must lie in (0, 1], not be {self.share}")

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "salun",
            "Random labels, taught to those weights alone that the forgotten records lean on.",
            ClaimKind.EMPIRICAL,
            "Fan et al., ICLR 2024",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """One gradient of the forgotten records, then as random labels; raises as they do."""
        needs_classes(self, deletion)
        return forecast(deletion, lambda ground: len(ground.forgotten) + relabelling_work(ground, self.rounds))

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises as random labels do."""
        needs_classes(self, deletion)
        return carry_out(
            self,
            deletion,
            lambda ground: relabelled(ground, self.rounds, self.lr, "salun", saliency(ground, self.share)),
        )


def saliency(ground: Ground, share: float) -> dict[str, Tensor]:
    """Where the loss of the forgotten records is steepest: this share of all parameters."""
    module, part = ground.module(), ground.forgotten
    named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    loss = ground.recipe.loss.mean(module(part.features), part.targets)
    slopes = torch.autograd.grad(loss, list(named.values()))
    ground.charge(len(part))
    return highest({name: slope.abs() for name, slope in zip(named, slopes, strict=True)}, share)
