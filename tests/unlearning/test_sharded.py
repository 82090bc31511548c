import pytest

from expunge.errors import ProgrammerError
from expunge.records import Records
from expunge.training import MemoryCheckpoints, Recipe, Trained, train
from expunge.unlearning import FineTune, Retrain, Sharded, prepare, unlearn


def test_only_one_shard_changes(sharded_model: Trained, few: Records):
    after = unlearn(sharded_model, few, few.owned_by(few.train.owners[0]), Sharded()).trained.model
    pairs = zip(sharded_model.model.constituents, after.constituents, strict=True)
    changed = [any(not old[name].equal(new[name]) for name in old) for old, new in pairs]
    assert sum(changed) == 1


def test_reused_stages_are_named_in_the_log(sharded_model: Trained, few: Records):
    forget = few.owned_by(few.train.owners[0])
    log = unlearn(sharded_model, few, forget, Sharded()).trained.log
    shard, slice_ = sharded_model.model.recipe.sharding.place(few.train.owners[0])
    assert f"shard/{shard}/slice/{slice_}" not in log.reused
    assert len(log.reused) == 15 - (3 - slice_)


def test_cheaper_than_retraining_by_the_formula_on_average(sharded_model: Trained, few: Records):
    owners = sorted(set(few.train.owners))
    shares = []
    for owner in owners:
        forecast = Sharded().plan(prepare(sharded_model, few, few.owned_by(owner)))
        shares.append(forecast.gradient_evaluations / forecast.retraining_evaluations)
    expected = sharded_model.model.recipe.sharding.deletion_share()
    # One assignment of 40 owners: the mean over owners spreads around the formula, which averages over assignments.
    assert sum(shares) / len(shares) == pytest.approx(expected, rel=0.4)


def test_missing_checkpoints_are_trained_again_and_said_so(sharded_model: Trained, few: Records):
    forget = few.owned_by(few.train.owners[0])
    bare = Trained(sharded_model.model, sharded_model.log, sharded_model.cost, MemoryCheckpoints())
    result = unlearn(bare, few, forget, Sharded())
    assert "missing" in result.degraded[0]
    assert result.trained.model.digest == unlearn(sharded_model, few, forget, Sharded()).trained.model.digest


def test_plain_model_is_refused(plain_model: Trained, few: Records):
    with pytest.raises(ProgrammerError) as caught:
        unlearn(plain_model, few, few.ids[:1], Sharded())
    assert caught.value.code == "method-unfit"


def test_exact_after_an_empirical_method_removes_both(sharded_model: Trained, few: Records, sharded_recipe: Recipe):
    """Fine-tuned weights must not survive as a clean checkpoint."""
    first = few.owned_by(few.train.owners[0])
    tuned = unlearn(sharded_model, few, first, FineTune(epochs=1)).trained
    left = few.without(first)
    second = left.owned_by(left.train.owners[5])
    after = unlearn(tuned, left, second, Sharded())
    assert after.trained.model.digest == train(sharded_recipe, left.without(second)).model.digest


def test_emptying_a_shard_leaves_it_out(few: Records, sharded_model: Trained, sharded_recipe: Recipe):
    sharding = sharded_recipe.sharding
    everyone = [record for record, owner in zip(few.ids, few.owners, strict=True) if sharding.place(owner)[0] == 2]
    after = unlearn(sharded_model, few, everyone, Sharded()).trained.model
    assert after.constituents[2] is None
    assert after.probabilities(few.test.features).sum(1).allclose(after.probabilities(few.test.features[:1]).sum())
    assert after.digest == unlearn(sharded_model, few, everyone, Retrain()).trained.model.digest


def test_records_of_the_test_set_cost_nothing(sharded_model: Trained, few: Records):
    after = unlearn(sharded_model, few, few.test.ids[:2], Sharded())
    assert after.cost.gradient_evaluations == 0
    assert after.trained.model.digest == sharded_model.model.digest
