import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expunge.errors import OperatorError, ProgrammerError
from expunge.valuation import Exact, Partition, Permutation, Rounds, settle, statement, update, value
from expunge.valuation.games import Additive, random_game


def values_of(amounts):
    return value(Additive(tuple(amounts)), Partition.even(len(amounts), 1), Exact())


def test_in_proportion_to_value():
    found = settle(values_of([3.0, 7.0, 2.0]), 1200)
    assert found.payouts == (300, 700, 200)
    assert found.unallocated == 0
    assert found.payout(1) == 700
    assert found.payout(9) == 0


def test_negative_values_are_paid_nothing_and_owe_nothing():
    found = settle(values_of([3.0, -5.0, 1.0, 0.0]), 1000)
    assert found.payouts == (750, 0, 250, 0)


def test_where_nobody_earns_nothing_is_paid_out():
    found = settle(values_of([-3.0, -5.0]), 1000)
    assert found.payouts == (0, 0)
    assert found.unallocated == 1000


def test_cents_go_to_the_largest_remainders():
    assert settle(values_of([1.0, 1.0, 1.0]), 100).payouts == (34, 33, 33)
    assert settle(values_of([1.0, 2.0, 4.0]), 10).payouts == (1, 3, 6)


def test_rounding_errors_of_a_flat_game_share_out_nothing():
    """Utilities that differ in the last bit only: whoever ends a hair above 0 does not take all the revenue."""
    found = settle(values_of([3e-17, -3e-17, 0.0, 5e-13]), 1000)
    assert (found.payouts, found.unallocated) == ((0, 0, 0, 0), 1000)
    assert settle(values_of([1e-9, -1.0]), 1000).payouts == (1000, 0)


AMOUNTS = st.one_of(st.floats(-1e6, 0.0), st.floats(1e-6, 1e6))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(AMOUNTS, min_size=1, max_size=8), st.integers(0, 10**15))
def test_payouts_always_add_up(amounts, revenue):
    found = settle(values_of(amounts), revenue)
    assert sum(found.payouts) + found.unallocated == revenue
    assert min(found.payouts) >= 0
    assert found.unallocated in (0, revenue)
    positive = sum(max(amount, 0.0) for amount in found.values)
    for amount, paid in zip(found.values, found.payouts, strict=True):
        assert paid == 0 if amount <= 0 else abs(paid - revenue * amount / positive) <= 1 + 1e-9 * revenue


def test_statement_before_and_after_a_deletion():
    game, partition = random_game(6, seed=4), Partition(((0, 1, 2), (3, 4), (5,)))
    before = value(game, partition, Exact())
    after = update(before, game, [1], Exact())
    lines = statement(settle(before, 10_000), settle(after, 10_000))
    assert [line.owner for line in lines] == [0, 1, 2, 3, 4, 5]
    assert sum(line.paid_before for line in lines) == sum(line.paid_after for line in lines) == 10_000
    assert sum(line.change for line in lines) == 0
    left = lines[1]
    assert (left.value_after, left.paid_after, left.change) == (None, 0, -left.paid_before)
    assert lines[0].to_json()["value_after"] == pytest.approx(after.of(0))
    first = statement(None, settle(after, 10_000))
    assert all(line.value_before is None and line.paid_before == 0 for line in first)


def test_money_is_not_shared_out_by_guesses():
    unknown = value(random_game(6, 0), Partition.even(6, 2), Permutation(), Rounds(1), batch=1)
    with pytest.raises(OperatorError) as raised:
        settle(unknown, 100)
    assert raised.value.code == "incomplete-values"
    with pytest.raises(ProgrammerError):
        settle(values_of([1.0]), -1)


def test_values_keep_their_order():
    found = settle(value(Additive((0.0, 5.0, 0.0, 1.0)), Partition(((3,), (1,))), Exact()), 6)
    assert (found.owners, found.payouts) == ((1, 3), (5, 1))
    np.testing.assert_allclose(found.values, (5.0, 1.0))
