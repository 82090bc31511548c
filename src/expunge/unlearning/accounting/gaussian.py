"""The Gaussian mechanism, exactly (Balle and Wang, ICML 2018, theorem 8).

`mu` is distance over noise: two Gaussians N(0, sigma^2 I) and N(v, sigma^2 I) with |v| = mu sigma. All that follows is
a function of mu; composing releases adds the squares (Dong, Roth and Su 2022, corollary 3.3).
"""

import math
from collections.abc import Iterable

from expunge.errors import ProgrammerError


def delta_of(epsilon: float, mu: float) -> float:
    """The smallest delta at `epsilon`: Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu).

    **Raises:** `ProgrammerError("bad-hyperparameter")` for negative arguments.
    """
    from scipy.special import erfcx, ndtr

    if epsilon < 0 or mu < 0 or math.isnan(epsilon + mu):
        raise ProgrammerError("bad-hyperparameter", f"epsilon and mu must not be negative: {epsilon}, {mu}")
    if mu == 0:
        return 0.0
    near, far = mu / 2 - epsilon / mu, mu / 2 + epsilon / mu
    # e^eps phi(far) = phi(near): the product of a huge and a tiny number becomes one of moderate ones.
    tail = 0.5 * float(erfcx(far / math.sqrt(2))) * math.exp(-near * near / 2)
    return max(float(ndtr(near)) - tail, 0.0)


def epsilon_of(mu: float, delta: float) -> float:
    """The smallest epsilon at `delta`; the inverse of `delta_of` in its first argument.

    **Raises:** `ProgrammerError("bad-hyperparameter")` unless 0 < delta < 1.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    _check(delta)
    if delta_of(0.0, mu) <= delta:
        return 0.0
    # Without its second term delta is Phi(mu/2 - eps/mu), so that this epsilon is enough.
    enough = mu * mu / 2 - mu * float(ndtri(delta))
    return float(brentq(lambda epsilon: delta_of(epsilon, mu) - delta, 0.0, enough * (1 + 1e-12), xtol=1e-12))


def mu_of(epsilon: float, delta: float) -> float:
    """The largest mu that is (epsilon, delta).

    **Raises:** `ProgrammerError("bad-hyperparameter")` unless 0 < delta < 1 and epsilon >= 0.
    """
    from scipy.optimize import brentq

    _check(delta)
    low = high = 1.0
    while delta_of(epsilon, high) <= delta:
        high *= 2
    while delta_of(epsilon, low) > delta:
        low /= 2
    return float(brentq(lambda mu: delta_of(epsilon, mu) - delta, low, high, xtol=1e-15, rtol=1e-13))


def sigma_for(sensitivity: float, epsilon: float, delta: float) -> float:
    """Standard deviation of the noise on each coordinate that makes `sensitivity` (epsilon, delta).

    3.7306 times the sensitivity at (1, 1e-5). **Raises:** as `mu_of`.
    """
    return sensitivity / mu_of(epsilon, delta)


def classical_sigma(sensitivity: float, epsilon: float, delta: float) -> float:
    """The textbook's sensitivity sqrt(2 ln(1.25/delta)) / epsilon: for comparison only.

    **Raises:** `ProgrammerError("bad-hyperparameter")` above epsilon 1, where its proof ends and its figure is too low.
    """
    _check(delta)
    if not 0 < epsilon <= 1:
        raise ProgrammerError("bad-hyperparameter", f"the classical formula holds for 0 < epsilon <= 1, not {epsilon}")
    return sensitivity * math.sqrt(2 * math.log(1.25 / delta)) / epsilon


def compose(mus: Iterable[float]) -> float:
    """The mu of several releases together: the root of the sum of squares, exact for Gaussians."""
    return math.sqrt(sum(mu * mu for mu in mus))


def _check(delta: float) -> None:
    if not 0 < delta < 1:
        raise ProgrammerError("bad-hyperparameter", f"delta must lie in (0, 1), not {delta}")
