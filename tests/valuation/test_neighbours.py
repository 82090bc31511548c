"""The polynomial algorithm against enumeration, and against the recursion of Jia et al. for one shard."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.errors import ProgrammerError
from expunge.valuation import Exact, NeighbourGame, Partition, value


def problem(partition, records, tests=6, neighbours=3, empty=0.0, seed=0, ties=False):
    generator = np.random.default_rng(seed)
    distance = generator.integers(0, 3, (tests, records)) * 1.0 if ties else generator.random((tests, records))
    holder = generator.choice(np.array(partition.owners), records)
    return NeighbourGame(partition, holder, distance, generator.random((tests, records)) < 0.5, neighbours, empty)


@pytest.mark.parametrize("neighbours", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("sizes", [[7], [3, 3, 2], [1, 4], [1, 1, 1, 1], [2, 5, 1]], ids=str)
def test_exact_in_polynomial_time(neighbours, sizes):
    edges = np.cumsum([0, *sizes])
    partition = Partition(tuple(tuple(range(edges[i], edges[i + 1])) for i in range(len(sizes))))
    for empty in (0.0, 0.25):
        game = problem(partition, 25, neighbours=neighbours, empty=empty, seed=len(sizes))
        np.testing.assert_allclose(game.s_shapley(), value(game, partition, Exact()).value, atol=1e-10)


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 20), st.booleans())
@settings(max_examples=30, deadline=None)
def test_random_problems(seed, neighbours, records, ties):
    partition = Partition(((0, 5), (1, 2, 6), (4,)))
    game = problem(partition, records, 3, neighbours, 0.1, seed, ties)
    np.testing.assert_allclose(game.s_shapley(), value(game, partition, Exact()).value, atol=1e-10)


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_one_record_each_in_one_shard_is_the_known_recursion(neighbours):
    """s_last = match/n; s_j = s_(j+1) + (match_j - match_(j+1))/k * min(k, j)/j (Jia et al., theorem 1)."""
    count, generator = 30, np.random.default_rng(2)
    distance, match = generator.random((5, count)), generator.random((5, count)) < 0.4
    total = np.zeros(count)
    for line, right in zip(distance, match, strict=True):
        order = np.argsort(line)
        s = np.zeros(count)
        s[-1] = right[order[-1]] / max(count, neighbours)
        for j in range(count - 1, 0, -1):
            step = float(right[order[j - 1]]) - float(right[order[j]])
            s[j - 1] = s[j] + step / neighbours * min(neighbours, j) / j
        total[order] += s
    game = NeighbourGame(Partition.whole(count), np.arange(count), distance, match, neighbours)
    np.testing.assert_allclose(game.s_shapley(), total / 5, atol=1e-12)


def test_large_games_balance():
    partition = Partition.even(60, 6)
    game = problem(partition, 240, tests=10, neighbours=5, empty=0.1)
    worth = game.utilities(np.ones((1, 60), bool))[0]
    assert game.s_shapley().sum() == pytest.approx(worth - 0.1, abs=1e-10)


def test_nonsense_is_refused():
    partition, distance, match = Partition.whole(2), np.zeros((1, 2)), np.zeros((1, 2), bool)
    holder = np.array([0, 1])
    with pytest.raises(ProgrammerError):
        NeighbourGame(partition, holder, distance, match, neighbours=0)
    with pytest.raises(ProgrammerError):
        NeighbourGame(partition, np.array([0, 2]), distance, match)
    with pytest.raises(ProgrammerError):
        NeighbourGame(partition, holder, distance[:0], match[:0])
