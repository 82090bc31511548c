"""NegGrad+: descent on what is left and ascent on what is to go, in one step."""

from collections.abc import Iterator
from dataclasses import dataclass

from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.unlearning.empirical import Ground, carry_out, check_positive, forecast
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned
from expunge.unlearning.walk import Walk


@dataclass(frozen=True)
class NegGradPlus:
    """Minimise alpha L(D_r) - (1 - alpha) L(D_f) on pairs of batches.

    **Arguments:** `epochs` over the retained records; `lr`, `None` for the recipe's own; `alpha` in (0, 1].

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epochs: float = 2
    lr: float | None = 0.01
    alpha: float = 0.95

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, lr=self.lr)
        if not 0 < self.alpha <= 1:
            raise ProgrammerError("bad-hyperparameter", f"alpha must lie in (0, 1], not be {self.alpha}")

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "neg-grad-plus",
            "Descend on what is left and climb on what is to go, a batch of each in every step.",
            ClaimKind.EMPIRICAL,
            "Kurmanji et al., NeurIPS 2023 (their baseline NegGrad+)",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """A batch of either side for each step of `epochs` over the retained records."""
        return forecast(deletion, self._work)

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises nothing of its own."""
        return carry_out(self, deletion, self._states)

    def _work(self, ground: Ground) -> int:
        size = ground.recipe.batch_size
        steps = ground.stage(ground.retained, self.epochs, "").steps(size)
        return steps * (min(size, len(ground.retained)) + min(size, len(ground.forgotten)))

    def _states(self, ground: Ground) -> Iterator[State]:
        walk = Walk(ground, self.lr, "neg-grad-plus")
        forgotten = ground.endless(ground.forgotten, "neg-grad-plus/forgotten")
        steps = ground.stage(ground.retained, self.epochs, "").steps(ground.recipe.batch_size)
        for number, batch in enumerate(ground.batches(ground.retained, self.epochs, "neg-grad-plus/retained"), 1):
            gone = next(forgotten)
            loss = self.alpha * walk.loss(batch, retained=True)
            loss = loss - (1 - self.alpha) * walk.loss(gone, retained=False)
            walk.step(loss, len(batch) + len(gone))
            if number % max(1, steps // ROUNDS) == 0 or number == steps:
                yield walk.state


ROUNDS = 10
"""Times that the guard looks."""
