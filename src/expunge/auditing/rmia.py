"""RMIA: the robust membership test by pairwise likelihood ratios (Zarifzadeh, Liu, Shokri, ICML 2024), offline form."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from expunge.auditing.audit import Description, Findings, Subject, needs_classes
from expunge.auditing.lira import check_count
from expunge.auditing.membership import auc_reading, curves
from expunge.auditing.shadows import shadows
from expunge.errors import ProgrammerError


@dataclass(frozen=True)
class RMIA:
    """Share of population records z that x dominates: P(x) / P0(x) >= gamma P(z) / P0(z).

    P is the model's probability of the true class, P0 its mean over all models. Offline, P0 is estimated from models
    that never saw the record by ((1 + a) mean + 1 - a) / 2. The population is the test records among the targets; a
    test record is not compared with itself.

    **Arguments:** `count`, `most_others`: as in `LiRA`, whose shadow models are shared; `gamma`, `a`: as above.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    count: int = 64
    gamma: float = 1.0
    a: float = 0.3
    most_others: int = 400

    def __post_init__(self) -> None:
        check_count(self.count)
        if not self.gamma > 0 or not 0 <= self.a <= 1:
            raise ProgrammerError("bad-hyperparameter", f"gamma > 0 and a in [0, 1], not {self.gamma} and {self.a}")

    def describe(self) -> Description:
        """The audit in words."""
        return Description(
            "RMIA",
            "Do forgotten records gain more over models without them than test records do?",
            "Zarifzadeh, Liu and Shokri, ICML 2024, offline form",
            "Traces that the probability of the true class does not show, and deletions of a few records.",
        )

    def run(self, subject: Subject) -> Findings:
        """One reading and its ROC curves."""
        if not subject.retained.classes:
            return needs_classes("RMIA")
        found = shadows(subject, self.count, self.most_others)
        if isinstance(found, str):
            return Findings((), degraded=(f"RMIA: not measured, for {found}",))
        scores = []
        for model in subject.models:
            asked, beside = found.beside(model)
            observed = np.stack([each.own for each in beside])
            scores.append(self.score(asked.own, observed, found.included, found.members))
        return Findings((auc_reading("RMIA", scores, found.members),), curves("RMIA", scores, found.members))

    def score(
        self,
        asked: Float[np.ndarray, " targets"],
        observed: Float[np.ndarray, "shadows targets"],
        included: Bool[np.ndarray, "shadows targets"],
        members: int,
    ) -> Float[np.ndarray, " targets"]:
        """The membership score of each target: NaN throughout where the model's outputs are not numbers.

        **Arguments:** `asked`: probability of the true class under the audited model; `observed`: under each shadow
        model; the targets from `members` on are the population.
        """
        without = np.ma.masked_array(observed, included).mean(axis=0).filled(np.nan)
        ratios = asked / (((1 + self.a) * without + 1 - self.a) / 2)
        if np.isnan(ratios).any():
            return np.full_like(ratios, np.nan)
        raised = self.gamma * ratios
        beaten = np.searchsorted(np.sort(raised[members:]), ratios, side="right").astype(np.float64)
        itself = np.arange(len(ratios)) >= members
        beaten[itself] -= raised[itself] <= ratios[itself]
        return np.asarray(beaten / (itself.sum() - itself))
