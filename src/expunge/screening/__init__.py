"""Defences against malicious requests: the front door, the contract, and one file per defence."""

from expunge.screening.budgets import Budgets
from expunge.screening.calibration import Calibration, Level, calibrate
from expunge.screening.canaries import Canaries
from expunge.screening.combined import Combined
from expunge.screening.contrasts import Matched, RandomOrder, ShardDisagreement
from expunge.screening.exact_match import ExactMatch
from expunge.screening.forecasts import Alignment, DryRun, GroupLeftOut, Statistics
from expunge.screening.gate import EVIDENCE, GATES, Judgement, screen
from expunge.screening.ground import Forecast, Ground, forecast
from expunge.screening.medoids import Medoids
from expunge.screening.submission import Committed, Description, Finding, Past, Screen, Submission, Verdict

__all__ = [
    "EVIDENCE",
    "GATES",
    "Alignment",
    "Budgets",
    "Calibration",
    "Canaries",
    "Combined",
    "Committed",
    "Description",
    "DryRun",
    "ExactMatch",
    "Finding",
    "Forecast",
    "Ground",
    "GroupLeftOut",
    "Judgement",
    "Level",
    "Matched",
    "Medoids",
    "Past",
    "RandomOrder",
    "Screen",
    "ShardDisagreement",
    "Statistics",
    "Submission",
    "Verdict",
    "calibrate",
    "forecast",
    "screen",
]
