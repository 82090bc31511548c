import math

import pytest
import torch

from expunge.errors import ProgrammerError
from expunge.records import Records
from expunge.training import BatchStream, Recipe, Stage, Trained
from expunge.unlearning import FineTune, unlearn
from expunge.unlearning.fine_tune import check_schedule


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_equals_a_plain_loop(plain_model: Trained, few: Records, small_recipe: Recipe, schedule: str):
    """Naive reference: the textbook loop over the same batches."""
    forget = few.owned_by(few.train.owners[0])
    result = unlearn(plain_model, few, forget, FineTune(epochs=2, lr=0.03, schedule=schedule), seed=5)
    kept = few.without(forget).train
    module = plain_model.model.module().train()
    optimiser = torch.optim.SGD(module.parameters(), 0.03, momentum=0.9, weight_decay=5e-4)
    stage = Stage("fine-tune/train", tuple(range(len(kept))), 2)
    stream = BatchStream(stage, small_recipe.batch_size, 5)
    steps = stage.steps(small_recipe.batch_size)
    for step in range(steps):
        if schedule == "cosine":
            optimiser.param_groups[0]["lr"] = 0.03 * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimiser.zero_grad()
        rows = stream[step]
        torch.nn.functional.cross_entropy(module(kept.features[rows]), kept.targets[rows]).backward()
        optimiser.step()
    state = result.trained.model.constituents[0]
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-5, atol=1e-6)


def test_in_a_sharded_model_only_the_shards_concerned_move(sharded_model: Trained, few: Records):
    forget = few.owned_by(few.train.owners[0])
    after = unlearn(sharded_model, few, forget, FineTune(epochs=1)).trained.model
    pairs = zip(sharded_model.model.constituents, after.constituents, strict=True)
    assert sum(old is not new for old, new in pairs) == 1


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"epochs": -1.0}, {"lr": 0.0}])
def test_senseless_hyper_parameters_are_refused(wrong: dict):
    with pytest.raises(ProgrammerError) as caught:
        FineTune(**wrong)
    assert caught.value.code == "bad-hyperparameter"


def test_a_schedule_from_a_file_is_one_of_two():
    with pytest.raises(ProgrammerError) as caught:
        check_schedule("steps")
    assert caught.value.code == "bad-hyperparameter"
