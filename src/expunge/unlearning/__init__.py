"""Ways to unlearn: the front door, the contract, and one file per method."""

from expunge.unlearning.adopt import adopt
from expunge.unlearning.certified import Certified
from expunge.unlearning.fine_tune import FineTune
from expunge.unlearning.front_door import prepare, unlearn
from expunge.unlearning.head import CertifiedHead
from expunge.unlearning.langevin import Langevin, train_noisily
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Method, Unlearned
from expunge.unlearning.newton import Newton
from expunge.unlearning.noisy_fine_tuning import NoisyFineTuning, OutputPerturbation
from expunge.unlearning.retrain import Retrain
from expunge.unlearning.rewind_and_descend import RewindAndDescend, train_with_checkpoint
from expunge.unlearning.sharded import Sharded

__all__ = [
    "Certified",
    "CertifiedHead",
    "Claim",
    "ClaimKind",
    "Deletion",
    "Description",
    "FineTune",
    "Forecast",
    "Langevin",
    "Method",
    "Newton",
    "NoisyFineTuning",
    "OutputPerturbation",
    "Retrain",
    "RewindAndDescend",
    "Sharded",
    "Unlearned",
    "adopt",
    "prepare",
    "train_noisily",
    "train_with_checkpoint",
    "unlearn",
]
