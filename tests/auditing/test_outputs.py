from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import Scene
from scipy.special import logsumexp

from expunge.auditing.divergence import divergence
from expunge.auditing.outputs import Outputs, merged, outputs
from expunge.networks import MLP
from expunge.records import Records
from expunge.training import Recipe, SquaredError, train


def test_single_network_against_the_formulas(memorised: Scene):
    part = memorised.records.test
    found = outputs(memorised.exact, part)
    logits = memorised.exact.logits(part.features).double().numpy()
    for row, (line, target) in enumerate(zip(logits, part.targets.tolist(), strict=True)):
        p = np.exp(line - logsumexp(line))
        assert found.own[row] == pytest.approx(p[target])
        assert found.loss[row] == pytest.approx(-np.log(p[target]))
        assert found.confidence[row] == pytest.approx(np.log(p[target] / (p.sum() - p[target])), rel=1e-6)
        assert found.correct[row] == (line.argmax() == target)


@pytest.mark.parametrize("aggregation", ["mean", "vote"])
def test_sharded_outputs_are_the_models_own(sharded: Scene, aggregation: str):
    sharding = replace(sharded.recipe.sharding, aggregation=aggregation)
    model = replace(sharded.exact, recipe=replace(sharded.recipe, sharding=sharding))
    part = sharded.records.test
    probabilities = model.probabilities(part.features).numpy()
    assert np.exp(outputs(model, part).logs) == pytest.approx(probabilities, abs=1e-6)


def test_certainty_does_not_saturate():
    logits = torch.tensor([[400.0, 0.0, -400.0], [0.0, 900.0, 0.0]])
    records = Records(torch.zeros(2, 1), torch.tensor([0, 0]), ("a", "b"), ("x", "x"), ("test", "test"), 3)
    found = merged([logits.double()], records)
    assert found.confidence == pytest.approx([400.0, -900.0])
    assert found.finite


def test_regression_is_read_by_its_error():
    x = torch.linspace(-1, 1, 40)[:, None]
    names = tuple(str(n) for n in range(40))
    records = Records(x, 2 * x[:, 0], names, names, ("train",) * 40, 0)
    model = train(Recipe(network=MLP(()), loss=SquaredError(), epochs=3), records).model
    found = outputs(model, records)
    errors = (model.logits(x)[:, 0] - records.targets).abs().numpy()
    assert found.loss == pytest.approx(errors**2, rel=1e-4)
    assert found.confidence == pytest.approx(-errors, rel=1e-4)


def test_divergence_against_the_sum():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(4), 6), rng.dirichlet(np.ones(4), 6)
    naive = [sum(a * np.log(a / b) for a, b in zip(x, y, strict=True)) for x, y in zip(p, q, strict=True)]
    assert divergence(np.log(p), np.log(q)) == pytest.approx(naive)
    assert divergence(np.log(p), np.log(p)) == pytest.approx(np.zeros(6))


def test_outputs_say_when_they_are_not_finite():
    logs = np.array([[np.nan, 0.0], [-1.0, -0.5]])
    assert not Outputs(logs, np.array([0, 1]), 2).finite
