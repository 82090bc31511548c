"""Epsilon and delta against independent implementations, brute force, and simulation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from expunge.errors import ExpungeError
from expunge.unlearning.accounting import (
    Budget,
    Constants,
    NoisyDescent,
    Privacy,
    classical_sigma,
    compose,
    delta_of,
    epsilon_of,
    epsilon_of_renyi,
    mu_of,
    paper_setting,
    sigma_for,
    theorem_bound,
)

POINTS = [(epsilon, delta) for epsilon in (0.1, 0.5, 1.0, 2.0, 5.0, 10.0) for delta in (1e-3, 1e-5, 1e-8)]


@pytest.mark.parametrize(("epsilon", "delta"), POINTS)
def test_sigma_is_that_of_dp_accounting(epsilon: float, delta: float) -> None:
    accounting = pytest.importorskip("dp_accounting")
    pld, loss = accounting.pld, accounting.pld.privacy_loss_mechanism
    sigma = sigma_for(1.0, epsilon, delta)
    theirs = pld.accountant.get_smallest_gaussian_noise(pld.common.DifferentialPrivacyParameters(epsilon, delta), 1)
    assert sigma == pytest.approx(theirs, rel=1e-5)
    assert loss.GaussianPrivacyLoss(sigma).get_delta_for_epsilon(epsilon) == pytest.approx(delta, rel=1e-6)


@pytest.mark.parametrize(("epsilon", "delta"), POINTS)
def test_the_three_functions_are_inverses(epsilon: float, delta: float) -> None:
    mu = mu_of(epsilon, delta)
    assert delta_of(epsilon, mu) == pytest.approx(delta, rel=1e-8)
    assert epsilon_of(mu, delta) == pytest.approx(epsilon, rel=1e-8)


def test_delta_is_the_integral_of_what_one_density_exceeds_the_other_by() -> None:
    mu, epsilon = 1.3, 0.8
    grid = np.linspace(-12, 14, 400_001)
    zero, moved = (np.exp(-((grid - at) ** 2) / 2) / math.sqrt(2 * math.pi) for at in (0.0, mu))
    naive = np.trapezoid(np.maximum(moved - math.exp(epsilon) * zero, 0), grid)
    assert delta_of(epsilon, mu) == pytest.approx(naive, rel=1e-6)


def test_published_values() -> None:
    assert sigma_for(1.0, 1.0, 1e-5) == pytest.approx(3.7306, abs=1e-4)
    assert classical_sigma(1.0, 1.0, 1e-5) == pytest.approx(4.845, abs=1e-3)
    assert epsilon_of(40 / 0.001, 1e-5) == pytest.approx(8.0e8, rel=0.01)
    with pytest.raises(ExpungeError):
        classical_sigma(1.0, 2.0, 1e-5)


def test_renyi_needs_its_order_and_is_never_tighter() -> None:
    for mu in (0.1, 0.27, 1.0, 4.0):
        exact, renyi = epsilon_of(mu, 1e-5), epsilon_of_renyi(mu, 1e-5)
        assert exact <= renyi <= 1.35 * exact + 0.01
    # A Renyi epsilon of 1 without its order: the true value that the specification works out.
    assert epsilon_of(math.sqrt(2), 1e-5) == pytest.approx(6.57, abs=0.02)


def test_renyi_agrees_with_dp_accounting() -> None:
    accounting = pytest.importorskip("dp_accounting")
    for sigma, count in ((1.0, 1), (5.0, 3), (20.0, 100)):
        accountant = accounting.rdp.RdpAccountant(np.linspace(1.01, 400, 4000))
        accountant.compose(accounting.GaussianDpEvent(sigma), count)
        theirs = accountant.get_epsilon(1e-5)
        assert epsilon_of_renyi(math.sqrt(count) / sigma, 1e-5) == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("decay", [0.0, 0.5, 3.0])
def test_no_other_way_to_absorb_the_shift_is_better(decay: float) -> None:
    descent = NoisyDescent(radius=1.0, gradient_bound=0.4, lr=0.1, decay=decay, steps=7)
    shrink = 1 - 0.1 * decay

    def left(absorbed: np.ndarray) -> float:
        distance = 2.0
        for part in absorbed:
            distance = shrink * distance + 2 * 0.1 * 0.4 - part
        return distance

    best = minimize(
        lambda a: float(a @ a),
        np.full(7, 0.5),
        constraints=[{"type": "eq", "fun": left}],
        bounds=[(0, None)] * 7,
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    assert descent.mu(1.0) == pytest.approx(math.sqrt(best.fun), rel=1e-5)
    assert descent.mu(descent.sigma_for(1.0, 1e-5)) == pytest.approx(mu_of(1.0, 1e-5), rel=1e-9)


def test_simulated_worst_cases_stay_inside_the_certificate() -> None:
    """Gradients that push the two runs apart: the most that clipping allows. Linear, so the truth is Gaussian."""
    descent = NoisyDescent(radius=1.0, gradient_bound=0.4, lr=0.1, decay=1.0, steps=20)
    ends = {}
    generator = np.random.default_rng(0)
    for side in (1.0, -1.0):
        at = np.full(200_000, side)
        for _ in range(20):
            at = at - 0.1 * (-side * 0.4 + at) + generator.normal(size=len(at))
        ends[side] = at
    measured = (ends[1.0].mean() - ends[-1.0].mean()) / ends[1.0].std()
    assert measured == pytest.approx(descent.mu(1.0), rel=0.02)


def test_a_budget_is_spent_and_never_overdrawn() -> None:
    privacy = Privacy(1.0, 1e-5, requests=10)
    budget = Budget(privacy)
    for _ in range(10):
        budget = budget.charge(privacy.share)
    assert budget.spent == pytest.approx(1.0, rel=1e-6)
    assert budget.left == pytest.approx(0.0, abs=1e-6)
    assert compose([privacy.share] * 10) == pytest.approx(privacy.mu)
    with pytest.raises(ExpungeError) as caught:
        budget.charge(privacy.share)
    assert caught.value.code == "budget-spent"


def test_many_releases_of_epsilon_zero_are_not_of_epsilon_zero() -> None:
    small, budget = Privacy(1e-9, 1e-5, requests=10).share, Budget(Privacy(1e-4, 1e-5))
    assert epsilon_of(small, 1e-5) == 0
    for made in range(1, 21):
        budget = budget.charge(small)
        assert epsilon_of(compose([small] * made), 1e-5) <= budget.spent
    assert budget.spent > 1e-6


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_an_epsilon_that_says_nothing_is_refused(epsilon: float) -> None:
    with pytest.raises(ExpungeError, match="finite epsilon"):
        Privacy(epsilon)


def test_the_theorem_is_vacuous_unless_strongly_convex() -> None:
    generator = np.random.default_rng(1)
    for _ in range(200):
        radius, damping, lipschitz, least = (float(10**value) for value in generator.uniform(-3, 3, 4))
        bound = theorem_bound(Constants(radius, damping, lipschitz, least))
        assert bound.is_vacuous == (least <= lipschitz * radius)
    assert theorem_bound(Constants(1.0, 0.1, 1.0, -0.2)).delta_w == math.inf


def test_a_bound_from_an_estimate_is_no_certificate() -> None:
    known = Constants(1.0, 0.5, 0.1, 0.5)
    assert theorem_bound(known).certified
    for failure in (0.0, 0.1):
        bound = theorem_bound(replace(known, estimated=("hessian_lipschitz",)), parameters=9, failure=failure)
        assert bound.estimated == ("hessian_lipschitz",)
        assert not bound.certified


def test_the_papers_own_setting() -> None:
    rows = {row["setting"]: row for row in paper_setting()}
    small = rows["theorem, damping 0.01"]
    assert small["distance"] == pytest.approx(3.1e5, rel=0.02)
    assert small["epsilon_bought"] == pytest.approx(4.7e16, rel=0.03)
    assert small["delta_in_all"] == pytest.approx(0.1, abs=1e-4)
    assert rows["theorem, damping 1000"]["sigma_for_epsilon_1"] == pytest.approx(170, rel=0.01)
    assert rows["no step, sensitivity 2C"]["epsilon_bought"] == pytest.approx(8.0e8, rel=0.01)
    assert rows["no step, sensitivity 2C"]["sigma_for_epsilon_1"] == pytest.approx(149.2, rel=0.01)
