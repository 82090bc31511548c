"""What a valuation returns: a value for each owner with its uncertainty, and all that going on needs."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from expunge.errors import ProgrammerError, RequesterError
from expunge.valuation.estimator import Estimate, Estimator, State, Status
from expunge.valuation.partition import Partition


@dataclass(frozen=True, eq=False)
class Run:
    """Where sampling stands, so that it can go on bit for bit as if it had never stopped."""

    estimator: Estimator
    state: State
    seed: int
    batch: int
    rounds: int


@dataclass(frozen=True, eq=False)
class Values:
    """S-Shapley values of the owners of a partition, in the order of `partition.owners`.

    **Arguments:**

    - `value`: in units of the utility; `variance`: of the value, infinite where unknown.
    - `freedom`: degrees of freedom behind the variance; `bias`: bound on the bias, 0 for unbiased estimators.
    - `count`: samples that inform the owner; `fewest`: in the least filled of the owner's strata.
    - `status`: one for each owner.
    - `evaluations`: utilities that were newly evaluated; `lookups`: all that were asked for, known ones included.
    - `seconds`: that the valuation took.
    - `run`: lets `resume` go on; None after `update` and `join`, whose samples belong to a game that is gone.
    """

    partition: Partition
    value: Float[np.ndarray, " owners"]
    variance: Float[np.ndarray, " owners"]
    freedom: Float[np.ndarray, " owners"]
    bias: Float[np.ndarray, " owners"]
    count: Int[np.ndarray, " owners"]
    fewest: Int[np.ndarray, " owners"]
    status: tuple[Status, ...]
    evaluations: int = 0
    lookups: int = 0
    seconds: float = 0.0
    run: Run | None = field(default=None, repr=False)

    @property
    def owners(self) -> tuple[int, ...]:
        """Owners in the order of the arrays."""
        return self.partition.owners

    @property
    def exact(self) -> bool:
        """Whether no value has a sampling error."""
        return all(status is Status.EXACT for status in self.status)

    def of(self, owner: int) -> float:
        """The value of one owner; raises `RequesterError("unknown-owner")`."""
        if owner not in self.partition.shard_of:
            raise RequesterError("unknown-owner", "that owner has no value here")
        return float(self.value[self.owners.index(owner)])

    def half_width(self, confidence: float = 0.95) -> Float[np.ndarray, " owners"]:
        """Half of each owner's own confidence interval (Student's t at `freedom`), the bias bound added."""
        from scipy.special import stdtrit

        if not 0 < confidence < 1:
            raise ProgrammerError("bad-hyperparameter", f"confidence lies between 0 and 1: {confidence}")
        quantile = stdtrit(np.minimum(self.freedom, 1e9), (1 + confidence) / 2)
        return np.asarray(quantile * np.sqrt(self.variance) + self.bias)

    def to_json(self, confidence: float = 0.95) -> list[dict[str, Any]]:
        """One plain object for each owner; what is unknown is None, never infinity."""
        halves = self.half_width(confidence)
        return [
            {
                "owner": owner,
                "shard": self.partition.shard_of[owner],
                "value": float(self.value[row]),
                "half_width": float(halves[row]) if np.isfinite(halves[row]) else None,
                "bias_bound": float(self.bias[row]),
                "samples": int(self.count[row]),
                "status": self.status[row].name.lower(),
            }
            for row, owner in enumerate(self.owners)
        ]


def collect(
    partition: Partition, estimate: Estimate, run: Run, evaluations: int, lookups: int, seconds: float
) -> Values:
    """Values from an estimate by columns."""
    keep = list(partition.owners)
    return Values(
        partition=partition,
        value=estimate.value[keep],
        variance=estimate.variance[keep],
        freedom=estimate.freedom[keep],
        bias=estimate.bias[keep],
        count=estimate.count[keep],
        fewest=estimate.fewest[keep],
        status=tuple(estimate.status[owner] for owner in keep),
        evaluations=evaluations,
        lookups=lookups,
        seconds=seconds,
        run=run,
    )
