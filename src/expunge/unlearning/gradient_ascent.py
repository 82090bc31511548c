"""Gradient ascent on the forgotten records, under guard."""

from collections.abc import Iterator
from dataclasses import dataclass

from expunge.networks import State
from expunge.unlearning.empirical import Ground, carry_out, check_positive, forecast
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned
from expunge.unlearning.walk import Walk


@dataclass(frozen=True)
class GradientAscent:
    """Climb the loss of the forgotten records. It needs no other record, and nothing holds it back.

    Between rates that do nothing and rates that destroy the network there is little room. After each step over a
    batch the retained records are looked at: where the network collapses, the step before is the end, and the record
    of the run says so.

    **Arguments:** `epochs` over the forgotten records; `lr`, `None` for the recipe's own.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epochs: float = 5
    lr: float | None = 3e-3

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, lr=self.lr)

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "gradient-ascent",
            "Climb the loss of the forgotten records, and stop before the network is destroyed.",
            ClaimKind.EMPIRICAL,
            "baseline GA of Jia et al., NeurIPS 2023; Thudi et al., EuroS&P 2022",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """`epochs` over the forgotten records."""
        return forecast(deletion, lambda ground: ground.evaluations(ground.forgotten, self.epochs))

    def run(self, deletion: Deletion) -> Unlearned:
        """Climb; raises nothing of its own."""
        return carry_out(self, deletion, self._states)

    def _states(self, ground: Ground) -> Iterator[State]:
        walk = Walk(ground, self.lr, "gradient-ascent")
        for batch in ground.batches(ground.forgotten, self.epochs, "gradient-ascent"):
            walk.step(-walk.loss(batch, retained=False), len(batch))
            yield walk.state
