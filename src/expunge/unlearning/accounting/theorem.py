"""The bound of Zhang et al., ICML 2024 (theorem 3.4, with residual and estimator terms), and what it is worth."""

import math
from dataclasses import dataclass
from typing import Any

from expunge.unlearning.accounting.gaussian import epsilon_of, sigma_for


@dataclass(frozen=True)
class Constants:
    """What the theorem needs to know. For a network, only `radius` and `damping` are ever known exactly.

    **Arguments:**

    - `radius`: C, of the ball that the weights were kept in.
    - `damping`: lambda.
    - `hessian_lipschitz`: M; `gradient_lipschitz`: L; both over the ball.
    - `least_eigenvalue`: of the Hessian on the retained records.
    - `residual`: G, gradient norm that training (of the model that nobody has) stops at.
    - `estimated`: which of these are estimates; then nothing that follows is certified.
    """

    radius: float
    damping: float
    hessian_lipschitz: float
    least_eigenvalue: float
    residual: float = 0.0
    gradient_lipschitz: float | None = None
    estimated: tuple[str, ...] = ()


@dataclass(frozen=True)
class TheoremBound:
    """Distance to the retrained optimum by the theorem, beside the 2C that any two models in the ball keep.

    `failure` is the estimator's probability rho, to be added to delta; `estimated`: constants that are estimates.
    """

    delta_w: float
    trivial: float
    failure: float = 0.0
    estimated: tuple[str, ...] = ()

    @property
    def certified(self) -> bool:
        """Whether a claim may rest on it: not where any constant is an estimate."""
        return not self.estimated

    @property
    def is_vacuous(self) -> bool:
        """Whether doing nothing has the better bound."""
        return self.delta_w >= self.trivial

    def epsilon(self, sigma: float, delta: float) -> float:
        """Epsilon that noise of `sigma` buys by the theorem, at a total delta of `delta + failure`."""
        return epsilon_of(self.delta_w / sigma, delta)

    def sigma(self, epsilon: float, delta: float) -> float:
        """The noise that the theorem asks for."""
        return sigma_for(self.delta_w, epsilon, delta)


def theorem_bound(
    constants: Constants, *, gradient: float | None = None, parameters: int = 0, failure: float = 0.0
) -> TheoremBound:
    """(2C(MC + lambda) + G) / (lambda + lambda_min), and with `failure` the estimator's term, of probability rho.

    The estimator's term is (16 sqrt(ln(d/rho)) / (lambda + lambda_min) + 1/16) times the gradient's norm: `gradient`
    where it was measured, the worst case 2LC + G where not. At lambda_min <= MC the bound is never below 2C.
    """
    c = constants
    margin = c.damping + c.least_eigenvalue
    if margin <= 0:
        return TheoremBound(math.inf, 2 * c.radius, failure, c.estimated)
    exact = (2 * c.radius * (c.hessian_lipschitz * c.radius + c.damping) + c.residual) / margin
    if not failure:
        return TheoremBound(exact, 2 * c.radius, estimated=c.estimated)
    worst = 2 * (c.gradient_lipschitz or 0.0) * c.radius + c.residual
    term = (16 * math.sqrt(math.log(parameters / failure)) / margin + 1 / 16) * (
        worst if gradient is None else gradient
    )
    return TheoremBound(exact + term, 2 * c.radius, failure, c.estimated)


def paper_setting(sigma: float = 0.001, delta: float = 1e-5, parameters: int = 26506) -> list[dict[str, Any]]:
    """The paper's own setting, C = 20 and lambda = 0.01, L = M = 1, lambda_min = 0, and larger dampings beside it.

    For each: the bound, the noise that epsilon 1 asks for, and the epsilon that `sigma` (the public code's 0.001)
    buys. The last line is the honest alternative: project to the ball and add noise for 2C, without any Newton step.
    """
    rows = []
    for damping in (0.01, 1.0, 1000.0):
        constants = Constants(20.0, damping, 1.0, 0.0, gradient_lipschitz=1.0)
        bound = theorem_bound(constants, parameters=parameters, failure=0.1)
        rows.append(setting_line(f"theorem, damping {damping:g}", bound, sigma, delta))
    rows.append(setting_line("no step, sensitivity 2C", TheoremBound(40.0, 40.0), sigma, delta))
    return rows


HONEST = (
    "An honest provider prints no epsilon here: the noise that epsilon 1 asks for destroys the network, and the Newton "
    "step buys nothing over no step at all. Train a certifiable model (fixed features, convex head) and certify the "
    "head, or train in shards and delete exactly, or retrain."
)
"""What to do instead of the paper's setting."""


def setting_line(name: str, bound: TheoremBound, sigma: float = 0.001, delta: float = 1e-5) -> dict[str, Any]:
    """The bound, the noise that epsilon 1 asks for, and the epsilon that noise of `sigma` buys, side by side."""
    return {
        "setting": name,
        "distance": bound.delta_w,
        "sigma_for_epsilon_1": bound.sigma(1.0, delta),
        "sigma_used": sigma,
        "epsilon_bought": bound.epsilon(sigma, delta),
        "delta_in_all": delta + bound.failure,
    }
