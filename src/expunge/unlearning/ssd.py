"""SSD: dampen the weights that matter to the forgotten records and little to all others. No gradient step is taken."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from expunge.networks import State
from expunge.training.curvature import squared_gradients
from expunge.unlearning.empirical import Ground, Part, carry_out, check_positive, forecast
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned


@dataclass(frozen=True)
class SSD:
    """Where I_f > alpha I_D, multiply the weight by min(lam I_D / I_f, 1); importances I are mean squared gradients of
    single records, over the forgotten ones and over all.

    **Arguments:** `alpha`: how much more a weight must matter to be chosen; `lam`: how far it is dampened.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    alpha: float = 10.0
    lam: float = 1.0

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha, lam=self.lam)

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "ssd",
            "Dampen the weights that matter to the forgotten records and little to all others.",
            ClaimKind.EMPIRICAL,
            "Foster et al., AAAI 2024",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """One gradient of every record."""
        return forecast(deletion, lambda ground: len(ground.forgotten) + len(ground.retained))

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises nothing of its own."""
        return carry_out(self, deletion, self._states)

    def _states(self, ground: Ground) -> Iterator[State]:
        module, loss = ground.module(), ground.recipe.loss

        def importance(part: Part) -> dict[str, torch.Tensor]:
            found = squared_gradients(module, part.features, part.targets, loss)
            ground.charge(len(part))
            return found

        gone, kept = importance(ground.forgotten), importance(ground.retained)
        share = len(ground.forgotten) / (len(ground.forgotten) + len(ground.retained))
        state = dict(ground.state)
        for name, own in gone.items():
            whole = share * own + (1 - share) * kept[name]
            factor = (self.lam * whole / own.clamp_min(torch.finfo(own.dtype).tiny)).clamp_max(1.0)
            state[name] = torch.where(own > self.alpha * whole, state[name] * factor, state[name])
        yield state
