"""The confidence membership test that the unlearning literature prints (MIA-Efficacy)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from expunge.auditing.audit import Findings, Subject, reading
from expunge.auditing.intervals import UNMEASURED, Estimate, share
from expunge.auditing.outputs import probabilities, true_class
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.training import Model


@dataclass(frozen=True)
class ConfidenceMIA:
    """MIA-Efficacy = TN / |D_f| in points of 100: the share of D_f that the attack calls non-members.

    Feature: softmax probability of the true class. Attack: support-vector classifier with an RBF kernel, C = 3, gamma =
    1 / number of features = 1, fitted on retained records (members) against test records, of equal number, drawn by
    seed (the public code of Jia et al. takes the first in stored order). One global threshold: a weak test, printed
    because the literature prints it. Read its power.

    **Arguments:** `most`: records of each side that the classifier is fitted on; its time grows with the square.
    """

    most: int = 2000

    def run(self, subject: Subject) -> Findings:
        """One reading."""
        estimates = [self._efficacy(model, subject) for model in subject.models]
        return Findings((reading("MIA-Efficacy", "points", estimates),))

    def _efficacy(self, model: Model, subject: Subject) -> Estimate:
        count = min(len(subject.retained), len(subject.test), self.most)
        sides = [self._draw(part, count, subject.seed) for part in (subject.retained, subject.test)]
        members, others, asked = (_confidence(model, records) for records in (*sides, subject.forgotten))
        if not all(np.isfinite(values).all() for values in (members, others, asked)):
            return UNMEASURED
        return share(~called_members(members, others, asked), 100.0)

    def _draw(self, records: Records, count: int, seed: int) -> Records:
        rows = numpy_generator(seed, "audit/confidence").choice(len(records), count, replace=False)
        return records.select(np.sort(rows).tolist())


def called_members(
    members: Float[np.ndarray, " n"], others: Float[np.ndarray, " n"], asked: Float[np.ndarray, " m"]
) -> np.ndarray:
    """Which of `asked` a classifier fitted on members against others calls members."""
    from sklearn.svm import SVC

    labels = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(np.concatenate([members, others])[:, None], labels)
    return np.asarray(attack.predict(asked[:, None]) == 1)


def _confidence(model: Model, records: Records) -> Float[np.ndarray, " records"]:
    return true_class(probabilities(model, records), records)
