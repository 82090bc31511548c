"""Sparse networks: how weights are chosen to go, and masks that stay put as part of the recipe."""

from expunge.training.pruning.kinds import SNIP, GraSP, Iterative, Magnitude, Pruning, RandomPruning, SynFlow
from expunge.training.pruning.masks import Held, highest, masks, prunable, sparsity_of

__all__ = [
    "SNIP",
    "GraSP",
    "Held",
    "Iterative",
    "Magnitude",
    "Pruning",
    "RandomPruning",
    "SynFlow",
    "highest",
    "masks",
    "prunable",
    "sparsity_of",
]
