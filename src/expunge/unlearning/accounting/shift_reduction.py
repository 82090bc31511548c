"""What noisy steps forget of where they began: shift reduction (Bok, Su and Altschuler, ICML 2024)."""

import math
from dataclasses import dataclass

from expunge.errors import ProgrammerError
from expunge.unlearning.accounting.gaussian import mu_of


@dataclass(frozen=True)
class NoisyDescent:
    """x <- x - lr (clip(g, gradient_bound) + decay x) + N(0, sigma^2 I), `steps` times, from a ball of `radius`.

    Nothing is assumed of the loss. Two starts are 2 radius apart at most; a step shrinks that by c = 1 - lr decay and
    can widen it by 2 lr gradient_bound. With a_t >= 0 of shift absorbed at step t, z' = c z + 2 lr bound - a, all gone
    at the end, the results are no further apart than two Gaussians at mu = sqrt(sum a_t^2) / sigma. The best a_t are
    proportional to c^(steps - t), which gives the closed form below. Koloskova et al., ICML 2025, rest on the same
    argument; this is implemented from mu, for a Renyi epsilon without its order is no epsilon.

    **Raises:** `ProgrammerError("bad-hyperparameter")` where a bound is missing or the step does not contract.
    """

    radius: float
    gradient_bound: float
    lr: float
    decay: float
    steps: int

    def __post_init__(self) -> None:
        if min(self.radius, self.gradient_bound, self.lr) <= 0 or self.decay < 0 or self.steps < 1:
            raise ProgrammerError("bad-hyperparameter", "radius, gradient bound, lr and steps must be positive")
        if self.lr * self.decay >= 1:
            raise ProgrammerError("bad-hyperparameter", f"lr times decay must be below 1, not {self.lr * self.decay}")

    @property
    def shift(self) -> float:
        """All that has to be absorbed, as it would stand at the end."""
        shrink = 1 - self.lr * self.decay
        widened = 2 * self.lr * self.gradient_bound * sum(shrink**step for step in range(self.steps))
        return 2 * self.radius * shrink**self.steps + widened

    @property
    def weight(self) -> float:
        """sqrt(sum of c^2j): how much shift the steps absorb for one unit of mu sigma."""
        shrink = 1 - self.lr * self.decay
        return math.sqrt(sum(shrink ** (2 * step) for step in range(self.steps)))

    def mu(self, sigma: float) -> float:
        """mu at this noise."""
        return self.shift / (sigma * self.weight)

    def sigma_for(self, epsilon: float, delta: float) -> float:
        """The noise of each step that (epsilon, delta) asks for."""
        return self.shift / (mu_of(epsilon, delta) * self.weight)
