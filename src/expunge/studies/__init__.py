"""The papers' experiments: each a thin script over the rooms, all in one form."""

from expunge.studies.claims import StudyClaim, mean_claim, mean_interval, share_claim
from expunge.studies.frame import Row, Setting, Study, run_study
from expunge.studies.sharding import ShardingStudy

__all__ = [
    "Row",
    "Setting",
    "ShardingStudy",
    "Study",
    "StudyClaim",
    "mean_claim",
    "mean_interval",
    "run_study",
    "share_claim",
]
