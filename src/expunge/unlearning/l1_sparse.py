"""Fine-tuning under an L1 penalty: sparsity as a means of forgetting."""

from dataclasses import dataclass
from typing import Literal

from expunge.networks import State
from expunge.training import L1, Course, Recipe, Stage
from expunge.unlearning.empirical import check_positive
from expunge.unlearning.fine_tune import (
    RateSchedule,
    check_schedule,
    tuned,
    tuning_course,
    tuning_forecast,
    tuning_recipe,
)
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned


@dataclass(frozen=True)
class L1Sparse:
    """Minimise L(w; D_r) + gamma_t |w|_1 from the present weights.

    The penalty pulls every weight to zero, and only what the retained records hold on to comes back.

    **Arguments:** `epochs`, `lr` and `schedule` as of `FineTune`; `gamma`, `trend`, `free` as in `expunge.training.L1`.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epochs: float = 4
    lr: float | None = None
    gamma: float = 1e-3
    trend: Literal["decreasing", "constant", "increasing"] = "decreasing"
    free: float = 0.0
    schedule: RateSchedule = "constant"

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, lr=self.lr)
        check_schedule(self.schedule)
        self._penalty()

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "l1-sparse",
            "Go on training on what is left, while an L1 penalty takes every weight that nothing else holds.",
            ClaimKind.EMPIRICAL,
            "Jia et al., NeurIPS 2023, section 4",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """`epochs` over the retained records of the constituents concerned."""
        return tuning_forecast(self, deletion)

    def run(self, deletion: Deletion) -> Unlearned:
        """Fine-tune with the penalty; raises what `run_courses` raises."""
        return tuned(self, deletion)

    def tuning(self, recipe: Recipe) -> Recipe:
        """What the constituents of a model trained by `recipe` are tuned by."""
        return tuning_recipe(recipe, self.lr, self._penalty(), self.schedule)

    def course(self, final: Stage, seed: int, state: State) -> Course:
        """The course of a constituent in `state` whose last stage of training was `final`."""
        return tuning_course(final, seed, state, self.epochs)

    def _penalty(self) -> L1:
        return L1(self.gamma, self.trend, self.free)
