"""S-Shapley taken apart: one plain game over the shards, and one inside each shard.

With m shards, U(all) - U(empty) is shared over the shards by their Shapley value in the game of shards, and the share
of shard d over its owners. For owner i of d, with k = |d| and x_i = 1 where i is in the coalition,

    SSV_i = Q_d / k + 1/(m k) * sum over b = 0..m-1, c = 1..k-1 of D_i(b, c),
    D_i(b, c) = E[U | x_i = 1] - E[U | x_i = 0]    over b complete other shards and c of d's owners, all uniform,

and Q_d itself has the same form with shards as players: Q_d = (U(all) - U(empty))/m + 1/m * sum over t of D_d(t).
Both are a **block**: units of which c are chosen, beside b complete contexts. `docs/valuation.md` has the derivation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import comb

import numpy as np
from jaxtyping import Bool, Float, Int

from expunge.valuation.partition import Partition


@dataclass(frozen=True)
class Block:
    """One plain game.

    **Arguments:**

    - `shard`: the shard inside which owners are chosen; None for the game of shards.
    - `units`: the owners behind each thing that can be chosen (one owner, or all of a shard).
    - `contexts`: the owners of each complete shard that may stand beside.
    - `width`: columns of a coalition.
    """

    shard: int | None
    units: tuple[tuple[int, ...], ...]
    contexts: tuple[tuple[int, ...], ...]
    width: int

    def coalition(self, beside: Sequence[int], chosen: Sequence[int]) -> Bool[np.ndarray, " width"]:
        """The coalition of some contexts and some units, named by their numbers."""
        row = np.zeros(self.width, dtype=np.bool_)
        row[self.members(beside, chosen)] = True
        return row

    def members(self, beside: Sequence[int], chosen: Sequence[int]) -> list[int]:
        """The owners of that coalition."""
        parts = chain((self.contexts[number] for number in beside), (self.units[number] for number in chosen))
        return list(chain.from_iterable(parts))

    def chosen(self, coalitions: Bool[np.ndarray, "coalitions width"]) -> Bool[np.ndarray, "coalitions units"]:
        """Which units are in each coalition of this block."""
        return coalitions[:, [unit[0] for unit in self.units]]

    def beside(self, coalitions: Bool[np.ndarray, "coalitions width"]) -> Bool[np.ndarray, "coalitions contexts"]:
        """Which contexts are in each coalition of this block."""
        return coalitions[:, [context[0] for context in self.contexts]]

    def population(self, b: int, c: int) -> int:
        """Coalitions of `b` contexts and `c` units."""
        return comb(len(self.contexts), b) * comb(len(self.units), c)


@lru_cache(maxsize=4)
def blocks(partition: Partition) -> tuple[Block, ...]:
    """The game of shards, then the game inside each shard; those with a single unit have nothing to decide."""
    shards, width = partition.shards, partition.width
    outer = Block(None, shards, (), width)
    inner = (
        Block(number, tuple((owner,) for owner in shard), shards[:number] + shards[number + 1 :], width)
        for number, shard in enumerate(shards)
    )
    return tuple(block for block in (outer, *inner) if len(block.units) > 1)


def spread(partition: Partition, amounts: Float[np.ndarray, " units"]) -> Float[np.ndarray, " width"]:
    """For each owner the sum over blocks of the amounts of the owner's units, which stand block after block."""
    owner, unit = _places(partition)
    return np.asarray(np.bincount(owner, amounts[unit], partition.width), dtype=np.float64)


@lru_cache(maxsize=4)
def _places(partition: Partition) -> tuple[Int[np.ndarray, " places"], Int[np.ndarray, " places"]]:
    """Every owner of every unit of every block, and the number of the unit over all blocks."""
    units = [unit for block in blocks(partition) for unit in block.units]
    owner = np.array(list(chain.from_iterable(units)), dtype=np.int64)
    return owner, np.repeat(np.arange(len(units)), np.array([len(unit) for unit in units], dtype=np.int64))


def divisor(partition: Partition) -> Float[np.ndarray, " width"]:
    """m |d| for each owner, 1 in columns of nobody."""
    size = np.ones(partition.width)
    size[list(partition.shard_of)] = [partition.sizes[shard] for shard in partition.shard_of.values()]
    return np.asarray(size * len(partition.shards))


def subset(rank: int, size: int, of: int) -> list[int]:
    """Subset number `rank` of `size` out of 0..of-1, in lexicographic order.

    >>> [subset(rank, 2, 3) for rank in range(3)]
    [[0, 1], [0, 2], [1, 2]]
    """
    chosen, item = [], 0
    while size:
        following = comb(of - item - 1, size - 1)
        if rank < following:
            chosen.append(item)
            size -= 1
        else:
            rank -= following
        item += 1
    return chosen
