"""Measurements that try to find the forget set in a model: one file per audit, one front door."""

from expunge.auditing.accuracy import Accuracy
from expunge.auditing.audit import Audit, Curve, Finding, Findings, Reading, Subject
from expunge.auditing.confidence_mia import ConfidenceMIA
from expunge.auditing.divergence import Divergence
from expunge.auditing.front_door import DEFAULT, AuditReport, audit, retrain_references
from expunge.auditing.intervals import Estimate
from expunge.auditing.lira import LiRA
from expunge.auditing.relearning import RelearningTime
from expunge.auditing.rmia import RMIA
from expunge.auditing.shadows import Shadows, shadows

__all__ = [
    "DEFAULT",
    "RMIA",
    "Accuracy",
    "Audit",
    "AuditReport",
    "ConfidenceMIA",
    "Curve",
    "Divergence",
    "Estimate",
    "Finding",
    "Findings",
    "LiRA",
    "Reading",
    "RelearningTime",
    "Shadows",
    "Subject",
    "audit",
    "retrain_references",
    "shadows",
]
