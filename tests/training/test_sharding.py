import numpy as np
import pytest
import torch

from expunge.errors import ProgrammerError
from expunge.records import Records
from expunge.training import Recipe, Sharding, aggregate, courses


def test_places_depend_on_nothing_but_the_owner(few: Records):
    sharding = Sharding(5, 3)
    whole = dict(zip(few.ids, sharding.places(few), strict=True))
    part = few.without(few.owned_by(few.owners[0]))
    assert all(whole[record] == place for record, place in zip(part.ids, sharding.places(part), strict=True))


def test_places_are_uniform():
    """Chi-square over 20,000 owners; the 99.9 % point, fixed names, so that this never flickers."""
    from scipy.stats import chisquare

    sharding = Sharding(8, 4)
    counts = np.zeros((8, 4))
    for number in range(20_000):
        counts[sharding.place(f"person-{number}")] += 1
    assert chisquare(counts.ravel()).pvalue > 1e-3


def test_an_owner_stays_together_or_is_spread(few: Records):
    owner = few.owners[0]
    rows = [row for row, who in enumerate(few.owners) if who == owner]
    together, spread = (Sharding(5, 3, by=by).places(few) for by in ("owner", "record"))
    assert len({together[row] for row in rows}) == 1
    assert len({spread[row] for row in rows}) > 1


def test_another_salt_is_another_assignment(few: Records):
    assert Sharding(5, 3).places(few) != Sharding(5, 3, salt_seed=1).places(few)


def test_slices_are_cumulative_and_shards_a_partition(few: Records):
    plan = courses(Recipe(sharding=Sharding(5, 3)), few.train)
    for course in plan:
        sets = [set(stage.rows) for stage in course.stages]
        assert sets[0] <= sets[1] <= sets[2]
    rows = [row for course in plan for row in course.stages[-1].rows]
    assert sorted(rows) == list(range(len(few.train)))


def test_slices_spend_the_budget_of_the_recipe():
    """Stage j of R sees j/R of the shard: the epochs over them add up to the recipe's."""
    for slices in (1, 2, 5, 9):
        per_stage = Sharding(1, slices).slice_epochs(12)
        assert sum(per_stage * j / slices for j in range(1, slices + 1)) == pytest.approx(12)


@pytest.mark.parametrize(("shards", "slices"), [(1, 1), (1, 5), (4, 1), (3, 2), (8, 4)])
def test_expected_cost_of_a_deletion_by_simulation(shards: int, slices: int):
    """Naive simulation in units of one record and epoch: no rounding, fresh places every time."""
    generator = np.random.default_rng(0)
    units, shares = 60, []
    for _ in range(4000):
        shard, piece = generator.integers(shards, size=units), generator.integers(slices, size=units)
        seen = [[((shard == s) & (piece <= j))[1:].sum() for j in range(slices)] for s in range(shards)]
        shares.append(sum(seen[shard[0]][piece[0] :]) / sum(map(sum, seen)))
    assert np.mean(shares) == pytest.approx(Sharding(shards, slices).deletion_share(), rel=0.05)


def test_mean_posterior_is_the_mean():
    posteriors = torch.rand(3, 4, 5).softmax(2)
    assert aggregate(posteriors, "mean").equal(posteriors.mean(0))


def test_majority_wins_and_ties_go_to_the_mean_posterior():
    votes = torch.tensor([[[0.9, 0.1, 0.0]], [[0.4, 0.6, 0.0]], [[0.4, 0.6, 0.0]]])
    assert aggregate(votes, "vote").argmax(1).item() == 1  # the mean posterior alone would say 0
    tie = votes[:2]
    assert aggregate(tie, "vote").argmax(1).item() == 0
    assert aggregate(votes, "vote").sum(1).item() == pytest.approx(1)


def test_mean_posterior_can_never_overturn_a_vote():
    """Worst case: full confidence of the losers against bare majorities of the winners."""
    certain, bare = torch.tensor([1.0, 0.0]), torch.tensor([0.4999, 0.5001])
    posteriors = torch.stack([certain, certain, bare, bare, bare])[:, None]
    assert aggregate(posteriors, "vote").argmax(1).item() == 1


@pytest.mark.parametrize("wrong", [{"shards": 0}, {"slices": 0}, {"by": "colour"}, {"aggregation": "median"}])
def test_senseless_structures_are_refused(wrong: dict):
    with pytest.raises((ProgrammerError, TypeError)):
        Sharding(**wrong)
