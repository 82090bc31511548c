import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import built, by_formula, by_permitted, by_permutations, partition_of, problems, set_partitions, shapes

from expunge.errors import ProgrammerError
from expunge.valuation import Cached, Exact, Partition, Status, WithEmpty, value
from expunge.valuation.games import Table, paper_game, random_game

PAPER = Partition(((0, 1), (2,)))


def exact(game, partition):
    return value(game, partition, Exact())


def test_the_papers_example():
    assert exact(paper_game(), PAPER).value == pytest.approx([3, 7, 2], abs=1e-12)
    assert exact(paper_game(), Partition.whole(3)).value == pytest.approx([8 / 3, 20 / 3, 8 / 3], abs=1e-12)


def test_one_shard_and_shards_of_one_are_both_the_ordinary_shapley_value():
    alone = Partition(((0,), (1,), (2,)))
    assert exact(paper_game(), alone).value == pytest.approx([8 / 3, 20 / 3, 8 / 3], abs=1e-12)


@pytest.mark.parametrize("count", range(1, 6))
def test_every_partition_of_up_to_five_owners_against_all_permutations(count):
    game = random_game(count, seed=count)
    for shards in set_partitions(list(range(count))):
        partition = Partition(tuple(map(tuple, shards)))
        np.testing.assert_allclose(exact(game, partition).value, by_permutations(game, partition), atol=1e-10)


@given(problems(most=7))
@settings(max_examples=40, deadline=None)
def test_random_games_against_permitted_permutations_and_the_formula(problem):
    game, partition = built(problem)
    found = exact(game, partition)
    np.testing.assert_allclose(found.value, by_formula(game, partition), atol=1e-10)
    if len(partition.owners) <= 6:
        np.testing.assert_allclose(found.value, by_permitted(game, partition), atol=1e-10)


@pytest.mark.parametrize("count", [8, 9, pytest.param(10, marks=pytest.mark.slow)])
def test_every_shape_of_eight_to_ten_owners_against_the_formula(count):
    generator = np.random.default_rng(count)
    game = random_game(count, seed=count)
    for sizes in shapes(count):
        partition = partition_of(sizes, generator.permutation(count).tolist())
        np.testing.assert_allclose(exact(game, partition).value, by_formula(game, partition), atol=1e-10)


def test_no_owner_need_be_in_the_first_columns():
    game = random_game(7, seed=3)
    partition = Partition(((6, 1), (4,)))
    np.testing.assert_allclose(exact(game, partition).value, by_formula(game, partition), atol=1e-12)


def test_each_permitted_coalition_is_evaluated_once():
    game, partition = random_game(10, 0), Partition(((0, 3), (1, 2, 5), (4,), (6, 7, 8, 9)))
    found = exact(game, partition)
    assert found.evaluations == found.lookups == partition.coalitions == 2**4 + 2**3 * (2 + 6 + 14)
    rows = (np.arange(1 << 10)[:, None] >> np.arange(10) & 1).astype(bool)
    assert sum(partition.permits(row) for row in rows) == partition.coalitions
    assert set(found.status) == {Status.EXACT}


def test_too_many_coalitions_are_refused_before_any_is_evaluated():
    game = Cached(random_game(12, 0))
    with pytest.raises(ProgrammerError, match="more than 1000") as raised:
        value(game, Partition.whole(12), Exact(limit=1000))
    assert raised.value.code == "too-many-coalitions"
    assert game.evaluations == 0
    with pytest.raises(ProgrammerError):
        Exact().start(Partition.even(20_000, 1), seed=0)


# ── The four properties that only this value has together (games with any U(empty)) ──────────────────────────────────


@given(problems(least=2))
@settings(max_examples=40, deadline=None)
def test_balance_over_all_and_over_each_shard(problem):
    game, partition = built(problem)
    found = exact(game, partition)
    everybody = np.ones((1, game.owners), bool)
    worth = game.utilities(everybody)[0] - game.utilities(~everybody)[0]
    assert found.value.sum() == pytest.approx(worth, abs=1e-10)
    codes = np.arange(1 << len(partition.shards))
    unions = np.stack([np.isin(np.arange(game.owners), sum(_held(partition, code), ())) for code in codes])
    shares = exact(Table(game.utilities(unions)), Partition.whole(len(partition.shards)))
    for number, shard in enumerate(partition.shards):
        assert sum(found.of(owner) for owner in shard) == pytest.approx(shares.of(number), abs=1e-10)


def _held(partition, code):
    return [shard for number, shard in enumerate(partition.shards) if code >> number & 1]


@given(problems(least=2), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_symmetric_owners_of_a_shard_earn_the_same(problem, random):
    game, partition = built(problem)
    shard = max(partition.shards, key=len)
    if len(shard) < 2:
        return
    one, other = random.sample(shard, 2)
    swapped = _renamed(game, {one: other, other: one})
    symmetric = Table((game.worth + swapped.worth) / 2)
    found = exact(symmetric, partition)
    assert found.of(one) == pytest.approx(found.of(other), abs=1e-10)


def test_symmetric_shards_earn_the_same():
    partition = Partition(((0, 1), (2, 3), (4,)))
    game = random_game(5, seed=8)
    swapped = _renamed(game, {0: 2, 2: 0, 1: 3, 3: 1})
    found = exact(Table((game.worth + swapped.worth) / 2), partition)
    assert found.of(0) + found.of(1) == pytest.approx(found.of(2) + found.of(3), abs=1e-10)
    assert abs(found.of(0) - found.of(1)) > 1e-3


@given(problems(least=2))
@settings(max_examples=40, deadline=None)
def test_who_adds_nothing_earns_nothing(problem):
    game, partition = built(problem)
    codes = np.arange(1 << game.owners)
    idle = partition.owners[0]
    found = exact(Table(game.worth[codes & ~(1 << idle)]), partition)
    assert found.of(idle) == pytest.approx(0, abs=1e-12)


@given(problems(least=2), st.integers(0, 2**32 - 1), st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_values_of_a_sum_of_games_add_up(problem, seed, factor):
    game, partition = built(problem)
    second = random_game(game.owners, seed)
    both = exact(Table(game.worth + factor * second.worth), partition).value
    apart = exact(game, partition).value + factor * exact(second, partition).value
    np.testing.assert_allclose(both, apart, atol=1e-10)


def _renamed(game, names):
    codes = np.arange(1 << game.owners)
    new = np.zeros_like(codes)
    for owner in range(game.owners):
        new |= (codes >> owner & 1) << names.get(owner, owner)
    return Table(game.worth[new])


def test_what_the_empty_coalition_is_worth_is_shared_out_exactly():
    for empty in (0.0, 0.3):
        game = WithEmpty(random_game(5, seed=2), empty)
        found = exact(game, Partition.even(5, 2))
        assert found.value.sum() == pytest.approx(game.utilities(np.ones((1, 5), bool))[0] - empty, abs=1e-12)
