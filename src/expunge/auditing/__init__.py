"""Measurements that try to find the forget set in a model: one file per audit, one front door."""

from expunge.auditing.accuracy import Accuracy
from expunge.auditing.audit import Audit, Description, Findings, Subject, retrain_references
from expunge.auditing.certificate import CertificateAudit, epsilon_lower_bound, play
from expunge.auditing.confidence_mia import ConfidenceMIA
from expunge.auditing.divergence import Divergence
from expunge.auditing.front_door import DEFAULT, PRIMARY, AuditReport, audit
from expunge.auditing.gaussian_poisoning import GaussianPoisoning, Marked, PoisonScore
from expunge.auditing.intervals import Estimate
from expunge.auditing.lira import LiRA
from expunge.auditing.reading import Curve, Finding, Reading
from expunge.auditing.relearning import RelearningTime
from expunge.auditing.rmia import RMIA
from expunge.auditing.shadows import Shadows, shadows
from expunge.auditing.tuning import Quality, Trial, Tuned, agreed, candidates, tune
from expunge.auditing.u_lira import ULiRA

__all__ = [
    "DEFAULT",
    "PRIMARY",
    "RMIA",
    "Accuracy",
    "Audit",
    "AuditReport",
    "CertificateAudit",
    "ConfidenceMIA",
    "Curve",
    "Description",
    "Divergence",
    "Estimate",
    "Finding",
    "Findings",
    "GaussianPoisoning",
    "LiRA",
    "Marked",
    "PoisonScore",
    "Quality",
    "Reading",
    "RelearningTime",
    "Shadows",
    "Subject",
    "Trial",
    "Tuned",
    "ULiRA",
    "agreed",
    "audit",
    "candidates",
    "epsilon_lower_bound",
    "play",
    "retrain_references",
    "shadows",
    "tune",
]
