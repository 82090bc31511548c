"""Conjugate gradient on a positive definite operator, with an error bound that can be computed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.errors import ProgrammerError

Product = Callable[[Tensor], Tensor]
"""A symmetric operator on one vector or on each row of many."""


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver found.

    **Arguments:**

    - `x`: `[*batch, parameters]`.
    - `residual`: Euclidean norm of rhs - A x, computed anew at the end; the largest over the rows. Infinite where the
      solver was told not to look.
    - `products`: operator-vector products, counted for each row.
    - `converged`: whether every row met the tolerance.
    """

    x: Float[Tensor, "*batch parameters"]
    residual: float
    products: int
    converged: bool

    def error_bound(self, least_eigenvalue: float) -> float:
        """Bound on |x - A^-1 rhs| for an operator without eigenvalues below `least_eigenvalue`: residual over that.

        **Raises:** `ProgrammerError("indefinite-curvature")` unless it is positive.
        """
        if least_eigenvalue <= 0:
            raise ProgrammerError("indefinite-curvature", f"no bound with a least eigenvalue of {least_eigenvalue:.3g}")
        return self.residual / least_eigenvalue


def conjugate_gradient(
    product: Product,
    rhs: Float[Tensor, "*batch parameters"],
    *,
    tolerance: float = 1e-6,
    limit: int = 500,
    start: Float[Tensor, "*batch parameters"] | None = None,
    precondition: Product | None = None,
    closing: bool = True,
) -> Solution:
    """Solve A x = rhs, each row for itself, until |residual| <= tolerance |rhs| or `limit` iterations.

    `precondition` is about the inverse of A, symmetric and positive definite: it changes the speed, not the answer.
    Without `closing` it takes one product less, and nothing is known of the error: the recursion's residual drifts.

    A direction of curvature that is not positive ends the run: no number computed past it would mean anything.

    **Raises:** `ProgrammerError("indefinite-curvature")`: the damping is below minus the least eigenvalue;
    `ProgrammerError("bad-hyperparameter")`.
    """
    if tolerance <= 0 or limit < 1:
        raise ProgrammerError("bad-hyperparameter", f"tolerance and limit must be positive: {tolerance}, {limit}")
    x = torch.zeros_like(rhs) if start is None else start.clone()
    residual = rhs - product(x) if start is not None else rhs.clone()
    goal = tolerance * rhs.norm(dim=-1, keepdim=True)
    guided = residual if precondition is None else precondition(residual)
    direction, squared = guided.clone(), (residual * guided).sum(-1, keepdim=True)
    steps = 0
    while steps < limit and bool((active := residual.norm(dim=-1, keepdim=True) > goal).any()):
        image = product(direction)
        curvature = (direction * image).sum(-1, keepdim=True)
        if bool((active & (curvature <= 0)).any()):
            raise ProgrammerError("indefinite-curvature", f"negative curvature met after {steps} products")
        stride = torch.where(active, squared / curvature, torch.zeros_like(squared))
        x, residual = x + stride * direction, residual - stride * image
        guided = residual if precondition is None else precondition(residual)
        after = (residual * guided).sum(-1, keepdim=True)
        direction = torch.where(active, guided + after / squared * direction, direction)
        squared = torch.where(active, after, squared)
        steps += 1
    left = (rhs - product(x) if closing else residual).norm(dim=-1, keepdim=True)
    width = rhs.numel() // max(rhs.shape[-1], 1)
    count = (steps + closing + (start is not None)) * width
    # The recursion's residual drifts from the true one by rounding: twice the goal is within what it can know.
    known = float(left.max()) if closing else math.inf
    return Solution(x, known, count, bool((left <= 2 * goal).all()))
