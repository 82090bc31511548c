"""Ways to unlearn: the front door, the contract, and one file per method."""

from expunge.unlearning.adopt import adopt
from expunge.unlearning.amun import AMUN
from expunge.unlearning.bad_teacher import BadTeacher
from expunge.unlearning.boundary_shrink import BoundaryShrink
from expunge.unlearning.certified import Certified
from expunge.unlearning.downdate import Downdate
from expunge.unlearning.fine_tune import FineTune
from expunge.unlearning.fisher import FisherForgetting
from expunge.unlearning.front_door import prepare, unlearn
from expunge.unlearning.gradient_ascent import GradientAscent
from expunge.unlearning.head import CertifiedHead
from expunge.unlearning.influence import Influence
from expunge.unlearning.l1_sparse import L1Sparse
from expunge.unlearning.langevin import Langevin, train_noisily
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Method, Unlearned
from expunge.unlearning.neg_grad_plus import NegGradPlus
from expunge.unlearning.newton import Newton
from expunge.unlearning.noisy_fine_tuning import NoisyFineTuning, OutputPerturbation
from expunge.unlearning.random_labels import RandomLabels
from expunge.unlearning.repair import Repair
from expunge.unlearning.retrain import Retrain
from expunge.unlearning.rewind_and_descend import RewindAndDescend, train_with_checkpoint
from expunge.unlearning.salun import SalUn
from expunge.unlearning.scrub import SCRUB
from expunge.unlearning.sharded import Sharded
from expunge.unlearning.ssd import SSD

__all__ = [
    "AMUN",
    "SCRUB",
    "SSD",
    "BadTeacher",
    "BoundaryShrink",
    "Certified",
    "CertifiedHead",
    "Claim",
    "ClaimKind",
    "Deletion",
    "Description",
    "Downdate",
    "FineTune",
    "FisherForgetting",
    "Forecast",
    "GradientAscent",
    "Influence",
    "L1Sparse",
    "Langevin",
    "Method",
    "NegGradPlus",
    "Newton",
    "NoisyFineTuning",
    "OutputPerturbation",
    "RandomLabels",
    "Repair",
    "Retrain",
    "RewindAndDescend",
    "SalUn",
    "Sharded",
    "Unlearned",
    "adopt",
    "prepare",
    "train_noisily",
    "train_with_checkpoint",
    "unlearn",
]
