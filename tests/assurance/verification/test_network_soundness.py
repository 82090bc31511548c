"""Nothing that is met at any point may lie outside a bound that was proved."""

import pytest
import torch
from verification_problems import network, points_in

from expunge.assurance.verification import (
    BoundedOutput,
    Budget,
    HalfSpace,
    LocalRobustness,
    Monotone,
    Path,
    Proved,
    Rate,
    Region,
    interval_bounds,
    verify,
)
from expunge.assurance.verification.attack import attack
from expunge.assurance.verification.deviation import deviation
from expunge.assurance.verification.halving import halves
from expunge.assurance.verification.lines import Interval, SecondInterval, SecondSlopes, Slopes, lines_of
from expunge.assurance.verification.optimisation import margin_bound
from expunge.assurance.verification.problem import Problem, problem_of
from expunge.assurance.verification.properties import Property
from expunge.assurance.verification.relaxation import _bound_layer, hidden_bounds

SHAPES = ((3, 8, 1), (4, 10, 10, 2), (2, 6, 6, 6, 1), (5, 12, 8, 1), (12, 16, 16, 1))


def region(inputs: int, *, constrained: bool) -> Region:
    lower, upper = (-1.0,) * inputs, (1.0, 0.5) + (1.0,) * (inputs - 2)
    if not constrained:
        return Region(lower, upper)
    half = HalfSpace((1.0,) + (0.5,) * (inputs - 1), 0.3)
    return Region(lower, upper, (half,), (Path((0, 1), -0.5, 0.25),))


def kinds(inputs: int, *, constrained: bool) -> list[Property]:
    area = region(inputs, constrained=constrained)
    moves = (-0.2,) * inputs, (0.3,) * inputs
    return [
        BoundedOutput(area, -0.5, 0.5),
        LocalRobustness(area, (0.1,) * inputs, 0.2),
        Monotone(area, (0.4,) + (0.0,) * (inputs - 1), True, 0.1),
        Rate(area, ((0, 1),), *moves, 0.3),
    ]


def problems(seed: int) -> list[Problem]:
    shape = SHAPES[seed % len(SHAPES)]
    model = network(*shape, seed=seed)
    wanted = kinds(shape[0], constrained=bool(seed // len(SHAPES) % 2))
    return [problem_of(model, query) for property_ in wanted for query in property_.queries(model)]


def escapes(problem: Problem, samples: int, seed: int) -> float:
    """The largest amount by which a sampled or attacked margin lies below a bound, at three sizes of box."""
    domain = problem.query.domain
    points = points_in(problem, samples, seed)
    found, _ = attack(problem, 64, 15, seed)
    points = torch.cat([points, found])
    worst = -torch.inf
    for share in (1.0, 0.3, 0.05):
        centre = points[len(points) // 2] if len(points) else (domain.lower + domain.upper) / 2
        reach = share * (domain.upper - domain.lower) / 2
        lower = torch.maximum(domain.lower, centre - reach)[None]
        upper = torch.minimum(domain.upper, centre + reach)[None]
        with torch.no_grad():
            layers, lines = hidden_bounds(problem, lower, upper)
        value = float(margin_bound(problem, layers, lines, lower, upper, 6).value)
        here = points[((points >= lower) & (points <= upper)).all(1)]
        if len(here):
            worst = max(worst, value - float(problem.margin(here).min()))
    return worst


@pytest.mark.parametrize("seed", range(100))
def test_no_sampled_or_attacked_point_escapes_a_bound(seed: int) -> None:
    chosen = problems(seed)[seed % 7]
    assert escapes(chosen, 2_000, seed) <= 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_no_point_of_a_million_escapes(seed: int) -> None:
    for problem in problems(seed):
        assert escapes(problem, 1_000_000, seed) <= 0


@pytest.mark.parametrize("seed", range(20))
def test_hidden_layers_stay_inside_their_bounds(seed: int) -> None:
    for problem in problems(seed):
        domain, model = problem.query.domain, problem.network
        with torch.no_grad():
            layers, _ = hidden_bounds(problem, domain.lower[None], domain.upper[None])
        x, other = problem.query.points(points_in(problem, 3_000, seed))
        other = x if other is None else other
        for layer, (weight, bias) in zip(layers, zip(model.weights, model.biases, strict=True), strict=False):
            x, other = x @ weight.T + bias, other @ weight.T + bias
            assert bool(((x >= layer.lower) & (x <= layer.upper)).all())
            if layer.second is not None:
                _inside_second(layer.second, x, other)
            x, other = x.relu(), other.relu()


def _inside_second(second: SecondInterval, x: torch.Tensor, other: torch.Tensor) -> None:
    slack = 1e-12  # the difference is itself rounded here
    assert bool(((other >= second.lower) & (other <= second.upper)).all())
    assert bool(((other - x >= second.move_lower - slack) & (other - x <= second.move_upper + slack)).all())


@pytest.mark.parametrize("seed", range(20))
def test_the_lines_of_two_copies_hold_their_activations_for_every_choice(seed: int) -> None:
    drawn = torch.Generator().manual_seed(seed)
    rand = lambda *size: torch.rand(*size, generator=drawn, dtype=torch.float64)  # noqa: E731
    a, d = 4 * rand(500, 40) - 2, (4 * rand(500, 40) - 2) * 10 ** (-3 * rand(1, 40))
    a[:, :10], d[:, 10:20] = a[:, :10].abs(), d[:, 10:20].abs()  # some signs are known
    low, high = (torch.stack([part.amin(0), part.amax(0)]) for part in (a, d))
    other = a + d
    second = SecondInterval(high[:1], high[1:], other.amin(0)[None], other.amax(0)[None])
    layer = Interval(low[:1], low[1:], second)
    lines = lines_of(layer, Slopes(rand(1, 40), SecondSlopes(*(rand(1, 40) for _ in range(7)))))
    h, move = a.relu(), other.relu() - a.relu()
    assert lines.move is not None
    assert float((lines.low * a - h).max()) <= 1e-12
    assert float((h - lines.up * a - lines.up_add).max()) <= 1e-12
    assert float((lines.move.low_a * a + lines.move.low_d * d + lines.move.low_add - move).max()) <= 1e-12
    assert float((move - lines.move.up_a * a - lines.move.up_d * d - lines.move.up_add).max()) <= 1e-12


@pytest.mark.parametrize("seed", range(10))
def test_halves_cover_their_box_and_bound_what_is_in_them(seed: int) -> None:
    for problem in problems(seed):
        domain = problem.query.domain
        lower, upper = domain.lower.repeat(3, 1), domain.upper.repeat(3, 1)
        lower[1] = upper[1] - (upper[1] - lower[1]) / 3
        layers, lines = hidden_bounds(problem, lower, upper)
        bound = margin_bound(problem, layers, lines, lower, upper, 3)
        low, high, bounds = halves(problem, layers, bound, lower, upper, torch.tensor([True, True, False]), 2)
        assert len(low) == 4
        points = points_in(problem, 2_000, seed)
        margins = problem.margin(points)
        inside = [((points >= low[k]) & (points <= high[k])).all(1) for k in range(4)]
        for box in range(2):
            whole = ((points >= lower[box]) & (points <= upper[box])).all(1)
            assert torch.equal(inside[box] | inside[box + 2], whole)
        for k, here in enumerate(inside):
            assert not here.any() or float(bounds[k]) <= float(margins[here].min())


@pytest.mark.parametrize("seed", range(10))
def test_shared_products_give_the_bounds_of_the_backward_pass(seed: int) -> None:
    for problem in problems(seed):
        domain = problem.query.domain
        if len(problem.sizes) < 3:
            continue
        lower, upper = domain.lower[None], domain.upper[None]
        layers, lines = hidden_bounds(problem, lower, upper)
        slow = _bound_layer(problem, lines[:1], 1, lower, upper)
        assert torch.allclose(layers[1].lower, slow.lower, atol=1e-10)
        assert torch.allclose(layers[1].upper, slow.upper, atol=1e-10)
        if layers[1].second is not None and slow.second is not None:
            assert bool((layers[1].second.lower >= slow.second.lower - 1e-10).all())
            assert bool((layers[1].second.move_upper <= slow.second.move_upper + 1e-10).all())


def test_optimised_slopes_never_loosen_and_often_tighten() -> None:
    gains = []
    for problem in [problem for seed in range(10) for problem in problems(seed)]:
        lower, upper = problem.query.domain.lower[None], problem.query.domain.upper[None]
        layers, lines = hidden_bounds(problem, lower, upper)
        plain = float(margin_bound(problem, layers, lines, lower, upper, 0).value)
        gains.append(float(margin_bound(problem, layers, lines, lower, upper, 12).value) - plain)
    assert min(gains) >= 0
    assert sum(gain > 1e-3 for gain in gains) > len(gains) / 3


def test_interval_arithmetic_holds_every_output_and_linear_bounds_are_tighter() -> None:
    for seed in range(10):
        model = network(4, 12, 12, 2, seed=seed)
        lower, upper = -torch.ones(1, 4, dtype=torch.float64), torch.ones(1, 4, dtype=torch.float64)
        low, high = interval_bounds(model, lower, upper)
        x = 2 * torch.rand(5_000, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1
        y = model(x)
        assert bool(((y >= low) & (y <= high)).all())
        problem = problem_of(model, BoundedOutput(Region((-1,) * 4, (1,) * 4), 0, 1).queries(model)[0])
        layers, lines = hidden_bounds(problem, lower, upper)
        assert float(margin_bound(problem, layers, lines, lower, upper, 10).value) >= float(low[0, 0])


@pytest.mark.parametrize("seed", range(12))
def test_the_deployed_network_stays_within_the_deviation(seed: int) -> None:
    for problem in problems(seed):
        points = points_in(problem, 5_000, seed)
        gap = (problem.margin(points) - problem.margin_deployed(points)).abs()
        assert float(gap.max()) <= deviation(problem) < 1e-3


@pytest.mark.parametrize("seed", range(8))
def test_a_proved_bound_is_below_every_deployed_margin(seed: int) -> None:
    model = network(3, 10, 10, 1, seed=seed)
    for wanted in kinds(3, constrained=bool(seed % 2)):
        verdict = verify(model, wanted, budget=Budget(boxes=20_000, complete=False))
        if isinstance(verdict, Proved):
            for query in wanted.queries(model):
                problem = problem_of(model, query)
                points = torch.cat([points_in(problem, 20_000, seed), attack(problem, 64, 20, seed)[0]])
                assert float(problem.margin_deployed(points).min()) >= verdict.bound
