"""Permutation sampling: mean marginal contributions over random permitted permutations."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from expunge.valuation.estimator import Ask, Estimate, State, add_moments, empty_moments, moments_estimate
from expunge.valuation.partition import Partition


@dataclass(frozen=True)
class Permutation:
    """Shuffle shards, shuffle within, add owners one by one. Unbiased. n evaluations give one marginal an owner.

    Source: Xia et al., PVLDB 16(11), 2023 (their Monte Carlo baseline).

    **Arguments:**

    - `antithetic`: each permutation is followed by its reverse, and the mean of the two is one sample: an owner who
      came early then comes late, which cancels what is linear in the position.
    """

    antithetic: bool = False

    def start(self, partition: Partition, seed: int) -> State:
        """No permutation yet."""
        del seed
        return empty_moments(partition.width)

    def sample(self, partition: Partition, state: State, ask: Ask, generator: np.random.Generator, size: int) -> State:
        """As many whole permutations (or pairs) as fit into `size` coalitions, at least one."""
        repeats = max(1, size // (len(partition.owners) * (1 + self.antithetic)))
        orders = np.stack([partition.draw(generator) for _ in range(repeats)])
        found = marginals(orders, partition.width, ask)
        if self.antithetic:
            found = (found + marginals(orders[:, ::-1], partition.width, ask)) / 2
        return add_moments(state, found)

    def estimate(self, partition: Partition, state: State) -> Estimate:
        """The mean of the marginals."""
        del partition
        return moments_estimate(state)


def prefixes(orders: Int[np.ndarray, "orders present"], width: int) -> Bool[np.ndarray, "orders steps width"]:
    """The coalitions of the first 0, 1, ... n owners of each order; steps = present + 1."""
    count, present = orders.shape
    place = np.full((count, width), present)
    np.put_along_axis(place, orders, np.broadcast_to(np.arange(present), orders.shape), axis=1)
    return place[:, None, :] < np.arange(present + 1)[:, None]


def marginals(orders: Int[np.ndarray, "orders present"], width: int, ask: Ask) -> Float[np.ndarray, "orders width"]:
    """Each owner's marginal contribution in each order; 0 in columns of nobody."""
    found = np.zeros((len(orders), width))
    steps = prefixes(orders, width)
    worth = ask(steps.reshape(-1, width)).reshape(steps.shape[:2])
    np.put_along_axis(found, orders, np.diff(worth, axis=1), axis=1)
    return found
