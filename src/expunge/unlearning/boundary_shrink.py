"""Boundary shrink: hand each forgotten record to the class next door."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from expunge.networks import State
from expunge.unlearning.adversarial import ends_of, fgsm, second_choice
from expunge.unlearning.empirical import Ground, Part, carry_out, check_positive, forecast, needs_classes
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned
from expunge.unlearning.walk import Walk


@dataclass(frozen=True)
class BoundaryShrink:
    """Train on the forgotten records under the label that a small adversarial step gives them. No other record is used.

    **Arguments:** `epochs` over the forgotten records; `lr`, `None` for the recipe's own; `radius` of the step, in
    units of the features.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epochs: float = 5
    lr: float | None = 1e-3
    radius: float = 0.1

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, lr=self.lr, radius=self.radius)

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "boundary-shrink",
            "Teach each forgotten record the label of the class next door; no other record is needed.",
            ClaimKind.EMPIRICAL,
            "Chen et al., CVPR 2023",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """One gradient by the features, then `epochs`; raises `ProgrammerError("method-unfit")` for regression."""
        needs_classes(self, deletion)
        return forecast(deletion, lambda g: len(g.forgotten) + g.evaluations(g.forgotten, self.epochs))

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises what `plan` raises."""
        needs_classes(self, deletion)
        return carry_out(self, deletion, self._states)

    def _states(self, ground: Ground) -> Iterator[State]:
        module, part = ground.module(), ground.forgotten
        moved = fgsm(module, part, self.radius, ends_of(ground.retained))
        ground.charge(len(part))
        with torch.no_grad():
            neighbours = second_choice(module(moved), part.targets)
        walk = Walk(ground, self.lr, "boundary-shrink")
        for batch in ground.batches(Part(part.features, neighbours), self.epochs, "boundary-shrink"):
            walk.step(walk.loss(batch, retained=False), len(batch))
            yield walk.state
