"""The Neumann series for an inverse-Hessian product (LiSSA, Agarwal et al. 2017; Zhang et al., ICML 2024, section 3.3).

Slow beside conjugate gradient, kept because the literature's certificates and numbers rest on it.
"""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator
from expunge.training.curvature.conjugate_gradient import Product, Solution
from expunge.training.curvature.curvature import Curvature
from expunge.training.curvature.spectrum import extreme_eigenvalues


@dataclass(frozen=True)
class Series:
    """How a series is summed.

    **Arguments:**

    - `depth`: products in one sum; `repetitions`: independent sums whose mean is taken.
    - `batch`: records drawn for each product; `None` for all, where repetitions add nothing.
    - `scale`: divisor of the operator, at least its largest eigenvalue; `None`: measured (Lanczos), on all records or
      on sixteen batches, whichever asks for more, with a quarter on top.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    depth: int = 1000
    repetitions: int = 1
    batch: int | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        sizes = (self.depth, self.repetitions, 1 if self.batch is None else self.batch)
        if min(sizes) < 1 or (self.scale is not None and self.scale <= 0):
            raise ProgrammerError("bad-hyperparameter", "depth, repetitions, batch and scale must be positive")


PUBLIC_DEFAULTS: Final = Series(depth=1000, repetitions=10, batch=10, scale=1000.0)
"""A named mistake: the defaults of the paper's public code, at damping 0.01. With so large a scale the sum is cut at
about one per cent of what flat directions need, and the relative error stays above 0.8."""


def neumann(curvature: Curvature, rhs: Float[Tensor, " parameters"], series: Series, *, seed: int = 0) -> Solution:
    """h_0 = g, h_t = g + h_{t-1} - A_t h_{t-1} / scale; the answer is h_depth / scale.

    With all records in each product the error obeys (1 - mu)^(depth + 1) |g| / least, mu = least / scale, where least
    is the smallest eigenvalue of A. `converged` says whether the residual is below 1e-3 |rhs|.

    **Raises:** `ProgrammerError("series-diverges")`: the scale is below half the largest eigenvalue, or the sum grew
    out of bounds; `ProgrammerError("indefinite-curvature")`: the damping leaves negative curvature.
    """
    ends = extreme_eigenvalues(curvature.product, curvature.size, seed=seed, dtype=rhs.dtype)
    if ends.least <= 0:
        raise ProgrammerError(
            "indefinite-curvature", f"the damped matrix has an eigenvalue of {ends.least:.3g} or less"
        )
    if series.scale is not None and series.scale < ends.top / 2:
        raise ProgrammerError("series-diverges", f"scale {series.scale:.3g} is below half of {ends.top:.3g}")
    scale = series.scale or _scale(curvature, series, ends.upper, seed)
    runs = series.repetitions if series.batch is not None else 1
    total = sum((_sum(curvature, rhs, series, scale, f"{seed}/{run}") for run in range(runs)), torch.zeros_like(rhs))
    found = total / runs
    left = float((rhs - curvature.product(found)).norm())
    return Solution(found, left, series.depth * runs, left <= 1e-3 * float(rhs.norm()))


def _sum(curvature: Curvature, rhs: Tensor, series: Series, scale: float, name: str) -> Tensor:
    generator = torch_generator(0, f"curvature/series/{name}")
    found, bound = rhs.clone(), 1e3 * (series.depth + 1) * float(rhs.norm())
    for step in range(series.depth):
        found = rhs + found - _drawn(curvature, series.batch, generator)(found) / scale
        if step % 10 == 9 and not float(found.norm()) <= bound:
            raise ProgrammerError("series-diverges", f"the sum outgrew every converging one after {step + 1} products")
    return found / scale


def _drawn(curvature: Curvature, batch: int | None, generator: torch.Generator) -> Product:
    if batch is None:
        return curvature.product
    return curvature.on(torch.randint(len(curvature.features), (batch,), generator=generator)).product


def _scale(curvature: Curvature, series: Series, top: float, seed: int) -> float:
    """The largest eigenvalue that the products will meet, with room: a batch's is far above the whole data's."""
    if series.batch is None:
        return top
    generator = torch_generator(seed, "curvature/scale")
    tops = [
        extreme_eigenvalues(_drawn(curvature, series.batch, generator), curvature.size, steps=12, seed=seed).upper
        for _ in range(SCALE_BATCHES)
    ]
    return 1.25 * max(top, *tops)


SCALE_BATCHES = 16
"""Batches whose largest eigenvalue is looked at."""
