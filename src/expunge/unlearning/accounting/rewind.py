"""How far a rewound and corrected run can be from retraining (Mu and Klabjan, NeurIPS 2025; Neel et al. 2021)."""

from dataclasses import dataclass

from expunge.errors import ProgrammerError


@dataclass(frozen=True)
class Rewind:
    """Full-batch gradient descent, `steps` of it on n records; the last `rewound` are taken again without m of them.

    Both runs start alike. While the losses differ, each step adds at most 2 lr (m/n) G to their distance and stretches
    it by `growth`; the last `rewound` steps on the same loss stretch it only. `growth` is 1 + lr L for a smooth loss
    (exponential in lr L steps: useless for long runs) and 1 - lr mu for a mu-strongly convex one at lr <= 2/(L + mu).

    **Arguments:**

    - `gradient_bound`: G, of the gradient of one record's loss; `smoothness`: L; `convexity`: mu, 0 for none.
    - `records`, `deleted`: n and m.

    **Raises:** `ProgrammerError("bad-hyperparameter")` outside the theorem's conditions.
    """

    steps: int
    rewound: int
    lr: float
    gradient_bound: float
    smoothness: float
    records: int
    deleted: int
    convexity: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.rewound <= self.steps and 0 < self.deleted < self.records and self.lr > 0):
            raise ProgrammerError("bad-hyperparameter", "0 <= rewound <= steps, 0 < deleted < records, lr > 0 needed")
        if self.convexity and self.lr > 2 / (self.smoothness + self.convexity):
            raise ProgrammerError("bad-hyperparameter", "lr is above 2 / (L + mu): the steps need not contract")

    @property
    def growth(self) -> float:
        """Factor of the distance in one step on the same loss."""
        return 1 - self.lr * self.convexity if self.convexity else 1 + self.lr * self.smoothness

    @property
    def distance(self) -> float:
        """Bound on the distance between the corrected model and the retrained one; sigma follows by `sigma_for`."""
        apart = 0.0
        for _ in range(self.steps - self.rewound):
            apart = self.growth * apart + 2 * self.lr * self.gradient_bound * self.deleted / self.records
        return float(apart * self.growth**self.rewound)
