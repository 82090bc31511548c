"""Every check that a workspace's case may name. To add one: its class, and its line here and in docs/assurance.md."""

from collections.abc import Mapping
from typing import Final

from expunge.assurance.architecture import BuiltFor
from expunge.assurance.closed_loop import ClosedLoop
from expunge.assurance.evidence import Check
from expunge.assurance.forecasting import Alarms, ErrorGrid, Predicts
from expunge.assurance.learning_curve import Enough
from expunge.assurance.performance import Accuracy
from expunge.assurance.proofs import Holds
from expunge.assurance.sensing import SensorError
from expunge.assurance.series import Gaps, Outliers
from expunge.assurance.specified import Specification
from expunge.assurance.sufficiency import Balanced, Complete, Coverage, Independent, Plausible

HELD_OUT: Final = ("test rows",)

CHECKS: Final[Mapping[str, Check]] = {
    "accuracy": Accuracy(),
    "alarms": Alarms(),
    "architecture": BuiltFor(),
    "balanced": Balanced(),
    "closed-loop": ClosedLoop(),
    "complete": Complete(),
    "coverage": Coverage(),
    "enough": Enough(),
    "error-grid": ErrorGrid(),
    "gaps": Gaps(),
    "held-out-complete": Complete(HELD_OUT),
    "held-out-gaps": Gaps(HELD_OUT),
    "held-out-outliers": Outliers(HELD_OUT),
    "held-out-plausible": Plausible(HELD_OUT),
    "independent": Independent(),
    "outliers": Outliers(),
    "plausible": Plausible(),
    "predicts": Predicts(),
    "property": Holds(),
    "sensor": SensorError(),
    "specification": Specification(),
}
"""Checks that a workspace's case may name."""
