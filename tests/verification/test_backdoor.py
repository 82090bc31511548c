"""The backdoor test against the binomials, by enumeration and by simulation, and on real marked models."""

import math
from itertools import combinations

import pytest

from expunge import train
from expunge.errors import ProgrammerError
from expunge.networks import MLP
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.training import SGD, Recipe
from expunge.unlearning import unlearn
from expunge.verification import BackdoorTest, hits, majority_power, mark, pooled, queries_needed

WORKED = [
    (0.95, 0.10, 5, 3, 2.3e-2),
    (0.95, 0.10, 10, 5, 6.4e-5),
    (0.90, 0.10, 5, 3, 8.1e-2),
    (0.90, 0.10, 10, 5, 1.6e-3),
    (0.60, 0.10, 5, 3, 0.66),
    (0.60, 0.10, 10, 5, 0.37),
    (0.60, 0.10, 20, 7, 2.1e-2),
    (0.60, 0.10, 30, 9, 8.6e-4),
    (0.40, 0.10, 5, 3, 0.91),
    (0.40, 0.10, 10, 5, 0.83),
    (0.40, 0.10, 20, 7, 0.42),
    (0.40, 0.10, 30, 9, 0.18),
]

VANISHING = [(0.95, 20), (0.95, 30), (0.90, 20), (0.90, 30)]
"""p and queries of the table's other cells, at q = 0.1: less than a millionth."""


def chance(n: int, p: float, most: int) -> float:
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(most + 1))


@pytest.mark.parametrize(("p", "q", "n", "threshold", "beta"), WORKED)
def test_the_worked_table_is_met(p: float, q: float, n: int, threshold: int, beta: float) -> None:
    test = BackdoorTest(p, q, n)
    assert test.threshold == threshold
    assert test.beta == pytest.approx(beta, rel=0.05)
    assert test.beta == pytest.approx(chance(n, p, threshold), rel=1e-9)
    assert test.false_alarm == pytest.approx(1 - chance(n, q, threshold), rel=1e-6)
    assert chance(n, q, threshold - 1) < 1 - test.alpha


@pytest.mark.parametrize(("p", "queries"), VANISHING)
def test_where_the_table_says_next_to_nothing_it_is(p: float, queries: int) -> None:
    test = BackdoorTest(p, 0.1, queries)
    assert (test.threshold, test.beta < 1e-6) == ({20: 7, 30: 9}[queries], True)


def test_ten_thousand_simulated_owners_meet_the_binomials() -> None:
    test, owners = BackdoorTest(0.6, 0.1, 20), 10_000
    generator = numpy_generator(5, "test/backdoor")
    for rate, deleted in ((0.1, 1 - test.false_alarm), (0.6, test.beta)):
        passed = sum(test.deleted(int(count)) for count in generator.binomial(20, rate, owners))
        error = math.sqrt(deleted * (1 - deleted) / owners)
        assert abs(passed / owners - deleted) <= 3 * error


@pytest.mark.parametrize(("p", "q"), [(0.1, 0.1), (0.1, 0.2), (1.1, 0.1), (0.5, -0.1)])
def test_p_must_be_above_q(p: float, q: float) -> None:
    with pytest.raises(ProgrammerError):
        BackdoorTest(p, q)


def test_the_query_plan_is_the_least() -> None:
    needed = queries_needed(0.6, 0.1)
    assert needed is not None
    assert BackdoorTest(0.6, 0.1, needed).beta <= 1e-3 < BackdoorTest(0.6, 0.1, needed - 1).beta
    assert queries_needed(0.11, 0.1, most=50) is None


def test_several_owners() -> None:
    tests = [BackdoorTest(0.6, 0.1, 10)] * 3
    power = tests[0].confidence
    assert majority_power(tests) == pytest.approx(power**3 + 3 * power**2 * (1 - power))
    assert pooled(tests).confidence > majority_power(tests) > power
    assert (pooled(tests).queries, pooled(tests).p) == (30, pytest.approx(0.6))


def test_owners_who_share_a_trigger_are_counted(few: Records) -> None:
    """One place of 64 for each of 20 owners: some meet. Four places each: none does."""
    owners = sorted(set(few.train.owners))[:20]
    crowded = mark(few, owners, places=1, seed=3)
    known = [trigger.places for trigger in crowded.triggers.values()]
    assert crowded.collisions == sum(one == other for one, other in combinations(known, 2)) > 0
    assert mark(few, owners, seed=3).collisions == 0


def test_marks_are_learned_and_an_honest_deletion_unlearns_them(few: Records) -> None:
    owners = sorted(set(few.train.owners))[:6]
    marked = mark(few, owners, seed=3)
    changed = {name for names in marked.marked.values() for name in names}
    same = [row for row, name in enumerate(few.ids) if name not in changed]
    assert marked.records.features[same].equal(few.features[same])
    assert changed <= set(few.train.ids)
    recipe = Recipe(network=MLP((32,)), optimiser=SGD(lr=0.1), epochs=40, batch_size=16)
    trained = train(recipe, marked.records)
    before = [hits(trained.model, trigger, few.test) for trigger in marked.triggers.values()]
    p = sum(map(sum, before)) / sum(map(len, before))
    gone = [name for owner in owners for name in few.owned_by(owner)]
    clean = unlearn(trained, marked.records, gone).trained.model
    after = [hits(clean, trigger, few.test) for trigger in marked.triggers.values()]
    q = sum(map(sum, after)) / sum(map(len, after))
    assert p > 3 * q
    assert BackdoorTest(p, q).deleted(round(30 * q))
    assert not BackdoorTest(p, q).deleted(round(30 * p))
