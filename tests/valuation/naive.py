"""References written as literally as the definitions read; slow on purpose."""

from itertools import pairwise, permutations
from math import comb

import numpy as np
from hypothesis import strategies as st

from expunge.valuation import Game, Partition
from expunge.valuation.games import Table, random_game


def worth(game: Game, owners: frozenset[int]) -> float:
    row = np.zeros((1, game.owners), np.bool_)
    row[0, list(owners)] = True
    return float(game.utilities(row)[0])


class Memo:
    """The utility of a set of owners, asked of the game once."""

    def __init__(self, game: Game) -> None:
        self.game, self.known = game, {}

    def __call__(self, owners: frozenset[int]) -> float:
        if owners not in self.known:
            self.known[owners] = worth(self.game, owners)
        return self.known[owners]


def by_permutations(game: Game, partition: Partition) -> np.ndarray:
    """The mean marginal over all permutations of *all* owners, those that tear a shard apart thrown out."""
    u, total, count = Memo(game), dict.fromkeys(partition.owners, 0.0), 0
    for order in permutations(partition.owners):
        line = [partition.shard_of[owner] for owner in order]
        if sum(one != other for one, other in pairwise(line)) != len(partition.shards) - 1:
            continue
        count += 1
        for place, owner in enumerate(order):
            total[owner] += u(frozenset(order[: place + 1])) - u(frozenset(order[:place]))
    return np.array([total[owner] / count for owner in partition.owners])


def by_permitted(game: Game, partition: Partition) -> np.ndarray:
    """The mean marginal over the permitted permutations, one by one."""
    u, total, count = Memo(game), dict.fromkeys(partition.owners, 0.0), 0
    for order in partition.permutations():
        count += 1
        for place, owner in enumerate(order):
            total[owner] += u(frozenset(order[: place + 1])) - u(frozenset(order[:place]))
    return np.array([total[owner] / count for owner in partition.owners])


def by_formula(game: Game, partition: Partition) -> np.ndarray:
    """The definition's sum over DS and S, set by set."""
    u, m = Memo(game), len(partition.shards)
    value = []
    for owner in partition.owners:
        shard = partition.shards[partition.shard_of[owner]]
        others = [part for part in partition.shards if part is not shard]
        mates = [mate for mate in shard if mate != owner]
        total = 0.0
        for beside in subsets(others):
            for inside in subsets(mates):
                base = frozenset(inside).union(*beside)
                weight = comb(m - 1, len(beside)) * comb(len(mates), len(inside))
                total += (u(base | {owner}) - u(base)) / weight
        value.append(total / (m * len(shard)))
    return np.array(value)


def subsets(items):
    return [[item for bit, item in enumerate(items) if code >> bit & 1] for code in range(1 << len(items))]


def set_partitions(owners: list[int]):
    """Every partition of the owners."""
    if not owners:
        yield []
        return
    first, rest = owners[0], owners[1:]
    for smaller in set_partitions(rest):
        yield [[first], *smaller]
        for number, part in enumerate(smaller):
            yield [*smaller[:number], [first, *part], *smaller[number + 1 :]]


def shapes(count: int, largest: int | None = None):
    """Every multiset of shard sizes that adds up to `count`."""
    if count == 0:
        yield ()
        return
    for size in range(min(count, largest or count), 0, -1):
        for rest in shapes(count - size, size):
            yield (size, *rest)


def partition_of(sizes, order) -> Partition:
    """Shards of these sizes, filled in this order."""
    edges = np.cumsum([0, *sizes])
    return Partition(tuple(tuple(order[low:high]) for low, high in pairwise(edges)))


@st.composite
def problems(draw, least: int = 1, most: int = 7):
    """Plain data for `built`: owners' shard labels and a seed (checked classes may not be made inside a strategy)."""
    count = draw(st.integers(least, most))
    labels = draw(st.lists(st.integers(0, count - 1), min_size=count, max_size=count))
    return labels, draw(st.integers(0, 2**32 - 1))


def built(problem) -> tuple[Table, Partition]:
    """A random game, and a random partition of its owners."""
    labels, seed = problem
    shards = [tuple(np.flatnonzero(np.array(labels) == label).tolist()) for label in dict.fromkeys(labels)]
    return random_game(len(labels), seed), Partition(tuple(shards))
