"""Permutation sampling that looks into a shard only where the shard as a whole makes a difference."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from expunge.errors import ProgrammerError
from expunge.valuation.estimator import (
    Ask,
    Estimate,
    State,
    Status,
    add_moments,
    empty_moments,
    moments_estimate,
)
from expunge.valuation.partition import Partition
from expunge.valuation.permutation import prefixes


@dataclass(frozen=True)
class Truncated:
    """Where a whole shard adds at most `tolerance` in a permutation, its owners share that equally, unevaluated.

    The shards' sums stay unbiased; only the division within a shard is biased. **Assumption**: an owner who joins
    lowers the utility by at most `dip`. Then each of the k marginals that were skipped lies in
    [-dip, gain + (k-1) dip], and replacing it by gain/k errs by at most max(gain (1 - 1/k) + (k-1) dip, gain/k + dip)
    (0 for k = 1). The mean of these over the permutations is the `bias` that the estimate states: measured, not
    guessed. A shard whose gain is below -k dip breaks the assumption visibly, and is looked into. Truncation by
    position alone (as in Ghorbani and Zou, ICML 2019) has no such bound.

    **Arguments:**

    - `tolerance`: in units of the utility, >= 0.
    - `dip`: the assumption; 0 means that the utility never falls when an owner joins.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    tolerance: float = 0.01
    dip: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.tolerance < np.inf and 0 <= self.dip < np.inf):
            raise ProgrammerError("bad-hyperparameter", "tolerance and dip are finite and >= 0")

    def start(self, partition: Partition, seed: int) -> State:
        """No permutation yet."""
        del seed
        return {**empty_moments(partition.width), "allowance": np.zeros(partition.width)}

    def sample(self, partition: Partition, state: State, ask: Ask, generator: np.random.Generator, size: int) -> State:
        """First the shards of each permutation, then the inside of those that matter."""
        repeats = max(1, size // len(partition.owners))
        orders = np.stack([partition.draw(generator) for _ in range(repeats)])
        steps = prefixes(orders, partition.width)
        ends = _shard_ends(orders, partition)
        wanted = ends | self._matter(steps, ends, ask)
        worth = np.full(steps.shape[:2], np.nan)
        worth[wanted] = ask(steps[wanted])
        found = np.zeros((repeats, partition.width))
        allowance = np.zeros_like(found)
        gains, errors = self._gains(worth)
        np.put_along_axis(found, orders, gains, axis=1)
        np.put_along_axis(allowance, orders, errors, axis=1)
        return {**add_moments(state, found), "allowance": state["allowance"] + allowance.sum(0)}

    def estimate(self, partition: Partition, state: State) -> Estimate:
        """The mean of the marginals, with the bound on the bias."""
        del partition
        plain = moments_estimate(state)
        bias = state["allowance"] / max(int(state["count"]), 1)
        status = tuple(
            Status.BIASED if bound > 0 and known is Status.ESTIMATED else known
            for bound, known in zip(bias, plain.status, strict=True)
        )
        return Estimate(plain.value, plain.variance, plain.freedom, plain.count, plain.fewest, bias, status)

    def _matter(
        self, steps: Bool[np.ndarray, "orders steps width"], ends: Bool[np.ndarray, "orders steps"], ask: Ask
    ) -> Bool[np.ndarray, "orders steps"]:
        """Steps inside shards whose whole gain exceeds the tolerance, or breaks the assumption in plain sight."""
        inside = np.zeros_like(ends)
        worth = ask(steps[ends]).reshape(len(ends), -1)
        for row, line in enumerate(worth):
            stops = np.flatnonzero(ends[row])
            for before, after, gain in zip(stops, stops[1:], np.diff(line), strict=False):
                inside[row, before + 1 : after] = not -(after - before) * self.dip <= gain <= self.tolerance
        return inside

    def _gains(
        self, worth: Float[np.ndarray, "orders steps"]
    ) -> tuple[Float[np.ndarray, "orders present"], Float[np.ndarray, "orders present"]]:
        """Marginals, and how far each may be off; steps that were not evaluated are NaN."""
        gains = np.empty((worth.shape[0], worth.shape[1] - 1))
        errors = np.zeros_like(gains)
        for row, line in enumerate(worth):
            known = np.flatnonzero(~np.isnan(line))
            for before, after in pairwise(known.tolist()):
                k, gain = after - before, float(line[after] - line[before])
                gains[row, before:after] = gain / k
                errors[row, before:after] = self._error(gain, k)
        return gains, errors

    def _error(self, gain: float, k: int) -> float:
        """The most that one of k skipped marginals can differ from gain/k."""
        if k == 1:
            return 0.0
        return max(gain * (1 - 1 / k) + (k - 1) * self.dip, gain / k + self.dip)


def _shard_ends(orders: Int[np.ndarray, "orders present"], partition: Partition) -> Bool[np.ndarray, "orders steps"]:
    """Steps at which only complete shards are in; the first and the last always."""
    shard = np.zeros(partition.width, dtype=np.int64)
    shard[list(partition.shard_of)] = list(partition.shard_of.values())
    line = shard[orders]
    edge = np.ones((len(orders), 1), dtype=np.bool_)
    return np.concatenate([edge, line[:, 1:] != line[:, :-1], edge], axis=1)
