"""Accuracy on forgotten, retained and test records."""

from dataclasses import dataclass

from expunge.auditing.audit import Description, Findings, Subject, needs_classes
from expunge.auditing.intervals import UNMEASURED, Estimate, share
from expunge.auditing.outputs import Outputs
from expunge.auditing.reading import reading


@dataclass(frozen=True)
class Accuracy:
    """UA = 100 - accuracy on D_f, RA on D_r, TA on the test set, in points of 100 (Jia et al., NeurIPS 2023).

    UA is good when it equals retraining's, not when it is large. TA leaves out classes that are gone from training.
    """

    def describe(self) -> Description:
        """The audit in words."""
        return Description(
            "Accuracy",
            "Is the model after as often wrong on the forgotten records, and as often right elsewhere, as retraining?",
            "UA, RA, TA of Jia et al., NeurIPS 2023",
            "Anything but the likeliest class: UA can be met without unlearning, and by breaking the model.",
        )

    def run(self, subject: Subject) -> Findings:
        """Three readings, with Clopper-Pearson intervals."""
        if not subject.retained.classes:
            return needs_classes("accuracy")
        left_out = len(subject.test) - len(subject.fair_test)
        note = f"{left_out} test records of classes that no longer occur in training are left out" if left_out else ""
        return Findings(
            (
                reading("UA", "points", [_points(each, wrong=True) for each in subject.outputs("forgotten")]),
                reading("RA", "points", [_points(each) for each in subject.outputs("retained")]),
                reading("TA", "points", [_points(each) for each in subject.outputs("test")], note),
            )
        )


def _points(outputs: Outputs, *, wrong: bool = False) -> Estimate:
    return share(outputs.correct != wrong, 100.0) if outputs.finite else UNMEASURED
