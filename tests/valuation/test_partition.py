import itertools
from collections import Counter
from math import factorial

import numpy as np
import pytest

from expunge.errors import ProgrammerError, RequesterError
from expunge.valuation import Partition
from expunge.valuation.blocks import blocks, subset
from expunge.valuation.partition import rows


@pytest.mark.parametrize("shards", [(), ((),), ((0,), ()), ((0, 0),), ((0,), (0,)), ((-1,),)])
def test_what_is_no_partition_is_refused(shards):
    with pytest.raises(ProgrammerError) as raised:
        Partition(shards)
    assert raised.value.code == "bad-partition"


def test_even_shards():
    assert Partition.even(7, 3).shards == ((0, 1, 2), (3, 4), (5, 6))
    with pytest.raises(ProgrammerError):
        Partition.even(2, 3)


def test_permitted_permutations_are_counted_and_keep_shards_together():
    partition = Partition(((0, 4), (1,), (2, 3, 5)))
    orders = list(partition.permutations())
    assert len(orders) == len(set(orders)) == factorial(3) * 2 * 1 * 6
    for order in orders:
        line = [partition.shard_of[owner] for owner in order]
        assert sum(one != other for one, other in itertools.pairwise(line)) == 2
    prefixes = rows([order[:cut] for order in orders for cut in range(7)], 6)
    assert all(partition.permits(row) for row in prefixes)
    assert len(np.unique(prefixes, axis=0)) == partition.coalitions


def test_draws_are_uniform_over_permitted_permutations():
    partition, generator = Partition(((0, 1), (2,), (3,))), np.random.default_rng(0)
    count = Counter(tuple(partition.draw(generator).tolist()) for _ in range(6000))
    assert set(count) == set(partition.permutations())
    expected = 6000 / len(count)
    chi2 = sum((seen - expected) ** 2 / expected for seen in count.values())
    assert chi2 < 29.6  # 11 degrees of freedom, 0.2 %


def test_leaving_and_joining():
    partition = Partition(((0, 4), (1,), (2, 3)))
    assert partition.without([1]).shards == ((0, 4), (2, 3))
    assert partition.without([0, 3]).shards == ((4,), (1,), (2,))
    assert partition.including(9, 1).shards == ((0, 4), (1, 9), (2, 3))
    assert partition.including(9, 3).shards == ((0, 4), (1,), (2, 3), (9,))
    with pytest.raises(ProgrammerError):
        partition.including(0, 1)
    with pytest.raises(ProgrammerError):
        partition.including(9, 4)


@pytest.mark.parametrize(
    ("leavers", "code"), [([], "nothing-to-delete"), ([7], "unknown-owner"), ([0, 1], "delete-everything")]
)
def test_exits_that_cannot_be(leavers, code):
    with pytest.raises(RequesterError) as raised:
        Partition(((0,), (1,))).without(leavers)
    assert raised.value.code == code


def test_blocks_hold_every_partial_coalition_once():
    partition = Partition(((0, 3), (1, 2, 5), (4,)))
    seen = Counter()
    for block in blocks(partition):
        for b in range(len(block.contexts) + 1):
            for c in range(1, len(block.units)):
                count = block.population(b, c)
                inside = block.population(0, c)
                for rank in range(count):
                    beside = subset(rank // inside, b, len(block.contexts))
                    chosen = subset(rank % inside, c, len(block.units))
                    row = block.coalition(beside, chosen)
                    assert block.chosen(row[None])[0].sum() == c
                    assert block.beside(row[None])[0].sum() == b
                    seen[row.tobytes()] += 1
    assert set(seen.values()) == {1}
    assert len(seen) == partition.coalitions - 2
