"""Utilities of real training against `train` on the records of each coalition, one after another."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from naive import by_formula

from expunge.errors import ExpungeError
from expunge.networks import MLP
from expunge.records import Records
from expunge.training import SGD, Processes, Recipe, Serial, Sharding, train
from expunge.valuation import (
    Cached,
    Evaluations,
    Exact,
    Partition,
    Permutation,
    Rounds,
    owners_of,
    partition_of,
    resume,
    training_game,
    update,
    value,
)
from expunge.valuation.game import Game

RECIPE = Recipe(MLP((8,)), SGD(lr=0.1), epochs=2, batch_size=16, sharding=Sharding(3, slices=2))


@pytest.fixture(scope="module")
def people(few: Records) -> Records:
    """The digits of forty owners, dealt to nine."""
    return replace(few, owners=tuple(f"owner-{int(owner[-3:]) % 9}" for owner in few.owners))


def trained_on(recipe: Recipe, records: Records, owners: list[str]) -> float:
    """Accuracy of `train` on these owners' training records alone."""
    kept = [
        row
        for row, (owner, part) in enumerate(zip(records.owners, records.split, strict=True))
        if part == "test" or owner in owners
    ]
    model = train(recipe, records.select(kept)).model
    test = records.test
    return float((model.predict(test.features) == test.targets).double().mean())


@pytest.mark.parametrize(
    "recipe",
    [RECIPE, replace(RECIPE, sharding=Sharding(3, aggregation="vote")), replace(RECIPE, sharding=None)],
    ids=["mean-sliced", "vote", "unsharded"],
)
def test_a_coalition_is_worth_what_training_on_it_achieves(recipe: Recipe, people: Records):
    names = owners_of(people)
    coalitions = np.random.default_rng(0).random((7, len(names))) < 0.6
    coalitions[0] = True
    found = training_game(recipe, people).utilities(coalitions)
    for row, worth in zip(coalitions, found, strict=True):
        assert worth == trained_on(recipe, people, [name for name, held in zip(names, row, strict=True) if held])


def test_values_of_real_training_against_the_definition(people: Records):
    recipe = replace(RECIPE, epochs=1)
    game: Game = Cached(training_game(recipe, people))
    partition = partition_of(recipe, owners_of(people))
    values = value(game, partition, Exact())
    np.testing.assert_allclose(values.value, by_formula(game, partition), atol=1e-10)
    after = update(values, game, [partition.owners[0]], Exact())
    np.testing.assert_allclose(after.value, by_formula(game, after.partition), atol=1e-10)


def test_shards_are_the_recipes_own(people: Records):
    names = owners_of(people)
    partition = partition_of(RECIPE, names)
    place = {owner: RECIPE.sharding.place(name)[0] for owner, name in enumerate(names)}
    assert all(len({place[owner] for owner in shard}) == 1 for shard in partition.shards)
    assert partition_of(replace(RECIPE, sharding=None), names) == Partition.whole(len(names))


def die_once(shared, job):
    """As the job's own function, but the first worker that comes here is killed."""
    function, common, marker = shared
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return function(common, job)


class DiesOnce:
    """Local processes, one of which is killed on the way."""

    def __init__(self, inner: Processes, marker: Path) -> None:
        self.inner, self.marker, self.workers = inner, marker, inner.workers

    def map(self, function, shared, jobs):
        return self.inner.map(die_once, (function, shared, self.marker), jobs)


@pytest.mark.slow
def test_serial_is_parallel_to_the_bit_and_a_killed_worker_loses_nothing(people: Records, tmp_path: Path):
    partition, found = partition_of(RECIPE, owners_of(people)), []
    with Processes(2) as processes:
        for executor in (Serial(), DiesOnce(processes, tmp_path / "killed")):
            game = Cached(training_game(RECIPE, people, executor=executor))
            values = value(game, partition, stop=Evaluations(60), seed=1, batch=40)
            found.append((values.value.tobytes(), values.variance.tobytes(), game.to_arrays()["utilities"].tobytes()))
    assert (tmp_path / "killed").exists()
    assert found[0] == found[1]


def test_a_stopped_run_goes_on_to_the_same_bytes(people: Records):
    partition = partition_of(RECIPE, owners_of(people))
    games = [Cached(training_game(RECIPE, people)) for _ in range(2)]
    whole = value(games[0], partition, Permutation(), Rounds(4), batch=9)
    part = value(games[1], partition, Permutation(), Rounds(2), batch=9)
    assert resume(part, games[1], Rounds(4)).value.tobytes() == whole.value.tobytes()


def test_what_cannot_be_valued(people: Records):
    with pytest.raises(ExpungeError) as raised:
        training_game(RECIPE, people.train)
    assert raised.value.code == "bad-data"
    for recipe, partition in (
        (replace(RECIPE, sharding=Sharding(3, by="record")), None),
        (RECIPE, Partition(((40,),))),
    ):
        with pytest.raises(ExpungeError) as raised:
            training_game(recipe, people, partition=partition)
        assert raised.value.code == "bad-partition"
