"""Recipes whose models can be certified cheaply."""

from dataclasses import replace

from expunge.errors import ProgrammerError
from expunge.networks import Network, OrientedFilters, RandomFeatures
from expunge.training.recipe import HeadSolver, LeastSquares, Recipe


def downdatable_recipe(shape: tuple[int, ...], classes: int, *, seed: int = 0, l2: float = 1e-4) -> Recipe:
    """The same fixed features with a least-squares head, from which `Downdate` takes records exactly.

    **Raises:** as `certifiable_recipe`.
    """
    made = certifiable_recipe(shape, classes, seed=seed)
    return replace(made, optimiser=LeastSquares(l2=l2), epochs=1)


IMAGE_SIDE = 16
"""Pixels from which oriented filters see more than random features."""
WIDE_SIDE = 24
"""Pixels from which every fourth is enough for the filters' six cells a side."""
COSINES = RandomFeatures(width=300)
FILTERS, WIDE_FILTERS = OrientedFilters(orientations=4), OrientedFilters(orientations=4, stride=4)
"""The quickest within 0.3 points of the best, on a part of the training records (`benchmarks/features.py`)."""


def certifiable_recipe(shape: tuple[int, ...], classes: int, *, seed: int = 0, l2: float = 1e-3) -> Recipe:
    """Fixed features that no record shapes, and a convex head: oriented filters for images, else random features.

    **Raises:** `ProgrammerError("method-unfit")` for regression: the head's theorem is for classes.
    """
    if classes < 2:
        raise ProgrammerError("method-unfit", "a certifiable model needs classes, and these targets are numbers")
    return Recipe(network=_features(shape), optimiser=HeadSolver(l2=l2), epochs=PASSES, seed=seed)


def _features(shape: tuple[int, ...]) -> Network:
    side = min(shape[1:]) if len(shape) == 3 else 0
    if side >= WIDE_SIDE:
        return WIDE_FILTERS
    return FILTERS if side >= IMAGE_SIDE else COSINES


PASSES = 80
"""Passes over the records at most; the solver stops at its gradient norm, mostly at about seventy."""
