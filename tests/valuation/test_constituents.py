import numpy as np
import pytest

from expunge.errors import ProgrammerError
from expunge.valuation import (
    Adjusted,
    Cached,
    Constituents,
    Evaluations,
    Exact,
    Partition,
    Permutation,
    ShardedGame,
    UtilitySampling,
    accuracy,
    join,
    true_class,
    update,
    value,
)
from expunge.valuation.partition import rows

TARGETS = np.random.default_rng(1).integers(0, 4, 30)


class Bag:
    """A constituent that is quick to make: each owner pulls the posterior towards its own noisy idea of the classes."""

    def __init__(self, owners: int) -> None:
        generator = np.random.default_rng(0)
        self.pull = generator.normal(size=(owners, 30, 4)) + 1.2 * np.eye(4)[TARGETS]
        self.trained: list[tuple[int, ...]] = []
        self.calls = 0

    def __call__(self, owner_sets):
        self.trained += owner_sets
        self.calls += 1
        logits = np.stack([self.pull[list(owners)].mean(0) for owners in owner_sets])
        posteriors = np.exp(logits)
        return posteriors / posteriors.sum(2, keepdims=True)


def sharded(partition, bag, **options):
    return ShardedGame(partition, len(bag.pull), bag, TARGETS, **options)


def naive(partition, bag, coalition, aggregation):
    """The definition, one coalition at a time."""
    present = [tuple(sorted(o for o in shard if coalition[o])) for shard in partition.shards]
    answers = [Bag.__call__(bag, [owners])[0] for owners in present if owners]
    if not answers:
        return np.bincount(TARGETS).max() / 30
    if aggregation == "mean":
        return (np.mean(answers, axis=0).argmax(1) == TARGETS).mean()
    votes = np.zeros((30, 4))
    for answer in answers:
        votes[np.arange(30), answer.argmax(1)] += 1
    mean, right = np.mean(answers, axis=0), 0
    for record in range(30):
        best = np.flatnonzero(votes[record] == votes[record].max())
        right += max(best, key=lambda c: (mean[record, c], -c)) == TARGETS[record]
    return right / 30


@pytest.mark.parametrize("aggregation", ["mean", "vote"])
def test_utilities_by_definition(aggregation):
    partition = Partition(((0, 3, 7), (1, 2), (4,), (5, 6)))
    game, generator = sharded(partition, Bag(8), aggregation=aggregation), np.random.default_rng(0)
    coalitions = np.concatenate([generator.random((60, 8)) < 0.5, np.zeros((1, 8), bool), np.ones((1, 8), bool)])
    reference = [naive(partition, Bag(8), coalition, aggregation) for coalition in coalitions]
    np.testing.assert_allclose(game.utilities(coalitions), reference, atol=1e-12)
    assert game.utilities(coalitions[:0]).shape == (0,)


def test_each_constituent_is_trained_once_and_a_batch_in_one_call():
    bag, partition = Bag(8), Partition.even(8, 2)
    game = sharded(partition, bag)
    game.utilities(rows([[0], [0, 4], [4], [0, 1, 4, 5], [5, 4, 1, 0]], 8))
    assert bag.calls == 1
    assert sorted(bag.trained) == [(0,), (0, 1), (4,), (4, 5)]
    game.utilities(rows([[0, 1, 4], [0, 4, 5]], 8))
    assert bag.calls == 1
    assert game.trainings == 4


def test_a_plan_names_constituents_by_what_they_saw():
    register, partition = Constituents(), Partition(((2, 0), (1,)))
    plan = register.plan(partition, rows([[0], [0, 1, 2], [1]], 3))
    assert set(plan.fresh) == {(0,), (0, 2), (1,)}
    np.testing.assert_array_equal(plan.ids >= 0, [[True, False], [True, True], [False, True]])
    assert plan.ids[1, 1] == plan.ids[2, 1]
    again = register.plan(partition, rows([[0, 2], [2]], 3))
    assert again.fresh == ((2,),)
    dropped = register.forget([2])
    assert len(dropped) == 2
    assert len(register) == 2
    assert register.created == 4
    assert register.plan(partition, rows([[2]], 3)).ids[0, 0] == 4
    with pytest.raises(ProgrammerError):
        register.plan(Partition(((0,),)), rows([[1]], 3))


def test_sixty_four_owners_in_eight_shards_need_a_third_of_the_trainings():
    partition = Partition.even(64, 8)
    for estimator in (Permutation(), UtilitySampling(), Adjusted()):
        bag = Bag(64)
        game = sharded(partition, bag)
        found = value(game, partition, estimator, Evaluations(7_000))
        assert game.trainings == len(set(bag.trained)) == len(bag.trained)
        assert found.evaluations >= 3 * game.trainings


def test_exact_values_take_few_trainings():
    partition, bag = Partition.even(16, 4), Bag(16)
    game = sharded(partition, bag)
    found = value(game, partition, Exact())
    assert game.trainings == 4 * 15
    assert found.evaluations == partition.coalitions == 464


def test_after_an_exit_nothing_is_trained_again_and_traces_are_deletable():
    partition, bag = Partition.even(16, 4), Bag(16)
    game = sharded(partition, bag)
    cached = Cached(game)
    before = value(cached, partition, Exact())
    count = game.trainings
    after = update(before, cached, [5], Exact())
    assert game.trainings == count
    new = value(cached, partition.without([5]), Exact())
    np.testing.assert_allclose(after.value, new.value, atol=1e-10)
    assert cached.forget([5]) > 0
    assert game.forget([5]) == 8
    assert not any(5 in owners for owners in game.constituents._ids)
    assert value(cached, partition.without([5]), Exact()).evaluations == 0
    game.utilities(rows([[5]], 16))
    assert game.trainings == count + 1


def test_an_owner_who_joins_adds_constituents():
    bag, partition = Bag(9), Partition.even(8, 2)
    game = sharded(partition, bag)
    before = value(game, partition, Exact())
    game.partition = partition.including(8, 1)
    after = join(before, game, {8: 1}, Exact())
    np.testing.assert_allclose(after.value, value(game, game.partition, Exact()).value, atol=1e-10)


def test_measures_and_the_empty_coalition():
    posteriors = np.zeros((1, 30, 4))
    posteriors[0, np.arange(30), TARGETS] = 0.6
    posteriors[0, :10, :] += 0.1
    assert accuracy(posteriors, TARGETS) == pytest.approx([1.0])
    assert true_class(posteriors, TARGETS) == pytest.approx([0.6 + 0.1 / 3])
    partition = Partition.even(8, 2)
    nobody = np.zeros((1, 8), bool)
    assert [sharded(partition, Bag(8), measure=by).step for by in (accuracy, true_class)] == [1 / 30, 0.0]
    assert sharded(partition, Bag(8)).utilities(nobody) == pytest.approx([np.bincount(TARGETS).max() / 30])
    assert sharded(partition, Bag(8), empty=0.0).utilities(nobody) == [0.0]


def test_a_trainer_that_answers_nonsense_is_refused():
    game = ShardedGame(Partition.even(4, 2), 4, lambda sets: np.zeros((len(sets), 7, 4)), TARGETS)
    with pytest.raises(ProgrammerError) as raised:
        game.utilities(np.ones((1, 4), bool))
    assert raised.value.code == "bad-utility"
