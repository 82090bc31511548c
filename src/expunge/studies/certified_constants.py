"""The theorem's constants on a network that was trained in the ball: what can be measured, and what only estimated."""

from dataclasses import replace
from typing import Any

import torch

from expunge.networks import MLP
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training import SGD, Recipe, train
from expunge.training.curvature import Curvature, extreme_eigenvalues
from expunge.unlearning.accounting import Constants, setting_line, theorem_bound

Row = dict[str, Any]

RADIUS, DAMPING, REACH = 20.0, 0.01, 0.1
"""The paper's C and lambda, and how far Hessians are compared."""
ESTIMATED = ("hessian_lipschitz", "gradient_lipschitz", "least_eigenvalue")


def constants_of_a_network(records: Records, seed: int, draws: int = 3) -> Row:
    """Theorem 3.4 with G measured, and L, M and the least eigenvalue estimated: hence no certificate.

    G is the norm of the penalised loss's gradient where training stopped; L and the least eigenvalue are Ritz values,
    their residual on the safe side; M is the largest change of the Hessian over `REACH` along `draws` directions, which
    is a lower bound (a network of ReLUs has no such constant). Lambda is raised until the local problem is convex.
    """
    recipe = Recipe(network=MLP((64,)), optimiser=SGD(lr=0.05), batch_size=64, epochs=20, radius=RADIUS, seed=seed)
    module = train(recipe, records).model.module().eval()
    part = records.train.select(range(min(len(records.train), 1000)))
    here, penalty = Curvature.of(module, part), recipe.stepwise.weight_decay
    ends = extreme_eigenvalues(here.product, here.size)
    bend = max(_bend(here, seed, draw) for draw in range(draws))
    residual = float((here.gradient + penalty * here.parameters).norm())
    least, top = ends.lower + penalty, ends.upper + penalty
    damping = DAMPING + 2 * max(0.0, -least)
    known = Constants(RADIUS, damping, bend, least, residual, top, ESTIMATED)
    bound = theorem_bound(known, gradient=residual, parameters=here.size, failure=0.1)
    return {
        **setting_line(f"theorem, constants of a network, damping {damping:.3g}", bound),
        "residual_gradient_norm": residual,
        "weights_norm": float(here.parameters.norm()),
        "hessian_lipschitz_estimate": bend,
        "gradient_lipschitz_estimate": top,
        "least_eigenvalue_estimate": least,
        "estimated": ", ".join(bound.estimated),
        "claim": "certified" if bound.certified else "empirical",
    }


def _bend(here: Curvature, seed: int, draw: int) -> float:
    """Norm of the Hessian's change over `REACH` along one direction, over that length."""
    generator = torch_generator(seed, f"study/certified/bend/{draw}")
    direction = torch.randn(here.size, generator=generator)
    there = replace(here, parameters=here.parameters + REACH * direction / direction.norm())
    ends = extreme_eigenvalues(lambda vector: there.product(vector) - here.product(vector), here.size, steps=10)
    return max(abs(ends.top), abs(ends.least)) / REACH
