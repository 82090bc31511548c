import inspect

import pytest
import torch
from torch import nn

from expunge.errors import ProgrammerError, RequesterError
from expunge.networks import InPython
from expunge.records import Records
from expunge.training import Recipe, Sharding, train
from expunge.unlearning import FineTune, adopt, prepare, unlearn


def make() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Dropout(0.1), nn.Linear(12, 10))


def broken() -> nn.Module:
    module = make()
    with torch.no_grad():
        module[1].weight[0, 0] = torch.nan
    return module


def narrow(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs))


def test_adopted_model_predicts_as_the_module_does(few: Records):
    module = make()
    trained = adopt(module, few, Recipe(network=InPython(make)))
    expected = module.eval()(few.test.features).argmax(1)
    assert trained.model.predict(few.test.features).equal(expected)


def test_adopted_model_can_forget(few: Records):
    recipe = Recipe(network=InPython(make), epochs=2)
    trained = adopt(make(), few, recipe)
    forget = few.owned_by(few.train.owners[0])
    assert unlearn(trained, few, forget).trained.model.digest == train(recipe, few.without(forget)).model.digest
    assert unlearn(trained, few, forget, FineTune(epochs=1)).claim.kind == "empirical"


@pytest.mark.parametrize(
    ("module", "recipe", "code"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), Recipe(network=InPython(make)), "bad-shape"),
        (nn.Flatten(), Recipe(network=InPython(make)), "no-parameters"),
        (make(), Recipe(network=InPython(nn.Flatten)), "no-parameters"),
        (make(), Recipe(network=InPython(make), sharding=Sharding()), "method-unfit"),
        (make().double(), Recipe(network=InPython(make)), "bad-shape"),
        (make().to("meta"), Recipe(network=InPython(make)), "bad-shape"),
        (broken(), Recipe(network=InPython(make)), "diverged"),
        (narrow(64, 3), Recipe(network=InPython(lambda: narrow(64, 3))), "bad-shape"),
        (narrow(63, 10), Recipe(network=InPython(lambda: narrow(63, 10))), "bad-shape"),
    ],
)
def test_what_does_not_fit_is_refused(module: nn.Module, recipe: Recipe, code: str, few: Records):
    with pytest.raises(ProgrammerError) as caught:
        adopt(module, few, recipe)
    assert caught.value.code == code


@pytest.mark.parametrize("offered", [make().state_dict(), None, make], ids=["weights alone", "nothing", "a factory"])
def test_what_is_no_module_is_refused(offered: object, few: Records):
    with pytest.raises(ProgrammerError) as caught:
        inspect.unwrap(adopt)(offered, few, Recipe(network=InPython(make)))  # as a user without our type checks would
    assert caught.value.code == "no-parameters"


@pytest.mark.parametrize("wrong", ["the records", "one id", "numbers"])
def test_a_forget_set_that_is_no_collection_of_ids_is_refused(wrong: str, few: Records):
    trained = adopt(make(), few, Recipe(network=InPython(make)))
    asked = {"the records": few.train, "one id": few.ids[0], "numbers": [0, 1]}[wrong]
    with pytest.raises(RequesterError) as caught:
        inspect.unwrap(prepare)(trained, few, asked)
    assert caught.value.code == "unknown-record"


def test_the_module_is_copied(few: Records):
    module = make()
    trained = adopt(module, few, Recipe(network=InPython(make)))
    before = trained.model.constituents[0]["1.weight"].clone()
    with torch.no_grad():
        module[1].weight.zero_()
    assert trained.model.constituents[0]["1.weight"].equal(before)
