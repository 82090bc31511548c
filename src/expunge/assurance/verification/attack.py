"""Search for violations: projected gradient descent on the margin from many starting points (Madry et al., 2018).

What is found is only a candidate until the deployed network has replayed it.
"""

import torch
from torch import Tensor

from expunge.assurance.verification.problem import Problem
from expunge.randomness import torch_generator

TOLERANCE = 1e-9
"""Rows A z <= b count as kept within this times their size."""


def attack(problem: Problem, starts: int, steps: int, seed: int, enough: float = -torch.inf) -> tuple[Tensor, Tensor]:
    """The points with the smallest margins that were met, best first, and their margins; it stops below `enough`.

    Returns z [found, coordinates], all inside the domain, and margins [found]; both are empty where no start could be
    brought inside.
    """
    domain = problem.query.domain
    width = domain.upper - domain.lower
    noise = torch.rand(starts, len(width), generator=torch_generator(seed, "verification/attack"), dtype=torch.float64)
    z = inside(problem, domain.lower + noise * width)
    best, margins = z.clone(), _kept(problem, z)
    for step in range(steps):
        if float(margins.min()) < enough:
            break
        z.requires_grad_()
        slope = torch.autograd.grad(problem.margin(z).sum(), z)[0]
        stride = 0.5 * (1 - step / steps) ** 2
        z = inside(problem, z.detach() - stride * width * slope.sign())
        found = _kept(problem, z)
        best = torch.where((found < margins).unsqueeze(1), z, best)
        margins = torch.minimum(found, margins)
    order = margins.argsort()
    order = order[margins[order].isfinite()]
    return best[order], margins[order]


def inside(problem: Problem, z: Tensor) -> Tensor:
    """z [points, coordinates] moved into the box, and towards the half-spaces by cyclic projection."""
    domain = problem.query.domain
    z = torch.clamp(z, domain.lower, domain.upper)
    if not len(domain.rows):
        return z
    for _ in range(20):
        if bool((z @ domain.rows.T <= domain.limits).all()):
            break
        for row, limit in zip(domain.rows, domain.limits, strict=True):
            free = torch.where(domain.upper > domain.lower, row, 0.0)
            excess = (z @ row - limit).clamp(min=0) / (free @ free).clamp(min=1e-300)
            z = torch.clamp(z - 1.001 * excess.unsqueeze(1) * free, domain.lower, domain.upper)
    return z


def keeps_rows(problem: Problem, z: Tensor) -> Tensor:
    """Which points are inside every half-space: [points] of bool."""
    domain = problem.query.domain
    if not len(domain.rows):
        return torch.ones(len(z), dtype=torch.bool)
    slack = TOLERANCE * (1 + domain.limits.abs())
    return (z @ domain.rows.T <= domain.limits + slack).all(1)


def _kept(problem: Problem, z: Tensor) -> Tensor:
    """Margins, infinite outside the domain."""
    with torch.no_grad():
        return torch.where(keeps_rows(problem, z), problem.margin(z), torch.inf)
