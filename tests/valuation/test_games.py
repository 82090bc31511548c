"""Closed forms against enumeration, and textbook numbers."""

import numpy as np
import pytest
from naive import set_partitions

from expunge.errors import ProgrammerError
from expunge.valuation import Exact, Game, Partition, value
from expunge.valuation.games import (
    Additive,
    Airport,
    Dividends,
    Glove,
    Table,
    Voting,
    random_dividends,
    unanimity,
)

KNOWN = [
    Additive((0.5, -1.0, 2.0, 0.0, 3.0)),
    unanimity(5, (0, 2, 3)),
    random_dividends(5, 12, seed=4),
    Dividends(5, ((0, 1), (1, 2, 4), ()), (1.5, -2.0, 7.0)),
    Airport((3.0, 1.0, 1.0, 8.0, 0.0)),
]


@pytest.mark.parametrize("game", KNOWN, ids=lambda game: type(game).__name__)
def test_closed_forms_hold_for_every_partition(game):
    assert isinstance(game, Game)
    for shards in set_partitions(list(range(5))):
        partition = Partition(tuple(map(tuple, shards)))
        np.testing.assert_allclose(value(game, partition, Exact()).value, game.s_shapley(partition), atol=1e-10)


@pytest.mark.parametrize("game", KNOWN, ids=lambda game: type(game).__name__)
def test_closed_forms_hold_for_those_who_stay(game):
    partition = Partition(((4, 1), (3,)))
    np.testing.assert_allclose(value(game, partition, Exact()).value, game.s_shapley(partition), atol=1e-10)


def test_voting_with_shareholders():
    """One owner with 50, one with 49, one with 1 of 100 votes, quota 51: Shapley and Shubik's 2/3, 1/6, 1/6."""
    found = value(Voting((50.0, 49.0, 1.0), 51.0), Partition.whole(3), Exact())
    assert found.value == pytest.approx([2 / 3, 1 / 6, 1 / 6], abs=1e-12)


def test_security_council():
    """Five permanent members of fifteen, quota 39 of 5 * 7 + 10: 0.19627 and 0.001865 (Shapley and Shubik)."""
    found = value(Voting((7.0,) * 5 + (1.0,) * 10, 39.0), Partition.whole(15), Exact())
    assert found.value[0] == pytest.approx(421 / 2145, abs=1e-12)
    assert found.value[-1] == pytest.approx(4 / 2145, abs=1e-12)


def test_majority_with_blocs():
    """Three voters, simple majority: a bloc of two wins alone, and shares the vote equally (Owen 1977)."""
    majority = Voting((1.0, 1.0, 1.0), 2.0)
    assert value(majority, Partition.whole(3), Exact()).value == pytest.approx([1 / 3] * 3, abs=1e-12)
    assert value(majority, Partition(((0, 1), (2,))), Exact()).value == pytest.approx([0.5, 0.5, 0], abs=1e-12)


@pytest.mark.parametrize(("left", "right"), [(1, 1), (1, 2), (1, 6), (4, 1)])
def test_gloves(left, right):
    game = Glove(left, right)
    found = value(game, Partition.whole(left + right), Exact())
    np.testing.assert_allclose(found.value, game.shapley(), atol=1e-12)


def test_games_refuse_nonsense():
    with pytest.raises(ProgrammerError):
        Glove(2, 2).shapley()
    with pytest.raises(ProgrammerError):
        Airport((1.0, -1.0))
    with pytest.raises(ProgrammerError):
        Table(np.zeros(3))
