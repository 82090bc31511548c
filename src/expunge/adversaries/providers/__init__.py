"""Dishonest providers: one file each, one contract."""

from expunge.adversaries.providers.contract import Case, Description, DishonestProvider, Handed
from expunge.adversaries.providers.fake_segment import FakeSegments
from expunge.adversaries.providers.forging import Forge
from expunge.adversaries.providers.grind import Grind
from expunge.adversaries.providers.keep_original import KeepOriginal
from expunge.adversaries.providers.momentum import LateMomentum, StartingMomentum
from expunge.adversaries.providers.old_proof import ReplayOldProof
from expunge.adversaries.providers.reordered import Reordered
from expunge.adversaries.providers.retraining import RetrainNearest, RetrainRandom, RetrainSameClass
from expunge.adversaries.providers.swap import SwapAfterAudit
from expunge.adversaries.providers.walk_back import WalkBack

__all__ = [
    "Case",
    "Description",
    "DishonestProvider",
    "FakeSegments",
    "Forge",
    "Grind",
    "Handed",
    "KeepOriginal",
    "LateMomentum",
    "Reordered",
    "ReplayOldProof",
    "RetrainNearest",
    "RetrainRandom",
    "RetrainSameClass",
    "StartingMomentum",
    "SwapAfterAudit",
    "WalkBack",
]
