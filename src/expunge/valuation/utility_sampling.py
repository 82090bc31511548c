"""Utility sampling: every utility informs each owner whose strata it falls into."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from expunge.valuation.estimator import Ask, Estimate, State
from expunge.valuation.partition import Partition
from expunge.valuation.tally import add_tally, cells, covering, cut, empty_tally, levels, populations, tally_estimate


@dataclass(frozen=True)
class UtilitySampling:
    """The paper's stratified estimator: SSV_i is the mean over strata (b, c) of mean U with i minus mean U without.

    Draw a permitted permutation and a cut. A coalition that ends with a complete shard informs everybody, one that
    ends inside a shard that shard's owners. Unbiased as soon as each stratum has a sample.

    Source: Xia et al., PVLDB 16(11), 2023.

    **Arguments:**

    - `fill`: first give every stratum one sample (a uniform one), cell by cell. Without it an owner stays
      `INCOMPLETE` until chance has filled all strata, which takes about n m k log(n m k) draws for m shards of k.
    """

    fill: bool = True

    def start(self, partition: Partition, seed: int) -> State:
        """Empty strata."""
        del seed
        return empty_tally(partition, 2)

    def sample(self, partition: Partition, state: State, ask: Ask, generator: np.random.Generator, size: int) -> State:
        """The next cells to fill, then random cuts."""
        coalitions, filled = next_coalitions(partition, int(state["filled"]), generator, size, self.fill)
        if not state["count"].any():
            nobody = np.zeros((1, partition.width), np.bool_)
            coalitions = np.concatenate([nobody, ~nobody & _present(partition), coalitions])
        new = {**state, "filled": np.array(filled)}
        return self._learn(partition, new, coalitions, ask(coalitions))

    def estimate(self, partition: Partition, state: State) -> Estimate:
        """Mean over strata with, minus mean over strata without."""
        return tally_estimate(partition, state, np.stack([populations(partition, plus) for plus in (True, False)]))

    def _learn(
        self,
        partition: Partition,
        state: State,
        coalitions: Bool[np.ndarray, "coalitions width"],
        worth: Float[np.ndarray, " coalitions"],
    ) -> State:
        """Side 0 holds coalitions with the owner, side 1 those without."""
        informed, b, c = levels(partition, coalitions)
        sample, column = np.nonzero(informed)
        owner = np.array(partition.owners)[column]
        side = (~coalitions[sample, owner]).astype(np.int64)
        return add_tally(state, (side, owner, b[informed], c[informed]), worth[sample])


def next_coalitions(
    partition: Partition, filled: int, generator: np.random.Generator, size: int, fill: bool
) -> tuple[Bool[np.ndarray, "coalitions width"], int]:
    """Coalitions that cover the cells from number `filled` on; once all are covered, random cuts."""
    plan = cells(partition) if fill else ()
    if filled >= len(plan):
        return cut(partition, generator, size), filled
    chosen: list[Bool[np.ndarray, " width"]] = []
    while filled < len(plan) and len(chosen) < size:
        chosen += covering(*plan[filled], generator)
        filled += 1
    return np.stack(chosen), filled


def _present(partition: Partition) -> Bool[np.ndarray, " width"]:
    return np.isin(np.arange(partition.width), partition.owners)
