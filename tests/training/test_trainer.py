from dataclasses import replace

import pytest
import torch

from expunge.errors import ExpungeError
from expunge.networks import CNN, MLP, InPython, ResNet
from expunge.records import Records
from expunge.training import SGD, Adam, MemoryCheckpoints, Recipe, Sharding, Snapshot, Trained, train


class KillError(Exception):
    """Stands for a kill: raised out of the middle of training."""


class Mortal(MemoryCheckpoints):
    """Checkpoints that survive a kill which strikes after a number of saves."""

    lives = 0

    def save_snapshot(self, name: str, snapshot: Snapshot) -> None:
        super().save_snapshot(name, snapshot)
        self._lose()

    def save(self, name: str, state: dict) -> None:
        super().save(name, state)
        self._lose()

    def _lose(self) -> None:
        self.lives -= 1
        if self.lives == 0:
            raise KillError


NOISY = InPython(
    lambda: torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(16, 10)
    )
)


@pytest.mark.parametrize(
    "network", [MLP((16,)), CNN((4, 4), 8), ResNet(4), NOISY], ids=["mlp", "cnn", "resnet", "dropout"]
)
@pytest.mark.parametrize("optimiser", [SGD(0.05), Adam(1e-3)], ids=["sgd", "adam"])
def test_a_killed_run_goes_on_to_the_same_bytes(network, optimiser, few: Records):
    recipe = Recipe(network, optimiser, epochs=1, batch_size=64)
    whole = train(recipe, few).model.digest
    store = Mortal(every=2)
    store.lives = 2
    with pytest.raises(KillError):
        train(recipe, few, checkpoints=store)
    assert store.snapshots
    assert train(recipe, few, checkpoints=store).model.digest == whole


def test_a_killed_sharded_run_goes_on_to_the_same_bytes(sharded_recipe: Recipe, sharded_model: Trained, few: Records):
    store = Mortal(every=3)
    store.lives = 12
    with pytest.raises(KillError):
        train(sharded_recipe, few, checkpoints=store)
    again = train(sharded_recipe, few, checkpoints=store)
    assert again.model.digest == sharded_model.model.digest
    assert again.cost.gradient_evaluations < sharded_model.cost.gradient_evaluations


def test_same_bytes_whatever_the_caller_did_to_the_global_generator(
    plain_model: Trained, small_recipe: Recipe, few: Records
):
    torch.manual_seed(99)
    torch.rand(7)
    state = torch.random.get_rng_state()
    assert train(small_recipe, few).model.digest == plain_model.model.digest
    assert torch.random.get_rng_state().equal(state)


def test_threads_of_the_caller_come_back(small_recipe: Recipe, few: Records):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        log = train(replace(small_recipe, epochs=0.2), few).log
        assert torch.get_num_threads() == 2
        assert log.platform["threads"] == 1
    finally:
        torch.set_num_threads(before)


def test_another_seed_is_another_model(plain_model: Trained, small_recipe: Recipe, few: Records):
    assert train(replace(small_recipe, seed=1), few).model.digest != plain_model.model.digest


def test_deleting_a_test_record_changes_no_byte(plain_model: Trained, small_recipe: Recipe, few: Records):
    assert train(small_recipe, few.without(few.test.ids[:3])).model.digest == plain_model.model.digest


def test_cost_counts_what_the_schedule_says(plain_model: Trained, small_recipe: Recipe, few: Records):
    steps = -(-small_recipe.epochs * len(few.train) // small_recipe.batch_size)
    assert plain_model.cost.gradient_evaluations == steps * small_recipe.batch_size
    assert plain_model.cost.peak_memory > 0


def test_log_names_every_stage(sharded_model: Trained):
    names = {f"shard/{s}/slice/{r}" for s in range(5) for r in range(3)}
    assert set(sharded_model.log.checkpoints) == names
    assert Recipe.from_json(sharded_model.log.recipe) == sharded_model.model.recipe


def test_training_learns(plain_model: Trained, few: Records):
    accuracy = (plain_model.model.predict(few.test.features) == few.test.targets).float().mean()
    assert accuracy > 0.75


def test_data_smaller_than_a_batch_goes_whole_into_each_step(few: Records, small_recipe: Recipe):
    tiny = few.select([row for row, part in enumerate(few.split) if part == "train"][:5])
    assert train(replace(small_recipe, batch_size=64, epochs=3), tiny).cost.gradient_evaluations == 15


@pytest.mark.parametrize(
    ("recipe", "keep", "code"),
    [
        (Recipe(MLP((8,), batch_norm=True), batch_size=1), 50, "batch-of-one"),
        (Recipe(ResNet(4)), 1, "batch-of-one"),
        (Recipe(MLP((8,))), 0, "delete-everything"),
        (Recipe(MLP((8,)), SGD(lr=1e9)), 50, "diverged"),
        (Recipe(InPython(torch.nn.Flatten)), 50, "no-parameters"),
        (Recipe(CNN(), sharding=Sharding(2)), -1, "bad-shape"),
    ],
)
def test_what_cannot_be_trained_is_refused(recipe: Recipe, keep: int, code: str, few: Records):
    part = few.train.select(range(abs(keep)))
    if keep < 0:
        part = replace(part, features=part.features.flatten(1))
    with pytest.raises(ExpungeError) as caught:
        train(recipe, part)
    assert caught.value.code == code


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"seed": -1}, {"epochs": float("nan")}])
def test_senseless_recipes_are_refused(wrong: dict):
    with pytest.raises(ExpungeError) as caught:
        Recipe(**wrong)
    assert caught.value.code == "bad-hyperparameter"
