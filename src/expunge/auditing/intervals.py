"""Estimates with 95 % intervals: shares, means, areas under the ROC curve, detection rates, and the next retraining."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float

from expunge.errors import OperatorError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; `None` where it could not be measured, `low == high` where nothing is random."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends, or `None`."""
        return None if self.low is None or self.high is None else (self.low, self.high)


UNMEASURED = Estimate(None)


def share(hits: Bool[np.ndarray, " n"], scale: float = 1.0) -> Estimate:
    """Share of true entries, times `scale`, with the Clopper-Pearson interval (exact, never too short)."""
    if not len(hits):
        return UNMEASURED
    low, high = _exact(int(hits.sum()), len(hits), CONFIDENCE)
    return Estimate(scale * float(hits.mean()), scale * low, scale * high)


def mean(values: Float[np.ndarray, " n"]) -> Estimate:
    """Mean with Student's t interval; a single value has no interval, and a value that is not finite no mean.

    The interval is exact for normal values; for a few very skewed losses it covers about 90 %. Where no value is
    negative, it does not reach below 0.
    """
    if not len(values) or not np.isfinite(values).all():
        return UNMEASURED
    middle = float(values.mean())
    if len(values) < 2:
        return Estimate(middle)
    half = _student(len(values) - 1) * float(values.std(ddof=1)) / len(values) ** 0.5
    low = middle - half
    return Estimate(middle, max(low, 0.0) if values.min() >= 0 else low, middle + half)


def auc(members: Float[np.ndarray, " m"], others: Float[np.ndarray, " n"]) -> Estimate:
    """Probability that a member scores above another record, ties half: the area under the ROC curve.

    Interval: DeLong et al. 1988 on the logit scale, which stays in [0, 1]. DeLong's variance is too small for a dozen
    members; it counts no less than AUC (1 - AUC) / (3 min(m, n)): the variance of ranks without signal, carried to
    other areas. A perfect order has the Clopper-Pearson interval of min(m, n) disjoint pairs. Coverage: 94 %
    and more, by simulation, from three members on. A value that is not a number gives no estimate.

    **Raises:** `OperatorError("bad-data")` when either side is empty: one class alone has no curve.
    """
    from scipy.special import expit, logit, ndtri

    _check_sides(members, others)
    if np.isnan(members).any() or np.isnan(others).any():
        return UNMEASURED
    pairs = min(len(members), len(others))
    above, below = _placements(members, others)
    value = float(above.mean())
    if value in (0.0, 1.0):
        return Estimate(value, *_exact(round(value * pairs), pairs, CONFIDENCE))
    variance = max(_variance_of_mean(above) + _variance_of_mean(below), value * (1 - value) / (3 * pairs))
    half = ndtri(0.5 + CONFIDENCE / 2) * np.sqrt(variance) / (value * (1 - value))
    return Estimate(value, float(expit(logit(value) - half)), float(expit(logit(value) + half)))


def roc(members: Float[np.ndarray, " m"], others: Float[np.ndarray, " n"]) -> list[tuple[float, float]]:
    """Corners (false positive rate, true positive rate) of the ROC curve, from (0, 0) to (1, 1).

    **Raises:** `OperatorError("bad-data")` when either side is empty.
    """
    from sklearn.metrics import roc_curve

    _check_sides(members, others)
    labels = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    false, true, _ = roc_curve(labels, np.concatenate([members, others]))
    return [(float(x), float(y)) for x, y in zip(false, true, strict=True)]


def detection_rate(
    members: Float[np.ndarray, " m"], others: Float[np.ndarray, " n"], false_positives: float
) -> Estimate:
    """Share of members above the threshold that at most a share `false_positives` of the others exceeds.

    Interval: the true threshold lies between two order statistics of the others (exact binomial bounds), and each end
    is the Clopper-Pearson end of the share above it; both parts at 97.5 %, together at least 95 %. With fewer than 437
    others, no threshold is known to have 1 % false positives, and the lower end is 0.

    **Raises:** `OperatorError("bad-data")` when either side is empty.
    """
    _check_sides(members, others)
    if np.isnan(members).any() or np.isnan(others).any():
        return UNMEASURED
    part = (1 + CONFIDENCE) / 2
    falling = np.concatenate([[np.inf], np.sort(others)[::-1], [-np.inf]])
    few, many = _binomial(len(others), false_positives, part)
    found = int((members > falling[int(np.floor(false_positives * len(others))) + 1]).sum())
    low, _ = _exact(int((members > falling[few]).sum()), len(members), part)
    _, high = _exact(int((members > falling[min(many + 1, len(others) + 1)]).sum()), len(members), part)
    return Estimate(found / len(members), min(low, found / len(members)), max(high, found / len(members)))


def next_value(values: Sequence[float], stretch: float = 1.0) -> tuple[float, float] | None:
    """Where one more draw of the same normal distribution falls with 95 %: mean ± t s sqrt(1 + 1/k) (Student).

    `None` for fewer than two values. **Arguments:** `stretch`: multiplies s, for values known to spread too little.
    """
    if len(values) < 2:
        return None
    middle, spread = float(np.mean(values)), stretch * float(np.std(values, ddof=1))
    half = _student(len(values) - 1) * spread * (1 + 1 / len(values)) ** 0.5
    return middle - half, middle + half


def _placements(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each member the share of others below it, for each other the share of members above it; ties half."""
    from scipy.stats import rankdata

    m, n = len(members), len(others)
    ranks = rankdata(np.concatenate([members, others]))
    return (ranks[:m] - rankdata(members)) / n, 1 - (ranks[m:] - rankdata(others)) / m


def _variance_of_mean(values: np.ndarray) -> float:
    """Of a single value the largest that values in [0, 1] can have."""
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.25


@cache
def _exact(hits: int, count: int, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson 1934, by quantiles of the beta distribution."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    return low, high


@cache
def _student(degrees: int) -> float:
    """Two-sided quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + CONFIDENCE / 2))


@cache
def _binomial(count: int, rate: float, confidence: float) -> tuple[int, int]:
    """Both quantiles of the number of hits."""
    from scipy.stats import binom

    return int(binom.ppf((1 - confidence) / 2, count, rate)), int(binom.ppf((1 + confidence) / 2, count, rate))


def _check_sides(members: np.ndarray, others: np.ndarray) -> None:
    if not len(members) or not len(others):
        raise OperatorError("bad-data", "an area under the ROC curve needs members and others, and one side is empty")
