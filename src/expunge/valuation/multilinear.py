"""Owen's multilinear extension at both levels: inclusion probabilities drawn along a stratified line."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from expunge.errors import ProgrammerError
from expunge.valuation.estimator import Ask, Estimate, State, add_moments, empty_moments, moments_estimate
from expunge.valuation.partition import Partition, rows


@dataclass(frozen=True)
class Multilinear:
    """SSV_i = E over p, q uniform in [0, 1] of E[U with i - U without i].

    Other shards are in with probability p each, other owners of i's shard with probability q each. Integrating
    p^b (1-p)^(m-1-b) gives 1/(m C(m-1, b)), and likewise within: the weights of the definition. One sample takes one p
    and one q from each of `nodes` equal intervals, in independent orders, and toggles every owner.

    Source: Owen, Management Science 1972; sampling of Okhrati and Lipani, ICPR 2021, carried to both levels here.

    **Arguments:**

    - `nodes`: intervals of the line.
    - `antithetic`: each coalition is used with its complement, which is a draw at 1-p, 1-q.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    nodes: int = 4
    antithetic: bool = True

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise ProgrammerError("bad-hyperparameter", f"nodes must be >= 1: {self.nodes}")

    def start(self, partition: Partition, seed: int) -> State:
        """No sample yet."""
        del seed
        return empty_moments(partition.width)

    def sample(self, partition: Partition, state: State, ask: Ask, generator: np.random.Generator, size: int) -> State:
        """As many whole samples as fit into `size`, at least one; each is a mean over nodes (and complements)."""
        draws = self.nodes * (1 + self.antithetic)
        cost = draws * (len(partition.owners) + len(partition.shards))
        repeats = max(1, size // cost)
        found = np.zeros((repeats * draws, partition.width))
        for number, shard in enumerate(partition.shards):
            bases = np.concatenate([self._bases(partition, number, generator) for _ in range(repeats)])
            found[:, list(shard)] = _toggled(bases, shard, ask)
        return add_moments(state, found.reshape(repeats, draws, -1).mean(1))

    def estimate(self, partition: Partition, state: State) -> Estimate:
        """The mean of the samples."""
        del partition
        return moments_estimate(state)

    def _bases(
        self, partition: Partition, shard: int, generator: np.random.Generator
    ) -> Bool[np.ndarray, "draws width"]:
        """One draw for each node: other shards at p, this shard's owners at q; then their complements."""
        low = np.arange(self.nodes)
        p = (low + generator.random(self.nodes)) / self.nodes
        q = (generator.permutation(low) + generator.random(self.nodes)) / self.nodes
        whole = generator.random((self.nodes, len(partition.shards))) < p[:, None]
        whole[:, shard] = False
        drawn = (whole.astype(np.int64) @ rows(partition.shards, partition.width).astype(np.int64)) > 0
        own = list(partition.shards[shard])
        drawn[:, own] = generator.random((self.nodes, len(own))) < q[:, None]
        present = rows([partition.owners], partition.width)
        return np.concatenate([drawn, present & ~drawn]) if self.antithetic else drawn


def _toggled(
    bases: Bool[np.ndarray, "draws width"], shard: tuple[int, ...], ask: Ask
) -> Float[np.ndarray, "draws members"]:
    """The marginal of each member of the shard at each base: one utility with it and one without."""
    members = np.array(shard)
    flipped = np.repeat(bases[:, None], len(members), axis=1)
    flipped[:, np.arange(len(members)), members] ^= True
    plain = ask(bases)
    other = ask(flipped.reshape(-1, bases.shape[1])).reshape(len(bases), -1)
    return np.where(bases[:, members], plain[:, None] - other, other - plain[:, None])
