"""Confidence intervals at 95 %: shares, means, areas under the ROC curve."""

from dataclasses import dataclass

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

    @staticmethod
    def exactly(value: float) -> "Estimate":
        """A figure without sampling error, such as a count of steps."""
        return Estimate(value, value, value)


UNMEASURED = Estimate(None)


def share(hits: Bool[np.ndarray, " n"], scale: float = 1.0) -> Estimate:
    """Share of true entries, times `scale`, with the Clopper-Pearson interval (exact, never too short)."""
    from scipy.stats import binomtest

    if not len(hits):
        return UNMEASURED
    test = binomtest(int(hits.sum()), len(hits)).proportion_ci(CONFIDENCE, "exact")
    return Estimate(scale * float(hits.mean()), scale * float(test.low), scale * float(test.high))


def mean(values: Float[np.ndarray, " n"]) -> Estimate:
    """Mean with Student's t interval; a single value has no interval, and a value that is not finite no mean."""
    from scipy.stats import t

    if not len(values) or not np.isfinite(values).all():
        return UNMEASURED
    middle = float(values.mean())
    if len(values) < 2:
        return Estimate(middle)
    half = float(t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Estimate(middle, middle - half, middle + half)


def auc(members: Float[np.ndarray, " m"], others: Float[np.ndarray, " n"]) -> Estimate:
    """Probability that a member scores above another record, ties half: the area under the ROC curve.

    Interval: DeLong et al. 1988 on the logit scale, which stays in [0, 1]; where one side is perfectly above the other
    the variance is 0, and the interval is Clopper-Pearson's with the smaller group's size, which is not too short.

    **Raises:** `OperatorError("bad-data")` when either side is empty.
    """
    from scipy.stats import binomtest, norm, rankdata

    if not len(members) or not len(others):
        raise OperatorError("bad-data", "an area under the ROC curve needs members and others, and one side is empty")
    if not (np.isfinite(members).all() and np.isfinite(others).all()):
        return UNMEASURED
    m, n = len(members), len(others)
    ranks = rankdata(np.concatenate([members, others]))
    above = (ranks[:m] - rankdata(members)) / n
    below = 1 - (ranks[m:] - rankdata(others)) / m
    value = float(above.mean())
    variance = (above.var(ddof=1) / m if m > 1 else 0.25) + (below.var(ddof=1) / n if n > 1 else 0.25)
    if variance == 0 or value in (0.0, 1.0):
        exact = binomtest(round(value * min(m, n)), min(m, n)).proportion_ci(CONFIDENCE, "exact")
        return Estimate(value, float(exact.low), float(exact.high))
    logit = np.log(value / (1 - value))
    half = norm.ppf(0.5 + CONFIDENCE / 2) * np.sqrt(variance) / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(logit - half))), 1 / (1 + np.exp(-(logit + half)))
    return Estimate(value, float(low), float(high))


def roc(members: Float[np.ndarray, " m"], others: Float[np.ndarray, " n"]) -> list[tuple[float, float]]:
    """Points (false positive rate, true positive rate) of the ROC curve, from (0, 0) to (1, 1)."""
    from sklearn.metrics import roc_curve

    labels = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    false, true, _ = roc_curve(labels, np.concatenate([members, others]))
    return [(float(x), float(y)) for x, y in zip(false, true, strict=True)]


def detection_rate(
    members: Float[np.ndarray, " m"], others: Float[np.ndarray, " n"], false_positives: float
) -> Estimate:
    """Share of members found at the threshold that at most a share `false_positives` of the others passes."""
    allowed = int(np.floor(false_positives * len(others)))
    threshold = np.sort(others)[::-1][allowed] if allowed < len(others) else -np.inf
    return share(members > threshold)
