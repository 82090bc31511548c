"""From membership scores to readings: what all tests that score single records report."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from expunge.auditing.audit import Findings
from expunge.auditing.intervals import auc, detection_rate, roc
from expunge.auditing.reading import Curve, Reading, reading

RATES = (0.01, 0.05)
"""Shares of false positives at which the share of members found is reported."""


def auc_reading(name: str, scores: Sequence[Float[np.ndarray, " targets"]], members: int) -> Reading:
    """The area under the ROC curve, forgotten records against test records, for each of the subject's models."""
    others = len(scores[0]) - members
    note = f"{members} forgotten records against {others} test records"
    estimates = [auc(values[:members], values[members:]) for values in scores]
    return reading(f"{name} AUC", "share", estimates, note, no_signal=0.5)


def findings(name: str, scores: Sequence[Float[np.ndarray, " targets"]], members: int) -> Findings:
    """AUC, detection rates, and the ROC curves of the model before, after and of the first reference.

    **Arguments:** `scores`: for each of the subject's models, larger for likelier members; the first `members` targets
    are the forgotten records.
    """
    sides = [(values[:members], values[members:]) for values in scores]
    rates = tuple(
        reading(
            f"{name} detection at {100 * rate:.0f} % FPR",
            "share",
            [detection_rate(*side, rate) for side in sides],
            _few(len(scores[0]) - members, rate),
            no_signal=rate,
        )
        for rate in RATES
    )
    return Findings((auc_reading(name, scores, members), *rates), curves(name, scores, members))


def curves(name: str, scores: Sequence[Float[np.ndarray, " targets"]], members: int) -> tuple[Curve, ...]:
    """ROC curves; none where a score is not a number."""
    if any(np.isnan(values).any() for values in scores[:3]):
        return ()
    return (Curve(name, *(roc(values[:members], values[members:]) for values in scores[:3])),)


def _few(others: int, rate: float) -> str:
    return f"{others} test records are too few to fix this rate" if others * rate < 1 else ""
