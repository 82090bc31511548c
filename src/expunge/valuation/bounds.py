"""The paper's bounds on the error: they hold at any sample size, for any utility within the stated range.

Xia et al., PVLDB 16(11), 2023; both are Hoeffding's inequality. They are wider than the intervals of `Values`, which
lean on the observed variance and the central limit theorem. Each holds for one owner; divide `failure` by the number
of owners for all at once.
"""

from math import log, sqrt

from expunge.errors import ProgrammerError


def permutation_bound(reach: float, permutations: int, failure: float) -> float:
    """Half-width that permutation sampling exceeds with probability at most `failure`: r sqrt(2 ln(2/delta) / tau).

    **Arguments:**

    - `reach`: r, marginals lie in [-r, r]; `permutations`: tau; `failure`: delta.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """
    _check(reach, permutations, failure)
    return reach * sqrt(2 * log(2 / failure) / permutations)


def utility_bound(reach: float, fewest: int, failure: float) -> float:
    """The same for utility sampling: 2 sqrt(2 r^2 ln(2/delta) / tau_min).

    **Arguments:**

    - `reach`: r, utilities lie in [-r, r]; `fewest`: tau_min, samples in the owner's least filled stratum (the
      `fewest` of `Values`); `failure`: delta.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """
    _check(reach, fewest, failure)
    return 2 * sqrt(2 * reach**2 * log(2 / failure) / fewest)


def permutations_for(width: float, reach: float, failure: float) -> int:
    """Permutations after which `permutation_bound` is at most `width`."""
    _check(reach, 1, failure)
    if width <= 0:
        raise ProgrammerError("bad-hyperparameter", f"width must be > 0: {width}")
    return max(1, -int(-2 * log(2 / failure) * (reach / width) ** 2 // 1))


def _check(reach: float, samples: int, failure: float) -> None:
    if reach < 0 or samples < 1 or not 0 < failure < 1:
        raise ProgrammerError("bad-hyperparameter", "reach >= 0, at least one sample, failure in (0, 1)")
