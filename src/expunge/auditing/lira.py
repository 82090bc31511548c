"""LiRA: the likelihood-ratio membership test (Carlini et al., S&P 2022), asked of the unlearned model."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from expunge.auditing.audit import Description, Findings, Subject
from expunge.auditing.membership import findings
from expunge.auditing.shadows import shadows
from expunge.errors import ProgrammerError


@dataclass(frozen=True)
class LiRA:
    """For each target, how much likelier its confidence is under models trained with it than without it.

    Asked of the model before, after and of the references, on the same targets: after exact deletion the forgotten
    records must look like test records to all but the first. Shadow models are not unlearned: `ULiRA` does that.

    **Arguments:**

    - `count`: shadow models, an even number; half of them contain each target.
    - `form`: `"online"` (both likelihoods, Gaussian, equation 2) or `"offline"` (one-sided test against models without
      the target, equation 4).
    - `pooled`: one variance for all targets; Carlini et al. advise it below 64 shadow models.
    - `most_others`: test records asked about beside the forgotten ones; never more than a quarter of the records
      beside which they are trained, so that shadow models stay like the real one.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for fewer than 4 shadow models or an odd number.
    """

    count: int = 64
    form: Literal["online", "offline"] = "online"
    pooled: bool = True
    most_others: int = 400

    def __post_init__(self) -> None:
        check_count(self.count)
        if self.form not in ("online", "offline"):
            raise ProgrammerError("bad-hyperparameter", f"form is online or offline, not {str(self.form)[:20]!r}")

    def describe(self) -> Description:
        """The audit in words."""
        return Description(
            "LiRA",
            "Does the model treat the forgotten records as models do that were trained with them?",
            "Carlini et al., S&P 2022, equations 2 and 4; for unlearning, Hayes et al. 2024",
            "Traces that the confidence in the true class does not show, and deletions of a few records.",
        )

    def run(self, subject: Subject) -> Findings:
        """AUC and detection rates at 1 % and 5 % false positives, and the ROC curves."""
        name = "LiRA" if self.form == "online" else "LiRA offline"
        found = shadows(subject, self.count, self.most_others)
        if isinstance(found, str):
            return Findings((), degraded=(f"{name}: not measured, for {found}",))
        scores = []
        for model in subject.models:
            asked, beside = found.beside(model)
            observed = np.stack([each.confidence for each in beside])
            scores.append(self.score(asked.confidence, observed, found.included))
        return findings(name, scores, found.members)

    def score(
        self,
        asked: Float[np.ndarray, " targets"],
        observed: Float[np.ndarray, "shadows targets"],
        included: Bool[np.ndarray, "shadows targets"],
    ) -> Float[np.ndarray, " targets"]:
        """The membership score of each target: log-likelihood ratio, or the one-sided standard score.

        **Arguments:** `asked`: confidence of the audited model; `observed`: of each shadow model.
        """
        if self.form == "online":
            return likelihood_ratio(asked, observed, included, pooled=self.pooled)
        middle, spread = moments(observed, ~included, pooled=self.pooled)
        return np.asarray((asked - middle) / spread)


def likelihood_ratio(
    asked: Float[np.ndarray, " targets"],
    observed: Float[np.ndarray, "shadows targets"],
    included: Bool[np.ndarray, "shadows targets"],
    *,
    pooled: bool,
) -> Float[np.ndarray, " targets"]:
    """log N(asked; shadow models with the target) - log N(asked; those without), for each target."""
    inside, outside = (moments(observed, mask, pooled=pooled) for mask in (included, ~included))
    return np.asarray(log_normal(asked, *inside) - log_normal(asked, *outside))


def moments(
    observed: Float[np.ndarray, "shadows targets"], mask: Bool[np.ndarray, "shadows targets"], *, pooled: bool
) -> tuple[Float[np.ndarray, " targets"], Float[np.ndarray, " targets"]]:
    """Mean and standard deviation of each target's confidence over the shadow models in the mask."""
    values = np.ma.masked_array(observed, ~mask)
    middle = np.asarray(values.mean(axis=0).filled(np.nan))
    spread = np.asarray(values.std(axis=0, ddof=1).filled(np.nan))
    if pooled:
        spread = np.full_like(spread, np.sqrt(np.mean(spread**2)))
    return middle, np.maximum(spread, SMALLEST_SPREAD)


def log_normal(
    x: Float[np.ndarray, " targets"], middle: Float[np.ndarray, " targets"], spread: Float[np.ndarray, " targets"]
) -> Float[np.ndarray, " targets"]:
    """Logarithm of the normal density, less the constant that cancels in a ratio."""
    return np.asarray(-0.5 * ((x - middle) / spread) ** 2 - np.log(spread))


def check_count(count: int) -> None:
    """Refuse a number of shadow models that cannot be split in halves with a spread each.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """
    if count < 4 or count % 2:
        raise ProgrammerError("bad-hyperparameter", f"shadow models must be an even number from 4 on, not {count}")


SMALLEST_SPREAD = 1e-6
"""Shadow models that all say the same still leave a density."""
