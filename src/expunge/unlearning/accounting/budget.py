"""What a model's deletions may cost together, and what is left."""

import math
from dataclasses import dataclass

from expunge.errors import OperatorError, ProgrammerError
from expunge.unlearning.accounting.gaussian import compose, epsilon_of, mu_of


@dataclass(frozen=True)
class Privacy:
    """The guarantee that is asked for: (epsilon, delta) over all the releases that `requests` deletions make.

    **Arguments:** `requests`: how many equal parts the budget is cut into, in mu^2; 1 spends it on one deletion.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    requests: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.epsilon < math.inf and 0 < self.delta < 1 and self.requests >= 1):
            wanted = "a finite epsilon > 0, 0 < delta < 1 and requests >= 1 are needed"
            raise ProgrammerError("bad-hyperparameter", f"{wanted}, not {self.epsilon}, {self.delta}, {self.requests}")

    @property
    def mu(self) -> float:
        """The whole budget as a distance over noise."""
        return mu_of(self.epsilon, self.delta)

    @property
    def share(self) -> float:
        """The part of one request: mu over the root of the number of requests."""
        return float(self.mu / self.requests**0.5)


LEAST = 1e-9
"""Epsilon of any release: a small mu has epsilon 0 at its delta, and many of them together have not. Booked as this, it
is remembered as no less than it was."""


@dataclass(frozen=True)
class Budget:
    """A budget with what earlier deletions of the same model have used of it.

    **Arguments:** `spent`: epsilon, at the same delta, of all certified releases since the model was last trained on
    its own.
    """

    privacy: Privacy
    spent: float = 0.0

    def charge(self, mu: float) -> "Budget":
        """The budget after one more release at `mu`.

        **Raises:** `OperatorError("budget-spent")`: nothing is ever published beyond the budget.
        """
        used = mu_of(self.spent, self.privacy.delta) if self.spent else 0.0
        after = max(epsilon_of(compose((used, mu)), self.privacy.delta), LEAST)
        if after > self.privacy.epsilon * (1 + 1e-9):
            raise OperatorError(
                "budget-spent",
                f"this deletion would bring epsilon to {after:.4g}, and the budget is {self.privacy.epsilon:.4g}",
            )
        return Budget(self.privacy, after)

    @property
    def left(self) -> float:
        """Epsilon that is left, at the same delta."""
        return max(self.privacy.epsilon - self.spent, 0.0)
