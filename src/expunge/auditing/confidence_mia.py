"""The confidence membership test that the unlearning literature prints (MIA-Efficacy)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from expunge.auditing.audit import Description, Findings, Subject, needs_classes
from expunge.auditing.intervals import UNMEASURED, Estimate, share
from expunge.auditing.reading import reading
from expunge.randomness import numpy_generator


@dataclass(frozen=True)
class ConfidenceMIA:
    """MIA-Efficacy = TN / |D_f| in points of 100: the share of D_f that the attack calls non-members.

    Feature: softmax probability of the true class. Attack: support-vector classifier with an RBF kernel, C = 3, gamma =
    1 / number of features = 1, fitted on retained records (members) against test records (Jia et al., NeurIPS 2023).
    As many of the one as of the other, drawn by seed: their public code takes the first retained records in stored
    order. One global threshold: a weak test, printed because the literature prints it. Read its power.

    **Arguments:** `most`: records of each side that the classifier is fitted on; its time grows with the square.
    """

    most: int = 2000

    def describe(self) -> Description:
        """The audit in words."""
        return Description(
            "ConfidenceMIA",
            "What share of the forgotten records does one threshold on confidence call non-members?",
            "MIA-Efficacy of Jia et al., NeurIPS 2023",
            "Records that are remembered but hard, or forgotten but easy: one threshold serves all.",
        )

    def run(self, subject: Subject) -> Findings:
        """One reading, with the Clopper-Pearson interval over the forgotten records."""
        if not subject.retained.classes:
            return needs_classes("confidence test")
        count = min(len(subject.retained), len(subject.fair_test), self.most)
        members = _draw(len(subject.retained), count, subject.seed, "members")
        others = _draw(len(subject.fair_test), count, subject.seed, "others")
        owns = [[each.own for each in subject.outputs(part)] for part in ("retained", "test", "forgotten")]
        estimates = [_efficacy(kept[members], held[others], asked) for kept, held, asked in zip(*owns, strict=True)]
        return Findings((reading("MIA-Efficacy", "points", estimates),))


def _efficacy(members: np.ndarray, others: np.ndarray, asked: np.ndarray) -> Estimate:
    if not all(np.isfinite(values).all() for values in (members, others, asked)):
        return UNMEASURED
    return share(~called_members(members, others, asked), 100.0)


def called_members(
    members: Float[np.ndarray, " n"], others: Float[np.ndarray, " n"], asked: Float[np.ndarray, " m"]
) -> Bool[np.ndarray, " m"]:
    """Which of `asked` a classifier fitted on members against others calls members."""
    from sklearn.svm import SVC

    labels = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(np.concatenate([members, others])[:, None], labels)
    return np.asarray(attack.predict(asked[:, None]) == 1)


def _draw(total: int, count: int, seed: int, side: str) -> Int[np.ndarray, " count"]:
    return np.sort(numpy_generator(seed, f"audit/confidence/{side}").choice(total, count, replace=False))
