"""LiRA: the likelihood-ratio membership test (Carlini et al., S&P 2022), asked of the unlearned model (U-LiRA)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from expunge.auditing.audit import Curve, Findings, Subject, reading
from expunge.auditing.intervals import UNMEASURED, auc, detection_rate, roc
from expunge.auditing.outputs import logit_confidence
from expunge.auditing.shadows import shadows


@dataclass(frozen=True)
class LiRA:
    """For each target, how much likelier its confidence is under models trained with it than without it.

    Asked of the model before, after and of the references, on the same targets: after exact deletion the forgotten
    records must look like test records to all but the first (Hayes et al. 2024 call this U-LiRA).

    **Arguments:**

    - `count`: shadow models, an even number; half of them contain each target.
    - `form`: `"online"` (both likelihoods, Gaussian, equation 2) or `"offline"` (one-sided test against models without
      the target, equation 4).
    - `pooled`: one variance for all targets; Carlini et al. advise it below 64 shadow models.
    - `most_others`: test records asked about beside the forgotten ones.
    """

    count: int = 64
    form: Literal["online", "offline"] = "online"
    pooled: bool = True
    most_others: int = 300

    def run(self, subject: Subject) -> Findings:
        """AUC and detection rates at 1 % and 5 % false positives, and the ROC curves."""
        found = shadows(subject, self.count, self.most_others)
        observed = found.confidences
        scores = [
            self.score(logit_confidence(model, found.targets), observed, found.included) for model in subject.models
        ]
        sides = [(values[: found.members], values[found.members :]) for values in scores]
        finite = [bool(np.isfinite(values).all()) for values in scores]
        estimates = {
            "LiRA AUC": [auc(*side) for side in sides],
            "LiRA detection at 1 % FPR": [
                detection_rate(*s, 0.01) if ok else UNMEASURED for s, ok in zip(sides, finite, strict=True)
            ],
            "LiRA detection at 5 % FPR": [
                detection_rate(*s, 0.05) if ok else UNMEASURED for s, ok in zip(sides, finite, strict=True)
            ],
        }
        curves = (Curve("LiRA", roc(*sides[0]), roc(*sides[1]), roc(*sides[2])),) if all(finite[:3]) else ()
        return Findings(tuple(reading(name, "share", values) for name, values in estimates.items()), curves)

    def score(
        self,
        asked: Float[np.ndarray, " targets"],
        observed: Float[np.ndarray, "shadows targets"],
        included: Bool[np.ndarray, "shadows targets"],
    ) -> Float[np.ndarray, " targets"]:
        """The membership score of each target: log-likelihood ratio, or the one-sided standard score."""
        inside, outside = (_moments(observed, mask, self.pooled) for mask in (included, ~included))
        if self.form == "offline":
            return np.asarray((asked - outside[0]) / outside[1])
        return np.asarray(_log_normal(asked, *inside) - _log_normal(asked, *outside))


def _moments(
    observed: Float[np.ndarray, "shadows targets"], mask: Bool[np.ndarray, "shadows targets"], pooled: bool
) -> tuple[Float[np.ndarray, " targets"], Float[np.ndarray, " targets"]]:
    """Mean and standard deviation of each target's confidence over the shadow models in the mask."""
    values = np.ma.masked_array(observed, ~mask)
    middle = values.mean(axis=0).filled(np.nan)
    spread = values.std(axis=0, ddof=1).filled(np.nan)
    if pooled:
        spread = np.full_like(spread, np.sqrt(np.mean(spread**2)))
    return middle, np.maximum(spread, 1e-6)


def _log_normal(x: np.ndarray, middle: np.ndarray, spread: np.ndarray) -> Float[np.ndarray, " targets"]:
    return np.asarray(-0.5 * ((x - middle) / spread) ** 2 - np.log(spread))
