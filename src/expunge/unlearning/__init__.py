"""Ways to unlearn: the front door, the contract, and one file per method."""

from expunge.unlearning.adopt import adopt
from expunge.unlearning.fine_tune import FineTune
from expunge.unlearning.front_door import prepare, unlearn
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Method, Unlearned
from expunge.unlearning.retrain import Retrain
from expunge.unlearning.sharded import Sharded

__all__ = [
    "Claim",
    "ClaimKind",
    "Deletion",
    "Description",
    "FineTune",
    "Forecast",
    "Method",
    "Retrain",
    "Sharded",
    "Unlearned",
    "adopt",
    "prepare",
    "unlearn",
]
