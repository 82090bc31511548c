"""Networks for readings: changes are learnt on, and what is folded and stored is the plain network."""

import numpy as np
import pytest
import torch

from expunge.assurance.verification import fold
from expunge.errors import ProgrammerError
from expunge.networks import LSTM, Trends
from expunge.networks.trends import changes
from expunge.training import SGD, Adam, Recipe, SquaredError


def test_changes_of_readings_are_changes() -> None:
    x = torch.tensor([[1.0, 3.0, 6.0, 9.0]])
    assert (x @ changes(4, range(3), 2.0).T).tolist() == [[-4.0, -6.0, 6.0, 9.0]]


def test_the_verifier_sees_the_network_that_predicts() -> None:
    module = Trends((5, 4)).build((12,), 0)
    points = torch.randn(20, 12, dtype=torch.float64)
    with torch.no_grad():
        said = module(points.float()).double()
    assert torch.allclose(fold(module)(points), said, atol=1e-4)
    assert torch.allclose(fold(module).run_deployed(points), said, atol=1e-6)


def test_collinear_readings_are_learnt_where_a_plain_network_is_slow() -> None:
    """y = newest + 3 x its change: least squares is exact, and so, nearly, is a linear unit on changes."""
    from expunge.networks import MLP
    from expunge.records.columns import Columns
    from expunge.records.table import table
    from expunge.training import train

    rng = np.random.default_rng(0)
    level, moves = rng.normal(0, 60, 1500), rng.normal(0, 6, (5, 1500))
    readings = level + np.vstack([np.zeros(1500), moves.cumsum(0)])
    cells = {f"r{n}": row for n, row in enumerate(readings)} | {"y": readings[5] + 3 * moves[4]}
    records = table(cells, Columns("y", regression=True))
    errors = {}
    for network in (MLP((16,)), Trends((16,))):
        recipe = Recipe(network, SGD(lr=0.02), loss=SquaredError(), epochs=6, batch_size=32)
        said = train(recipe, records).model.predict(records.test.features)
        errors[type(network).__name__] = float((said - records.test.targets).square().mean())
    assert errors["Trends"] < 0.3 * errors["MLP"]


def test_an_lstm_is_its_definition() -> None:
    module = LSTM(3, 2, hidden=4, gain=5.0).build((7,), 0)
    row = torch.randn(1, 7)
    memory, states = module.memory, (torch.zeros(4), torch.zeros(4))
    before = row[0, 0]
    for step in range(3):
        channels = row[0, 2 * step : 2 * step + 2]
        x = torch.cat([channels, 5.0 * (channels[:1] - before)])
        before = channels[0]
        gates = memory.weight_ih_l0 @ x + memory.bias_ih_l0 + memory.weight_hh_l0 @ states[0] + memory.bias_hh_l0
        enter, forget, cell, leave = gates.chunk(4)
        kept = forget.sigmoid() * states[1] + enter.sigmoid() * cell.tanh()
        states = (leave.sigmoid() * kept.tanh(), kept)
    expected = module.head(states[0]) + module.linear(row)[0]
    assert torch.allclose(module(row)[0], expected, atol=1e-6)


@pytest.mark.parametrize("network", [LSTM(4, 3), LSTM(0), Trends(readings=13), Trends(hidden=()), Trends(readings=0)])
def test_what_does_not_fit_the_columns_is_refused(network: LSTM | Trends) -> None:
    with pytest.raises(ProgrammerError, match="columns"):
        network.build((11,), 0)


@pytest.mark.parametrize("network", [LSTM(6), Trends()])
def test_recipes_with_them_come_back(network: LSTM | Trends) -> None:
    recipe = Recipe(network, Adam())
    assert Recipe.from_json(recipe.to_json()) == recipe
