"""Products against the full matrices, solvers against the exact solution, and what must be refused."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from expunge.errors import ProgrammerError
from expunge.networks import layout
from expunge.training import CrossEntropy, SquaredError
from expunge.training.curvature import (
    PUBLIC_DEFAULTS,
    Curvature,
    CurvatureKind,
    Series,
    conjugate_gradient,
    extreme_eigenvalues,
    neumann,
)
from expunge.training.curvature import (
    curvature as room,
)

RECORDS = 60


def _network(outputs: int = 3) -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, outputs)).double()


def _data(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(RECORDS, 2, 3, generator=generator, dtype=torch.float64).to(dtype)
    return features, torch.randint(3, (RECORDS,), generator=generator)


def _curvature(kind: CurvatureKind = CurvatureKind.HESSIAN, damping: float = 0.0, **others: object) -> Curvature:
    module = _network()
    point = layout(module).flatten(dict(module.named_parameters())).detach()
    return Curvature(module, point, *_data(), damping=damping, kind=kind, **others)  # type: ignore[arg-type]


def _naive(curvature: Curvature) -> torch.Tensor:
    """The matrices by their definitions."""

    def losses(point: torch.Tensor) -> torch.Tensor:
        out = functional_call(curvature.module, curvature.layout.unflatten(point), (curvature.features,))
        return nn.functional.cross_entropy(out, curvature.targets, reduction="none")

    def outputs(point: torch.Tensor) -> torch.Tensor:
        return functional_call(curvature.module, curvature.layout.unflatten(point), (curvature.features,))

    point = curvature.parameters
    if curvature.kind is CurvatureKind.HESSIAN:
        return jacrev(jacrev(lambda at: losses(at).mean()))(point)
    if curvature.kind is CurvatureKind.FISHER:
        slopes = jacrev(losses)(point)
        return slopes.T @ slopes / RECORDS
    jacobian, shares = jacrev(outputs)(point), outputs(point).softmax(1)
    middle = torch.diag_embed(shares) - shares[:, :, None] * shares[:, None, :]
    return torch.einsum("nop,noq,nqr->pr", jacobian, middle, jacobian) / RECORDS


@pytest.mark.parametrize("kind", list(CurvatureKind))
def test_products_are_those_of_the_full_matrix(kind: CurvatureKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CHUNK", 25)
    curvature = _curvature(kind, damping=0.3)
    matrix = _naive(curvature) + 0.3 * torch.eye(curvature.size, dtype=torch.float64)
    vectors = torch.randn(4, curvature.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = vectors @ matrix.T
    for candidate in (curvature, _curvature(kind, damping=0.3, kept=0)):
        assert (candidate.product(vectors) - exact).norm() <= 1e-10 * exact.norm()
        assert (candidate.product(vectors[0]) - exact[0]).norm() <= 1e-10 * exact[0].norm()
    assert (curvature.dense() - matrix).norm() <= 1e-10 * matrix.norm()


def test_single_precision_is_near_the_full_matrix() -> None:
    exact = _naive(_curvature())
    module = _network().float()
    point = layout(module).flatten(dict(module.named_parameters())).detach()
    features, targets = _data(torch.float32)
    found = Curvature(module, point, features, targets).dense()
    assert (found - exact).norm() <= 1e-5 * exact.norm()


def test_hessian_products_are_differences_of_gradients() -> None:
    curvature = _curvature()
    vector = torch.randn(curvature.size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    step = 1e-5
    ends = [
        Curvature(curvature.module, curvature.parameters + sign * step * vector, *_data()).gradient for sign in (1, -1)
    ]
    difference = (ends[0] - ends[1]) / (2 * step)
    assert (curvature.product(vector) - difference).norm() <= 1e-7 * difference.norm()


def test_the_regulariser_is_exactly_lambda_v() -> None:
    vector = torch.randn(_curvature().size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    difference = _curvature(damping=2.0).product(vector) - _curvature().product(vector)
    assert torch.allclose(difference, 2.0 * vector, rtol=1e-14, atol=1e-14)


def test_squared_error_and_symmetry() -> None:
    module = _network(outputs=1)
    point = layout(module).flatten(dict(module.named_parameters())).detach()
    features, targets = _data()
    curvature = Curvature(module, point, features, targets.double(), SquaredError())
    left, right = torch.randn(2, curvature.size, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    one, other = float(left @ curvature.product(right)), float(right @ curvature.product(left))
    assert one == pytest.approx(other, rel=1e-10)
    moved = curvature.parameters - 1e-4 * curvature.gradient
    loss = SquaredError()

    def value(at: torch.Tensor) -> float:
        outputs = functional_call(module, curvature.layout.unflatten(at), (features,))
        return float(loss.mean(outputs, targets.double()))

    drop = value(curvature.parameters) - value(moved)
    assert drop == pytest.approx(1e-4 * float(curvature.gradient.square().sum()), rel=0.05)


def test_conjugate_gradient_solves_many_systems_and_bounds_its_error() -> None:
    curvature = _curvature(damping=0.5)
    rhs = torch.randn(3, curvature.size, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    exact = torch.stack([curvature.solve(row) for row in rhs])
    least = float(torch.linalg.eigvalsh(curvature.dense())[0])
    for tolerance in (1e-2, 1e-6, 1e-10):
        found = conjugate_gradient(curvature.product, rhs, tolerance=tolerance)
        assert found.converged
        assert found.residual <= 2 * tolerance * float(rhs.norm(dim=1).max())
        assert (found.x - exact).norm(dim=1).max() <= found.error_bound(least)
    assert found.products <= 3 * 60
    quick = conjugate_gradient(curvature.product, rhs, tolerance=1e-10, closing=False)
    assert torch.equal(quick.x, found.x)
    assert quick.products == found.products - 3
    assert quick.error_bound(least) == math.inf


def test_a_damping_that_leaves_negative_curvature_never_returns_numbers() -> None:
    curvature = _curvature()
    least = float(torch.linalg.eigvalsh(curvature.dense())[0])
    assert least < 0
    damped = _curvature(damping=-least / 2)
    for solve in (
        lambda: conjugate_gradient(damped.product, damped.gradient, tolerance=1e-10),
        lambda: damped.solve(damped.gradient),
        lambda: neumann(damped, damped.gradient, Series(depth=10)),
    ):
        with pytest.raises(ProgrammerError) as caught:
            solve()
        assert caught.value.code == "indefinite-curvature"


def test_lanczos_finds_both_ends() -> None:
    curvature = _curvature()
    values = torch.linalg.eigvalsh(curvature.dense())
    found = extreme_eigenvalues(curvature.product, curvature.size, steps=curvature.size, dtype=torch.float64)
    assert found.top == pytest.approx(float(values[-1]), rel=1e-8)
    assert found.least == pytest.approx(float(values[0]), rel=1e-8, abs=1e-10)
    early = extreme_eigenvalues(curvature.product, curvature.size, steps=5, dtype=torch.float64)
    assert early.top <= float(values[-1])
    assert early.least >= float(values[0])


def test_the_series_obeys_its_law() -> None:
    curvature = _curvature(damping=0.5)
    values = torch.linalg.eigvalsh(curvature.dense())
    exact, size = curvature.solve(curvature.gradient), float(curvature.gradient.norm())
    scale = 1.1 * float(values[-1])
    for depth in (5, 20, 80):
        found = neumann(curvature, curvature.gradient, Series(depth=depth, scale=scale))
        bound = (1 - float(values[0]) / scale) ** (depth + 1) * size / float(values[0])
        assert (found.x - exact).norm() <= bound * (1 + 1e-9) + 1e-13
    by_itself = neumann(curvature, curvature.gradient, Series(depth=400))
    assert by_itself.converged
    assert (by_itself.x - exact).norm() <= 1e-6 * exact.norm()


def test_the_stochastic_series_comes_near_the_exact_solution() -> None:
    curvature = _curvature(damping=1.0)
    exact = curvature.solve(curvature.gradient)
    found = neumann(curvature, curvature.gradient, Series(depth=40, repetitions=20, batch=20))
    assert (found.x - exact).norm() <= 0.05 * exact.norm()


def test_too_small_a_scale_is_refused() -> None:
    curvature = _curvature(damping=0.5)
    top = float(torch.linalg.eigvalsh(curvature.dense())[-1])
    with pytest.raises(ProgrammerError) as caught:
        neumann(curvature, curvature.gradient, Series(depth=1000, scale=0.45 * top))
    assert caught.value.code == "series-diverges"


def test_the_public_defaults_are_a_mistake() -> None:
    curvature = _curvature(damping=0.3)
    exact = curvature.solve(curvature.gradient)
    # One repetition of the ten: what is wrong is the cut, which a mean does not mend.
    found = neumann(curvature, curvature.gradient, replace(PUBLIC_DEFAULTS, repetitions=1))
    assert (found.x - exact).norm() >= 0.8 * exact.norm()
    assert not found.converged


def test_the_matrix_of_a_large_network_is_refused() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 2000), nn.Linear(2000, 3)).double()
    point = layout(module).flatten(dict(module.named_parameters())).detach()
    with pytest.raises(ProgrammerError) as caught:
        Curvature(module, point, *_data(), CrossEntropy()).dense()
    assert caught.value.code == "too-large"
