"""The contract of every estimator, and the record that crosses it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from expunge.valuation.partition import Partition

State: TypeAlias = Mapping[str, np.ndarray]
"""All that an estimator has learned, as named arrays: can be stored, and sampling goes on from it."""

Ask: TypeAlias = Callable[[Bool[np.ndarray, "coalitions width"]], Float[np.ndarray, " coalitions"]]
"""Utilities of coalitions over the partition's columns; repeated coalitions cost nothing."""


class Status(StrEnum):
    """How far one owner's value can be trusted; the text is for people."""

    EXACT = "every coalition that matters was evaluated: no sampling error"
    ESTIMATED = "an unbiased estimate; the interval stands on its samples"
    BIASED = "an estimate whose bias is bounded by the stated figure under the stated assumption"
    INCOMPLETE = "some stratum has no sample yet, or too few for a variance: not an estimate"


@dataclass(frozen=True, eq=False)
class Estimate:
    """Values by column of the partition (columns of nobody are ignored).

    **Arguments:**

    - `value`, `variance`: of the estimator, not of one sample; infinite variance where it is not known.
    - `freedom`: degrees of freedom of the variance (Welch and Satterthwaite where strata are combined).
    - `count`: samples that inform the owner; `fewest`: in the least filled of the owner's strata.
    - `bias`: bound on the bias; 0 for unbiased estimators.
    - `status`: one for each column.
    """

    value: Float[np.ndarray, " width"]
    variance: Float[np.ndarray, " width"]
    freedom: Float[np.ndarray, " width"]
    count: Int[np.ndarray, " width"]
    fewest: Int[np.ndarray, " width"]
    bias: Float[np.ndarray, " width"]
    status: tuple[Status, ...]


@runtime_checkable
class Estimator(Protocol):
    """A frozen dataclass whose fields are the hyper-parameters. Three verbs, the same for all."""

    def start(self, partition: Partition, seed: int) -> State:
        """Nothing learned yet."""

    def sample(self, partition: Partition, state: State, ask: Ask, generator: np.random.Generator, size: int) -> State:
        """Evaluate about `size` coalitions (at least one replicate) and learn from them; `state` stays as it was."""

    def estimate(self, partition: Partition, state: State) -> Estimate:
        """What is known."""


def empty_moments(width: int) -> dict[str, np.ndarray]:
    """The state of a running mean and variance of independent rows."""
    return {"count": np.zeros((), np.int64), "mean": np.zeros(width), "spread": np.zeros(width)}


def add_moments(state: State, samples: Float[np.ndarray, "samples width"]) -> dict[str, np.ndarray]:
    """Merge new independent rows (Chan, Golub and LeVeque's pairwise update, stable)."""
    old, new = int(state["count"]), len(samples)
    mean, total = samples.mean(0), old + new
    gap = mean - state["mean"]
    spread = state["spread"] + ((samples - mean) ** 2).sum(0) + gap**2 * (old * new / total)
    return {**state, "count": np.array(total), "mean": state["mean"] + gap * (new / total), "spread": spread}


def moments_estimate(state: State) -> Estimate:
    """Mean of independent rows, its variance from their spread; two rows are the least that show a variance."""
    count, width = int(state["count"]), len(state["mean"])
    variance = state["spread"] / (count * (count - 1)) if count > 1 else np.full(width, np.inf)
    return Estimate(
        value=state["mean"],
        variance=variance,
        freedom=np.full(width, max(count - 1.0, 1.0)),
        count=np.full(width, count),
        fewest=np.full(width, count),
        bias=np.zeros(width),
        status=(Status.ESTIMATED if count > 1 else Status.INCOMPLETE,) * width,
    )
