"""RMIA: the robust membership test by pairwise likelihood ratios (Zarifzadeh, Liu, Shokri, ICML 2024), offline form."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from expunge.auditing.audit import Findings, Subject, reading
from expunge.auditing.intervals import auc
from expunge.auditing.outputs import probabilities, true_class
from expunge.auditing.shadows import Shadows, shadows
from expunge.training import Model


@dataclass(frozen=True)
class RMIA:
    """Share of population records z that x dominates: P(x)/P0(x) >= gamma P(z)/P0(z) (equations 2 to 4).

    P is the model's probability of the true class, P0 its mean over models that never saw the record. Offline, P0(x) is
    estimated from shadow models without x by ((1 + a) mean + (1 - a)) / 2 (their appendix B.2.2).

    **Arguments:** `count`, `most_others`: as in `LiRA`, whose shadow models are shared; `gamma`, `a`: as above.
    """

    count: int = 64
    gamma: float = 1.0
    a: float = 0.3
    most_others: int = 300

    def run(self, subject: Subject) -> Findings:
        """One reading."""
        found = shadows(subject, self.count, self.most_others)
        scores = [self._scores(model, found) for model in subject.models]
        estimates = [auc(values[: found.members], values[found.members :]) for values in scores]
        return Findings((reading("RMIA AUC", "share", estimates),))

    def _scores(self, model: Model, found: Shadows) -> Float[np.ndarray, " targets"]:
        without = np.ma.masked_array(found.on_targets, found.included).mean(axis=0).filled(np.nan)
        others = found.on_population.mean(axis=0)
        asked = true_class(probabilities(model, found.targets), found.targets) / self._offline(without)
        population = true_class(probabilities(model, found.population), found.population) / self._offline(others)
        return dominated(asked, population, self.gamma)

    def _offline(self, mean: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return ((1 + self.a) * mean + (1 - self.a)) / 2


def dominated(
    asked: Float[np.ndarray, " targets"], population: Float[np.ndarray, " population"], gamma: float
) -> Float[np.ndarray, " targets"]:
    """For each ratio in `asked`, the share of `population` that it is at least `gamma` times as large as."""
    return np.asarray(np.searchsorted(np.sort(population), asked / gamma, side="right") / len(population))
