"""AMUN: let confidence fall just where the forgotten records are, by their own adversarial examples."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from expunge.networks import State
from expunge.unlearning.adversarial import ends_of, nearest
from expunge.unlearning.empirical import Ground, Part, carry_out, check_positive, forecast, needs_classes
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned
from expunge.unlearning.walk import Walk


@dataclass(frozen=True)
class AMUN:
    """Train on the retained records together with the nearest adversarial example of each forgotten one, under the
    adversarial label.

    Such examples lie on the side of the boundary that the network already gives that label: learning them moves the
    boundary little elsewhere.

    **Arguments:** `epochs` over both; `lr`, `None` for the recipe's own; `radius`, `steps` of the search, as shares
    of the records' norm (see `adversarial.nearest`).

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epochs: float = 2
    lr: float | None = 0.01
    radius: float = 0.5
    steps: int = 40

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, lr=self.lr, radius=self.radius, steps=self.steps)

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "amun",
            "Train on what is left and on the nearest adversarial example of each forgotten record, under its label.",
            ClaimKind.EMPIRICAL,
            "Ebrahimpour-Boroojeny et al., ICML 2025",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """The search, then `epochs`; raises `ProgrammerError("method-unfit")` for regression."""
        needs_classes(self, deletion)
        return forecast(deletion, self._work)

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises what `plan` raises."""
        needs_classes(self, deletion)
        return carry_out(self, deletion, self._states)

    def _work(self, ground: Ground) -> int:
        both = _both(ground.retained, ground.forgotten)
        return self.steps * len(ground.forgotten) + ground.evaluations(both, self.epochs)

    def _states(self, ground: Ground) -> Iterator[State]:
        near, labels = nearest(ground.module(), ground.forgotten, self.radius, self.steps, ends_of(ground.retained))
        ground.charge(self.steps * len(ground.forgotten))
        walk, both = Walk(ground, self.lr, "amun"), _both(ground.retained, Part(near, labels))
        for batch in ground.batches(both, self.epochs, "amun"):
            walk.step(walk.loss(batch, retained=True), len(batch))
        yield walk.state


def _both(first: Part, second: Part) -> Part:
    return Part(torch.cat([first.features, second.features]), torch.cat([first.targets, second.targets]))
