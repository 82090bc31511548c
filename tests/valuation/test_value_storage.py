"""Constituents and values in files: round trips, what is struck out, and equal bytes."""

import json

import numpy as np
import pytest

from expunge.errors import OperatorError
from expunge.valuation import Cached, Evaluations, Partition, Permutation, ShardedGame, UtilitySampling, value
from expunge.valuation.games import random_dividends
from expunge.valuation.storage import from_bytes, restore, to_bytes, values_from_json, values_to_json

PAIRS = Partition(((0, 1), (2, 3)))
NAMES, TESTS = ("ann", "bob", "cy", "dee"), ("t0", "t1", "t2")


class Guess:
    """A trainer whose posteriors tell whom it saw."""

    def __call__(self, owner_sets):
        return np.stack([np.full((3, 2), sum(2.0**owner for owner in owners)) for owners in owner_sets])


def game(partition=PAIRS):
    return ShardedGame(partition, 4, Guess(), np.array([0, 1, 0]))


def trained():
    found = game()
    found.utilities(np.array([[1, 1, 1, 1], [1, 0, 0, 1], [0, 1, 1, 0]], dtype=bool))
    return found


def test_round_trip_with_owners_and_test_records_struck_out():
    data = to_bytes(trained(), NAMES, TESTS)
    assert data == to_bytes(trained(), NAMES, TESTS)
    whole = from_bytes(data, TESTS)
    assert set(whole) == {("ann", "bob"), ("ann",), ("bob",), ("cy", "dee"), ("cy",), ("dee",)}
    assert (whole["ann", "bob"] == 3).all()
    less = from_bytes(data, ("t2", "t0"), gone=("bob",))
    assert set(less) == {("ann",), ("cy", "dee"), ("cy",), ("dee",)}
    assert less["cy",].shape == (2, 2)
    with pytest.raises(OperatorError) as raised:
        from_bytes(data, ("t9",))
    assert raised.value.code == "bad-data"


def test_other_tensors_are_refused():
    from safetensors.numpy import save

    with pytest.raises(OperatorError) as raised:
        from_bytes(save({"x": np.zeros(1)}), TESTS)
    assert raised.value.code == "bad-data"


def test_only_constituents_that_fit_are_restored_and_none_is_trained_again():
    known = from_bytes(to_bytes(trained(), NAMES, TESTS), TESTS)
    again = game()
    assert restore(again, known, NAMES) == 6
    assert (again.utilities(np.ones((1, 4), bool)) == trained().utilities(np.ones((1, 4), bool))).all()
    assert again.trainings == 0
    other = game(Partition(((0, 2), (1, 3))))  # other shards: nobody ever saw ann with cy alone
    assert restore(other, known, NAMES) == 4
    renamed = game()
    assert restore(renamed, known, ("zoe", "ann", "bob", "cy")) == 2 + 1


def test_an_empty_file_is_a_file():
    assert from_bytes(to_bytes(game(), NAMES, TESTS), TESTS) == {}


@pytest.mark.parametrize("estimator", [Permutation(), UtilitySampling(fill=False)], ids=repr)
def test_values_come_back_infinite_where_they_were(estimator):
    partition = Partition(((0, 3), (1, 2, 5)))
    found = value(Cached(random_dividends(6, 9, 0)), partition, estimator, Evaluations(4), batch=4)
    plain = values_to_json(found)
    back = values_from_json(json.loads(json.dumps(plain, allow_nan=False)))
    for name in ("value", "variance", "freedom", "bias", "count"):
        np.testing.assert_array_equal(getattr(back, name), getattr(found, name))
    assert (back.partition, back.status, back.run) == (found.partition, found.status, None)
