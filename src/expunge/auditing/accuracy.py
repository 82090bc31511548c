"""Accuracy on forgotten, retained and test records."""

from dataclasses import dataclass

import numpy as np

from expunge.auditing.audit import Findings, Subject, reading
from expunge.auditing.intervals import UNMEASURED, Estimate, share
from expunge.auditing.outputs import correct
from expunge.records import Records
from expunge.training import Model


@dataclass(frozen=True)
class Accuracy:
    """UA = 100 - accuracy on D_f, RA on D_r, TA on the test set, in points of 100 (Jia et al., NeurIPS 2023).

    UA is good when it equals retraining's, not when it is large: it can be met without unlearning.
    """

    def run(self, subject: Subject) -> Findings:
        """Three readings."""
        return Findings(
            (
                reading("UA", "points", [_points(m, subject.forgotten, wrong=True) for m in subject.models]),
                reading("RA", "points", [_points(m, subject.retained, wrong=False) for m in subject.models]),
                reading("TA", "points", [_points(m, subject.test, wrong=False) for m in subject.models]),
            )
        )


def _points(model: Model, records: Records, *, wrong: bool) -> Estimate:
    hits = correct(model, records)
    return UNMEASURED if hits is None else share(np.logical_not(hits) if wrong else hits, 100.0)
