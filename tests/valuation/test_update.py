"""Updates against enumeration before and after: every kind of exit, the trap included."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import Memo, built, by_formula, problems, set_partitions, subsets

from expunge.errors import ProgrammerError, RequesterError
from expunge.valuation import (
    Cached,
    Evaluations,
    Exact,
    HalfWidth,
    Partition,
    Permutation,
    Rounds,
    Status,
    Touched,
    UtilitySampling,
    join,
    resume,
    update,
    value,
)
from expunge.valuation.games import random_dividends, random_game
from expunge.valuation.update import FEW


def exact(game, partition):
    return value(game, partition, Exact())


@pytest.mark.parametrize("count", [2, 3, 4, pytest.param(5, marks=pytest.mark.slow)])
def test_every_exit_from_every_partition(count):
    """Single, batched and shard-emptying exits: all non-empty proper subsets of owners leave."""
    game = Cached(random_game(count, seed=10 + count))
    for shards in set_partitions(list(range(count))):
        partition = Partition(tuple(map(tuple, shards)))
        before = exact(game, partition)
        for leavers in subsets(range(count))[1:-1]:
            after = update(before, game, leavers, Exact())
            assert after.owners == partition.without(leavers).owners
            assert after.exact
            np.testing.assert_allclose(after.value, by_formula(game, partition.without(leavers)), atol=1e-10)


@given(problems(least=3, most=8), st.data())
@settings(max_examples=30, deadline=None)
def test_random_batched_exits(problem, data):
    game, partition = built(problem)
    leavers = data.draw(st.sets(st.sampled_from(partition.owners), min_size=1, max_size=len(partition.owners) - 1))
    after = update(exact(game, partition), game, leavers, Exact())
    np.testing.assert_allclose(after.value, exact(game, partition.without(leavers)).value, atol=1e-10)


def test_one_by_one_is_all_at_once():
    game, partition = random_game(7, seed=1), Partition(((0, 1, 2), (3, 4), (5, 6)))
    once = update(exact(game, partition), game, [1, 3, 4], Exact())
    step = exact(game, partition)
    for leaver in (3, 1, 4):
        step = update(step, game, [leaver], Exact())
    np.testing.assert_allclose(step.value, once.value, atol=1e-10)


# ── The cases of the paper, written out as docs/valuation.md derives them ────────────────────────────────────────────


def other_shard_change(game, partition, owner, leaver):
    """The trap: i in d, the leaver in d_p, which lives on. Coalitions without d_p do not matter."""
    u, m = Memo(game), len(partition.shards)
    shard, left = (partition.shards[partition.shard_of[who]] for who in (owner, leaver))
    others = [part for part in partition.shards if part not in (shard, left)]
    mates = [mate for mate in shard if mate != owner]
    total = 0.0
    for beside in subsets(others):
        for inside in subsets(mates):
            rest = frozenset(inside).union(*beside)
            full, less = rest | set(left), rest | set(left) - {leaver}
            change = (u(less | {owner}) - u(less)) - (u(full | {owner}) - u(full))
            total += change / (comb(m - 1, len(beside) + 1) * comb(len(mates), len(inside)))
    return total / (m * len(shard))


def same_shard_change(game, partition, owner, leaver):
    """i and the leaver in one shard: coalitions in which the leaver came first."""
    u, m = Memo(game), len(partition.shards)
    shard = partition.shards[partition.shard_of[owner]]
    others = [part for part in partition.shards if part is not shard]
    mates = [mate for mate in shard if mate not in (owner, leaver)]
    total = 0.0
    for beside in subsets(others):
        for inside in subsets(mates):
            less = frozenset(inside).union(*beside)
            full = less | {leaver}
            change = (u(less | {owner}) - u(less)) - (u(full | {owner}) - u(full))
            total += change / (comb(m - 1, len(beside)) * comb(len(shard) - 1, len(inside) + 1))
    return total / (m * len(shard))


def papers_lemma(game, partition, owner, leaver):
    """As the report states the other-shard case: m-1 shards, and the leaver's shard gone as a whole."""
    u, m = Memo(game), len(partition.shards)
    shard, left = (partition.shards[partition.shard_of[who]] for who in (owner, leaver))
    others = [part for part in partition.shards if part not in (shard, left)]
    mates = [mate for mate in shard if mate != owner]
    total = 0.0
    for beside in subsets(others):
        for inside in subsets(mates):
            less = frozenset(inside).union(*beside)
            full = less | set(left)
            change = (u(less | {owner}) - u(less)) - (u(full | {owner}) - u(full))
            total += change / (comb(m - 1, len(beside) + 1) * comb(len(mates), len(inside)))
    return total / (m * len(shard))


PARTITION = Partition(((0, 1, 2), (3, 4), (5,), (6, 7)))


@pytest.mark.parametrize("leaver", range(8))
def test_the_derived_cases(leaver):
    game = random_game(8, seed=77)
    before, after = exact(game, PARTITION), exact(game, PARTITION.without([leaver]))
    for owner in after.owners:
        together = PARTITION.shard_of[owner] == PARTITION.shard_of[leaver]
        case = same_shard_change if together else other_shard_change
        assert case(game, PARTITION, owner, leaver) == pytest.approx(after.of(owner) - before.of(owner), abs=1e-10)


def test_the_papers_lemma_holds_only_where_the_shard_empties():
    game = random_game(8, seed=77)
    before = exact(game, PARTITION)
    emptied = exact(game, PARTITION.without([5])).of(0) - before.of(0)
    assert papers_lemma(game, PARTITION, 0, 5) == pytest.approx(emptied, abs=1e-10)
    lives_on = exact(game, PARTITION.without([3])).of(0) - before.of(0)
    assert abs(papers_lemma(game, PARTITION, 0, 3) - lives_on) > 1e-3


# ── Sampled updates ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("estimator", [Permutation(), UtilitySampling(), None], ids=repr)
@pytest.mark.parametrize("leavers", [[3], [3, 4], [5, 0, 7]], ids=["lives-on", "empties", "batch"])
def test_sampled_updates_are_unbiased_and_their_intervals_cover(estimator, leavers):
    """Permutations are cheap: 42 in each of 90 runs. On ten, Student's t covers too rarely (0.93 of 300 runs, 0.95 on
    42), for a change is 0 until the leaver comes; and thirty runs let the share wander by 0.02."""
    runs, batch = (90, 192) if isinstance(estimator, Permutation) else (30, 48)
    estimator = estimator or Touched(tuple(leavers))
    game = Cached(random_game(9, seed=5))
    partition = Partition(((0, 1, 2), (3, 4), (5,), (6, 7, 8)))
    before, truth = exact(game, partition), exact(game, partition.without(leavers)).value
    errors, inside = [], []
    for seed in range(runs):
        after = update(before, game, leavers, estimator, Rounds(2), seed=seed, batch=batch)
        errors.append(after.value - truth)
        inside.append(np.abs(after.value - truth) <= after.half_width() + 1e-12)
    errors = np.array(errors)
    spread = np.maximum(errors.std(0, ddof=1), 1e-12) / len(errors) ** 0.5
    assert np.abs(errors.mean(0) / spread).max() < 4.2
    assert np.mean(inside) > 0.9


def test_only_what_the_leaver_touches_is_evaluated():
    game, partition = Cached(random_game(9, seed=5)), Partition.even(9, 3)
    before = exact(game, partition)
    known = game.evaluations
    after = update(before, game, [4], Exact())
    new = [row for row in range(1 << 9) if not row >> 4 & 1]
    assert after.evaluations == game.evaluations - known
    assert 0 < after.evaluations < exact(Cached(random_game(9, seed=5)), partition.without([4])).evaluations
    assert after.evaluations < len(new)


def test_variances_add_and_the_worse_status_stands():
    game, partition = random_dividends(12, 40, seed=2), Partition.even(12, 3)
    before = value(game, partition, Permutation(), Rounds(3), batch=60)
    after = update(before, game, [0], Exact())
    np.testing.assert_allclose(after.variance, before.variance[1:], rtol=1e-12)
    assert set(after.status) == {Status.ESTIMATED}
    np.testing.assert_allclose(after.freedom, before.freedom[1:])
    assert set(update(exact(game, partition), game, [0], Permutation(), Rounds(1), batch=1).status) == {
        Status.INCOMPLETE
    }
    with pytest.raises(ProgrammerError, match="cannot be sampled") as raised:
        resume(after, game)
    assert raised.value.code == "cannot-continue"


def test_an_update_draws_independently_of_the_values():
    game, partition = random_dividends(12, 40, seed=2), Partition.even(12, 3)
    before = value(game, partition, Permutation(), Rounds(1), seed=4, batch=12)
    one, two = (update(before, game, [who], Permutation(), Rounds(1), seed=4, batch=12) for who in (0, 1))
    whole = exact(game, partition)
    assert not np.allclose(one.value - before.value[1:], -(before.value - whole.value)[1:])
    again = update(before, game, [0], Permutation(), Rounds(1), seed=4, batch=12)
    np.testing.assert_array_equal(one.value, again.value)
    assert one.owners != two.owners


# ── Joining ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("joiners", [{6: 0}, {6: 2}, {6: 1, 7: 1}, {6: 2, 7: 3}], ids=str)
def test_joining_is_an_exit_read_backwards(joiners):
    game, partition = random_game(8, seed=9), Partition(((0, 1, 2), (3, 4, 5)))
    after = join(exact(game, partition), game, joiners, Exact())
    assert set(after.owners) == {0, 1, 2, 3, 4, 5, *joiners}
    np.testing.assert_allclose(after.value, exact(game, after.partition).value, atol=1e-10)
    back = update(after, game, joiners, Exact())
    np.testing.assert_allclose(back.value, exact(game, partition).value, atol=1e-10)


def test_sampled_joining():
    game, partition = random_dividends(13, 60, seed=3), Partition(((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)))
    after = join(exact(game, partition), game, {12: 1}, stop=HalfWidth(0.02) | Evaluations(4000))
    np.testing.assert_allclose(
        after.value, game.s_shapley(after.partition), atol=1e-10
    )  # few coalitions: all are asked
    before, cache = exact(game, partition), Cached(game)
    runs = [join(before, cache, {12: 1}, Touched((12,)), Rounds(4), seed=seed) for seed in range(8)]
    beside = [np.abs(run.value - after.value) / run.half_width() for run in runs]
    assert np.mean(np.array(beside) <= 1) > 0.9
    assert np.max(beside) < 2.2


def test_an_update_enumerates_where_draws_repeat_in_vain():
    """A width that no sampling reaches: as many draws as there are, then all of them."""
    game, partition = random_game(15, seed=4), Partition((tuple(range(7)), tuple(range(7, 14)), (14,)))
    assert partition.coalitions > FEW
    cache = Cached(game)
    after = update(exact(cache, partition), cache, [3], stop=HalfWidth(1e-6))
    assert after.exact
    assert partition.coalitions < after.lookups < 4 * partition.coalitions
    np.testing.assert_allclose(after.value, exact(cache, after.partition).value, atol=1e-10)


def test_an_exact_value_waits_for_no_samples():
    """An owner alone beside one large shard has two coalitions to be seen in: its value is exact, and never better."""
    game, partition = random_dividends(26, 60, seed=3), Partition((tuple(range(25)), (25,)))
    before = value(game, partition, stop=HalfWidth(10.0) | Rounds(20))
    after = update(before, game, [0], stop=HalfWidth(10.0) | Rounds(20))
    for found in (before, after):
        assert found.status[-1] is Status.EXACT
        assert found.count[-1] < 20
    assert before.run.rounds < 20
    assert after.lookups < 2000


def test_exits_and_entries_that_cannot_be():
    game, partition = random_game(4, seed=0), Partition(((0, 1), (2,)))
    values = exact(game, partition)
    for leavers, code in (([], "nothing-to-delete"), ([3], "unknown-owner"), ([0, 1, 2], "delete-everything")):
        with pytest.raises(RequesterError) as raised:
            update(values, game, leavers)
        assert raised.value.code == code
    for joiners in ({}, {0: 0}, {3: 5}, {4: 0}):
        with pytest.raises(ProgrammerError):
            join(values, game, joiners)
