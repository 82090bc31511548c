"""Second-order information about a trained network: curvature times vector, and linear systems in the curvature."""

from expunge.training.curvature.conjugate_gradient import Solution, conjugate_gradient
from expunge.training.curvature.curvature import Curvature, CurvatureKind
from expunge.training.curvature.diagonal import Diagonal, squared_gradients, true_fisher
from expunge.training.curvature.series import PUBLIC_DEFAULTS, Series, neumann
from expunge.training.curvature.spectrum import Extremes, extreme_eigenvalues

__all__ = [
    "PUBLIC_DEFAULTS",
    "Curvature",
    "CurvatureKind",
    "Diagonal",
    "Extremes",
    "Series",
    "Solution",
    "conjugate_gradient",
    "extreme_eigenvalues",
    "neumann",
    "squared_gradients",
    "true_fisher",
]
