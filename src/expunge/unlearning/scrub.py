"""SCRUB: a student that disobeys its teacher on the forgotten records and obeys on the rest."""

from collections.abc import Iterator
from dataclasses import dataclass

from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.unlearning.distillation import answers, divergence
from expunge.unlearning.empirical import Ground, carry_out, check_positive, forecast, needs_classes
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned
from expunge.unlearning.walk import Walk


@dataclass(frozen=True)
class SCRUB:
    """In the first `ascents` rounds one pass that climbs KL(teacher || student) on the forgotten records; in every
    round one pass over the retained that minimises `ce` times the loss plus `kl` times that divergence.

    The teacher is the network as it stands. The round's end is guarded; a climb that no descent makes good is undone.

    **Arguments:** `rounds`, `ascents`; `lr`, `None` for the recipe's own; `ce`, `kl`; `temperature` of the divergence.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    rounds: int = 3
    ascents: int = 2
    lr: float | None = 3e-3
    ce: float = 1.0
    kl: float = 1.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        check_positive(rounds=self.rounds, lr=self.lr, ce=self.ce, temperature=self.temperature)
        if not 0 <= self.ascents <= self.rounds or self.kl < 0:
            raise ProgrammerError("bad-hyperparameter", "0 <= ascents <= rounds and kl >= 0 are needed")

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "scrub",
            "A student that disobeys its teacher on the forgotten records and obeys on the rest.",
            ClaimKind.EMPIRICAL,
            "Kurmanji et al., NeurIPS 2023",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """Passes over both sides; raises `ProgrammerError("method-unfit")` for regression."""
        needs_classes(self, deletion)
        return forecast(deletion, self._work)

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises what `plan` raises."""
        needs_classes(self, deletion)
        return carry_out(self, deletion, self._states)

    def _work(self, ground: Ground) -> int:
        climb, descend = ground.evaluations(ground.forgotten, 1), ground.evaluations(ground.retained, 1)
        return self.ascents * climb + self.rounds * descend

    def _states(self, ground: Ground) -> Iterator[State]:
        walk, teacher = Walk(ground, self.lr, "scrub"), ground.module()
        for number in range(self.rounds):
            climb = ground.batches(ground.forgotten, 1, f"scrub/forgotten/{number}")
            for batch in climb if number < self.ascents else ():
                outputs = walk.outputs(batch, retained=False)
                walk.step(-divergence(outputs, answers(teacher, batch), self.temperature), len(batch))
            for batch in ground.batches(ground.retained, 1, f"scrub/retained/{number}"):
                outputs = walk.outputs(batch, retained=True)
                loss = self.ce * ground.recipe.loss.mean(outputs, batch.targets)
                walk.step(loss + self.kl * divergence(outputs, answers(teacher, batch), self.temperature), len(batch))
            yield walk.state
