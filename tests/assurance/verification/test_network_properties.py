"""Planted faults are found, and their counterexamples replay; malformed networks and regions get one line."""

import itertools
import math

import pytest
import torch
from torch import nn
from verification_problems import module, network, planted

from expunge.assurance.verification import (
    BoundedOutput,
    Counterexample,
    HalfSpace,
    Hazard,
    LocalRobustness,
    Monotone,
    Path,
    Proved,
    Rate,
    Region,
    ReluNetwork,
    Scaling,
    Violated,
    fold,
    verify,
)
from expunge.assurance.verification.properties import Property
from expunge.assurance.verification.regions import domain_of
from expunge.errors import ExpungeError
from expunge.networks import MonotoneMLP

# Predicts the last reading, but never below 90: exactly what may not happen to a low and falling patient.
UNSAFE = planted([[[0.0, 1.0]], [[1.0]]], [[-90.0], [90.0]])
# Insulin on board lowers the prediction up to 4 U and raises it beyond.
NON_MONOTONE = planted([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [[1.0, -5.0, 12.0]]], [[0.0, 0.0, -4.0], [0.0]])
AREA = Region((40.0, 0.0), (400.0, 8.0))


def replayed(network: ReluNetwork, example: Counterexample) -> None:
    """What the counterexample says is what the deployed module says."""
    assert network.run_deployed(torch.tensor([example.x], dtype=torch.float64))[0].tolist() == list(example.output)
    if example.other is not None and example.other_output is not None:
        again = network.run_deployed(torch.tensor([example.other], dtype=torch.float64))[0].tolist()
        assert again == list(example.other_output)
    assert example.margin < 0


def test_an_unsafe_network_is_violated_where_it_hurts() -> None:
    low = Region((40.0, 40.0), (75.0, 75.0), paths=(Path((0, 1), -20.0, -5.0),))
    verdict = verify(UNSAFE, Hazard(low, 80.0))
    assert isinstance(verdict, Violated)
    replayed(UNSAFE, verdict.counterexample)
    x = verdict.counterexample.x
    assert -20 <= x[1] - x[0] <= -5
    assert 40 <= x[1] <= 75
    assert verdict.counterexample.output[0] > 80


def test_a_rare_unsafe_corner_is_found_or_nothing_is_proved() -> None:
    # relu(sum x - 11.9) * 1000 is zero except in one corner of the unit cube.
    spike = planted([[[1.0] * 12], [[1000.0]]], [[-11.9], [0.0]])
    verdict = verify(spike, Hazard(Region((0.0,) * 12, (1.0,) * 12), 50.0))
    assert isinstance(verdict, Violated)
    replayed(spike, verdict.counterexample)


def test_a_non_monotone_network_is_violated_only_beyond_its_turn() -> None:
    verdict = verify(NON_MONOTONE, Monotone(AREA, (0.0, 1.0), False, 0.1))
    assert isinstance(verdict, Violated)
    example = verdict.counterexample
    replayed(NON_MONOTONE, example)
    assert example.other is not None
    assert 0 < example.other[1] - example.x[1] <= 1
    assert example.other[1] > 4
    below = Region((40.0, 0.0), (400.0, 4.0))
    assert isinstance(verify(NON_MONOTONE, Monotone(below, (0.0, 1.0), False, 0.1)), Proved)


def test_robustness_and_rate_turn_at_the_known_slope() -> None:
    # f = 2 x0 on x0 >= 0: a radius of 3 moves the output by 6.
    doubling = planted([[[1.0, 0.0]], [[2.0]]], [[0.0], [0.0]])
    area = Region((10.0, 10.0), (50.0, 50.0))
    assert isinstance(verify(doubling, LocalRobustness(area, (3.0, 0.0), 6.01)), Proved)
    assert isinstance(verify(doubling, LocalRobustness(area, (3.0, 0.0), 5.99)), Violated)
    moving = ((0, 1),), (0.0, -5.0), (0.0, 5.0)
    close = Region((10.0, 10.0), (50.0, 50.0), paths=(Path((0, 1), -4.0, 4.0),))
    assert isinstance(verify(doubling, Rate(close, *moving, 8.01)), Proved)
    found = verify(doubling, Rate(close, *moving, 7.99))
    assert isinstance(found, Violated)
    assert found.counterexample.other is not None
    assert found.counterexample.other[0] == pytest.approx(found.counterexample.x[1])


def test_scaling_is_part_of_what_is_verified() -> None:
    raw = module(3, 8, 1, seed=5)
    scaling = Scaling((100.0, 2.0, 0.0), (40.0, 0.5, 1.0), (120.0,), (50.0,))
    scaled = fold(raw, scaling)
    x = torch.tensor([[80.0, 1.0, 0.3], [250.0, 3.0, -1.0]], dtype=torch.float64)
    inner = (x - torch.tensor([100.0, 2.0, 0.0])) / torch.tensor([40.0, 0.5, 1.0])
    with torch.no_grad():
        expected = 120 + 50 * raw.double()(inner)
    assert torch.allclose(scaled(x), expected, rtol=1e-12)
    assert torch.allclose(scaled.run_deployed(x), expected, rtol=1e-4)


def test_a_later_change_of_the_module_changes_nothing() -> None:
    raw = module(2, 4, 1, seed=0)
    folded = fold(raw)
    x = torch.ones(1, 2, dtype=torch.float64)
    before = folded(x), folded.run_deployed(x)
    with torch.no_grad():
        raw[0].weight.zero_()
    assert torch.equal(folded(x), before[0])
    assert torch.equal(folded.run_deployed(x), before[1])


def test_a_path_is_the_region_it_describes() -> None:
    region = Region((0.0,) * 4, (10.0,) * 4, paths=(Path((2, 0, 3), -1.0, 2.0),))
    domain = domain_of(region)
    generator = torch.Generator().manual_seed(0)
    z = domain.lower + torch.rand(4_000, 4, generator=generator, dtype=torch.float64) * (domain.upper - domain.lower)
    x = z @ domain.matrix.T + domain.shift
    kept = (z @ domain.rows.T <= domain.limits).all(1)
    steps = torch.stack([x[:, 0] - x[:, 2], x[:, 3] - x[:, 0]])
    assert bool(((steps >= -1) & (steps <= 2)).all())
    assert torch.equal(kept, ((x >= 0) & (x <= 10)).all(1))


BAD_REGIONS = [
    lambda: Region((), ()),
    lambda: Region((0.0,), (1.0, 2.0)),
    lambda: Region((2.0,), (1.0,)),
    lambda: Region((math.nan,), (1.0,)),
    lambda: Region((0.0,), (math.inf,)),
    lambda: Region((0.0,), (1.0,), (HalfSpace((1.0, 2.0), 0.0),)),
    lambda: Region((0.0,), (1.0,), (HalfSpace((math.nan,), 0.0),)),
    lambda: Region((0.0, 0.0), (1.0, 1.0), paths=(Path((0, 0), 0.0, 1.0),)),
    lambda: Region((0.0, 0.0), (1.0, 1.0), paths=(Path((0, 5), 0.0, 1.0),)),
    lambda: Region((0.0, 0.0), (1.0, 1.0), paths=(Path((0, 1), 2.0, 1.0),)),
    lambda: Region((0.0, 0.0), (1.0, 1.0), paths=(Path((), 0.0, 1.0),)),
]


@pytest.mark.parametrize("make", BAD_REGIONS)
def test_bad_regions_are_one_line(make) -> None:
    with pytest.raises(ExpungeError) as caught:
        make()
    assert caught.value.code == "bad-region"


ONE = Region((0.0,), (1.0,))
TWO = Region((0.0, 0.0), (1.0, 1.0))
BAD_PROPERTIES: list[Property] = [
    Hazard(ONE, 1.0),
    Hazard(TWO, 1.0, output=1),
    Hazard(TWO, math.nan),
    BoundedOutput(TWO, 1.0, math.inf),
    LocalRobustness(TWO, (0.1,), 1.0),
    LocalRobustness(TWO, (-0.1, 0.1), 1.0),
    LocalRobustness(TWO, (math.inf, 0.1), 1.0),
    Monotone(TWO, (0.1, math.nan), True, 0.1),
    Monotone(TWO, (0.1, 0.1), True, -0.1),
    Rate(TWO, ((0, 7),), (0.0, 0.0), (0.0, 0.0), 1.0),
    Rate(TWO, ((0, 1), (0, 1)), (0.0, 0.0), (0.0, 0.0), 1.0),
]


@pytest.mark.parametrize("wanted", BAD_PROPERTIES, ids=lambda wanted: type(wanted).__name__)
def test_bad_properties_are_one_line(wanted: Property) -> None:
    with pytest.raises(ExpungeError) as caught:
        verify(network(2, 4, 1, seed=0), wanted)
    assert caught.value.code == "bad-region"


BAD_MODULES = [
    nn.Sequential(),
    nn.Sequential(nn.ReLU(), nn.Linear(2, 1)),
    nn.Sequential(nn.Linear(2, 2), nn.ReLU()),
    nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)),
    nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)),
    nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(3, 1)),
]


@pytest.mark.parametrize("bad", BAD_MODULES)
def test_networks_that_cannot_be_verified_are_one_line(bad: nn.Sequential) -> None:
    with pytest.raises(ExpungeError) as caught:
        fold(bad)
    assert caught.value.code == "bad-network"


@pytest.mark.parametrize("scaling", [Scaling((1.0,)), Scaling(spread=(1.0, 0.0)), Scaling(spread=(1.0, math.nan))])
def test_scaling_that_does_not_fit_is_one_line(scaling: Scaling) -> None:
    with pytest.raises(ExpungeError) as caught:
        fold(module(2, 3, 1, seed=0), scaling)
    assert caught.value.code == "bad-network"


def test_weights_that_are_not_finite_are_refused() -> None:
    raw = module(2, 3, 1, seed=0)
    with torch.no_grad():
        raw[0].weight[0, 0] = math.inf
    with pytest.raises(ExpungeError, match="finite"):
        fold(raw)


def test_planted_faults_of_every_kind_are_found() -> None:
    steep = planted([[[1.0, 1.0], [-1.0, 0.0]], [[3.0, 4.0]]], [[-0.3, -0.2], [0.0]])
    area = Region((-1.0, -1.0), (1.0, 1.0))
    faults: list[Property] = [
        BoundedOutput(area, -1.0, 5.0),
        Hazard(area, 2.0),
        LocalRobustness(area, (0.1, 0.1), 0.4),
        Monotone(area, (0.5, 0.0), True, 0.5),
        Rate(area, ((0, 1),), (0.0, -0.1), (0.0, 0.1), 1.0),
    ]
    for wanted, seed in itertools.product(faults, range(2)):
        verdict = verify(steep, wanted, seed=seed)
        assert isinstance(verdict, Violated)
        replayed(steep, verdict.counterexample)


class _Doubled(nn.Linear):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(inputs)


def test_a_layer_that_computes_something_else_than_its_parent_is_refused() -> None:
    with pytest.raises(ExpungeError, match="_Doubled"):
        fold(nn.Sequential(_Doubled(2, 1)))


@pytest.mark.parametrize("seed", range(3))
def test_any_network_with_signs_is_proved_monotone_at_once(seed: int) -> None:
    built, generator = MonotoneMLP((64, 1), (0,), (1,)).build((4,), 0), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    assert isinstance(built, nn.Sequential)
    model, x = fold(built), torch.rand(50, 4, generator=generator, dtype=torch.float64)
    assert torch.allclose(model(x), model.run_deployed(x), rtol=1e-4, atol=1e-4)
    area = Region((-3.0,) * 4, (3.0,) * 4)
    for step, increasing in (((2.0, 0.0, 0.0, 0.0), True), ((0.0, 2.0, 0.0, 0.0), False)):
        verdict = verify(model, Monotone(area, step, increasing, 0.1))
        assert isinstance(verdict, Proved)
        assert verdict.effort.boxes == 1
    assert isinstance(verify(model, Monotone(area, (2.0, 0.0, 0.0, 0.0), False, 0.1)), Violated)
