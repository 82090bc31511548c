"""Complementary coalitions at both levels: U(C) - U(everybody but C) informs all owners whom C informs."""

from dataclasses import dataclass

import numpy as np

from expunge.valuation.estimator import Ask, Estimate, State
from expunge.valuation.partition import Partition
from expunge.valuation.tally import add_tally, empty_tally, levels, populations, tally_estimate
from expunge.valuation.utility_sampling import next_coalitions


@dataclass(frozen=True)
class Complementary:
    """SSV_i is the mean over strata (b, c) of E[U(C) - U(N minus C)], C with i, b complete other shards, c of i's own.

    The complement of a permitted coalition is permitted: it has the other m-1-b shards and the k-c others of the
    owner's shard, so that over all strata the second terms are all coalitions without i. One pair informs those inside
    C by its difference and those outside by the negative.

    Source: complementary contributions of Zhang et al., SIGMOD 2023, carried to both levels here
    (`docs/valuation.md`).

    **Arguments:**

    - `fill`: first give every stratum a sample, as in `UtilitySampling`.
    """

    fill: bool = True

    def start(self, partition: Partition, seed: int) -> State:
        """Empty strata."""
        del seed
        return empty_tally(partition, 1)

    def sample(self, partition: Partition, state: State, ask: Ask, generator: np.random.Generator, size: int) -> State:
        """Pairs: half of `size` each way."""
        half, filled = next_coalitions(partition, int(state["filled"]), generator, max(1, size // 2), self.fill)
        present = np.array(partition.owners)
        if not state["count"].any():
            half = np.concatenate([np.isin(np.arange(partition.width), present)[None], half])
        rest = np.zeros_like(half)
        rest[:, present] = ~half[:, present]
        worth = ask(np.concatenate([half, rest]))
        difference = worth[: len(half)] - worth[len(half) :]
        informed, b, c = levels(partition, half)
        sample, column = np.nonzero(informed)
        inside = half[sample, present[column]]
        size_of = np.array([partition.sizes[partition.shard_of[owner]] for owner in partition.owners])[column]
        b, c = b[informed], c[informed]
        stratum = np.where(inside, b, len(partition.shards) - 1 - b), np.where(inside, c, size_of - c)
        signed = np.where(inside, difference[sample], -difference[sample])
        new = {**state, "filled": np.array(filled)}
        return add_tally(new, (np.zeros_like(sample), present[column], *stratum), signed)

    def estimate(self, partition: Partition, state: State) -> Estimate:
        """Mean over strata."""
        return tally_estimate(partition, state, populations(partition, True)[None])
