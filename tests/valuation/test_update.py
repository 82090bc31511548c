"""Updates against enumeration before and after: every kind of exit, the trap included."""

from dataclasses import dataclass
from math import comb
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import Memo, built, by_formula, problems, set_partitions, subsets
from scipy.stats import poisson

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
    WithEmpty,
    join,
    resume,
    update,
    value,
)
from expunge.valuation.game import step_of
from expunge.valuation.games import random_dividends, random_game
from expunge.valuation.touched import RARE
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
    errors, inside, stated = [], [], []
    for seed in range(runs):
        after = update(before, game, leavers, estimator, Rounds(2), seed=seed, batch=batch)
        errors.append(after.value - truth)
        stated.append(after.variance)
        inside.append(np.abs(after.value - truth) <= after.half_width() + 1e-12)
    errors = np.array(errors)
    spread = np.maximum(errors.std(0, ddof=1), 1e-12) / len(errors) ** 0.5
    assert np.abs(errors.mean(0) / spread).max() < 4.2
    assert np.mean(inside) > 0.9
    if not isinstance(estimator, UtilitySampling):  # some of its strata are empty: infinite
        assert 0.75 < np.mean(stated) / np.mean(errors**2) < 1.7


@dataclass(frozen=True)
class RareSteps:
    """Like accuracy beside a leaver who matters little: of the coalitions that hold owner 0 few are a step better."""

    owners: int
    step: float = 0.01

    def utilities(self, coalitions):
        bits = np.random.default_rng(1).integers(1 << 62, size=self.owners, dtype=np.uint64) * 2 + 1
        mixed = (coalitions @ bits) * np.uint64(0x9E3779B97F4A7C15)
        return self.step * (coalitions[:, 0] & (mixed >> np.uint64(32) < 0.03 * 2**32))


def test_rare_steps_are_not_taken_for_certain():
    """Most draws say 0. Without the step, owners of other shards are told that nothing changed, and it did."""
    game, partition = Cached(RareSteps(18)), Partition.even(18, 3)
    before, truth = exact(game, partition), exact(game, partition.without([0])).value
    held = {}
    for step in (0.0, 0.01):
        way = Touched((0,), step=step)
        runs = [update(before, game, [0], way, Rounds(1), seed=seed) for seed in range(20)]
        held[step] = np.mean([np.abs(run.value - truth)[5:] <= run.half_width()[5:] for run in runs])
    assert held[0.01] > 0.93
    assert held[0.0] < 0.85


def test_two_more_events_cover_a_count_at_every_rate():
    """The figure in the docstring of `Touched`: k -+ 1.96 sqrt(k + 2) holds the mean of a Poisson k."""
    rate, count = np.linspace(0.01, 40, 4000)[:, None], np.arange(200)
    odds, error = poisson.pmf(count, rate), np.abs(count - rate)
    for rare, least in ((RARE, 0.931), (0, 0.009)):
        assert (odds * (error <= 1.96 * np.sqrt(count + rare))).sum(1).min() == pytest.approx(least, abs=1e-3)


def test_a_default_update_knows_the_step_of_accuracy():
    game, partition = RareSteps(24), Partition.even(24, 4)
    known, unsaid = Cached(WithEmpty(game)), Cached(SimpleNamespace(owners=24, utilities=game.utilities))
    assert (step_of(known), step_of(unsaid)) == (0.01, 0.0)
    before = exact(known, partition)
    wide, narrow = (update(before, each, [0], stop=Rounds(1)) for each in (known, unsaid))
    np.testing.assert_array_equal(wide.value, narrow.value)
    assert (wide.variance > narrow.variance).all()


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
    beside = [(run.value - after.value) / run.half_width() for run in runs]
    assert 0.25 < np.sqrt(np.mean(np.square(beside))) < 0.7


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
