"""Bad teacher: learn ignorance about the forgotten records, and everything else from the network as it stands."""

from collections.abc import Iterator
from dataclasses import dataclass

from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.unlearning.distillation import answers, divergence
from expunge.unlearning.empirical import Ground, carry_out, check_positive, forecast, needs_classes
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned
from expunge.unlearning.walk import Walk


@dataclass(frozen=True)
class BadTeacher:
    """Distil from an untrained network on the forgotten records and from the present one on the retained.

    A batch of either side in each step, the forgotten one with weight `bad`. What it teaches is that nothing is known
    about the forgotten records, which is less than a retrained network would know: expect it to overshoot.

    **Arguments:** `epochs` over the retained records; `lr`, `None` for the recipe's own; `bad`; `temperature`.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epochs: float = 1
    lr: float | None = 0.01
    bad: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, lr=self.lr, temperature=self.temperature)
        if not 0 < self.bad < 1:
            raise ProgrammerError("bad-hyperparameter", f"bad must lie in (0, 1), not be {self.bad}")

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "bad-teacher",
            "Learn ignorance about the forgotten records from an untrained network, the rest from the present one.",
            ClaimKind.EMPIRICAL,
            "Chundawat et al., AAAI 2023",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """A batch of either side for each step; raises `ProgrammerError("method-unfit")` for regression."""
        needs_classes(self, deletion)
        return forecast(deletion, self._work)

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises what `plan` raises."""
        needs_classes(self, deletion)
        return carry_out(self, deletion, self._states)

    def _work(self, ground: Ground) -> int:
        size = ground.recipe.batch_size
        steps = ground.stage(ground.retained, self.epochs, "").steps(size)
        return steps * (min(size, len(ground.retained)) + min(size, len(ground.forgotten)))

    def _states(self, ground: Ground) -> Iterator[State]:
        walk, good, bad = Walk(ground, self.lr, "bad-teacher"), ground.module(), ground.fresh("bad-teacher/untrained")
        forgotten = ground.endless(ground.forgotten, "bad-teacher/forgotten")
        for batch in ground.batches(ground.retained, self.epochs, "bad-teacher/retained"):
            gone = next(forgotten)
            kept = divergence(walk.outputs(batch, retained=True), answers(good, batch), self.temperature)
            lost = divergence(walk.outputs(gone, retained=False), answers(bad, gone), self.temperature)
            walk.step((1 - self.bad) * kept + self.bad * lost, len(batch) + len(gone))
        yield walk.state
