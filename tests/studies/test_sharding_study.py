from dataclasses import replace

import numpy as np
import pytest

from expunge.records import Records
from expunge.studies.sharding import deletion_share, simulate
from expunge.training import Recipe, Sharding, Trained
from expunge.unlearning import Sharded, prepare


def test_counts_what_the_method_would_run(few: Records, sharded_model: Trained, sharded_recipe: Recipe):
    """The study's vectorised count against the plan of the method itself."""
    owners, sizes = np.unique(np.array(few.train.owners), return_counts=True)
    places = np.array([sharded_recipe.sharding.place(str(owner)) for owner in owners])
    for number, owner in enumerate(owners[:12]):
        forecast = Sharded().plan(prepare(sharded_model, few, few.owned_by(str(owner))))
        expected = forecast.gradient_evaluations / forecast.retraining_evaluations
        assert deletion_share(sharded_recipe, places, sizes, number) == pytest.approx(expected)


@pytest.mark.parametrize(("shards", "slices"), [(4, 1), (8, 4)])
def test_simulation_agrees_with_the_formula_within_5_percent(records: Records, shards: int, slices: int):
    recipe = replace(Recipe(), sharding=Sharding(shards, slices))
    shares = simulate(recipe, records.train, 2000, seed=0)
    assert np.mean(shares) == pytest.approx(recipe.sharding.deletion_share(), rel=0.05)
