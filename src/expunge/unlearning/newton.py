"""One Newton step on the retained records (Zhang et al., ICML 2024), with the claim that it can bear."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.networks import initialise
from expunge.records import Records
from expunge.training import SGD, CrossEntropy, HeadSolver, LeastSquares
from expunge.training.curvature import Curvature, Series, Solution, conjugate_gradient, neumann
from expunge.training.head import head_of
from expunge.training.platform import deterministic
from expunge.unlearning.accounting import Budget, Privacy
from expunge.unlearning.head import check_features
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Unlearned, finish
from expunge.unlearning.release import ADAPTIVE, clock, ground, network, noised, released

WHY_EMPIRICAL = (
    "No Lipschitz constant of the Hessian is known for this network, and an estimate of one carries no theorem.",
    "Theorem 3.4 of Zhang et al. bounds the distance by 2C (MC + lambda) / (lambda + least eigenvalue), which is at "
    "least the ball's diameter 2C wherever the least eigenvalue is at most MC: doing nothing has the same bound.",
)
"""What keeps the step on a network from being certified."""


@dataclass(frozen=True)
class Newton:
    """w - (H + damping I)^-1 g with Hessian and gradient on the retained records, plus noise.

    On a strongly convex head on fixed features the distance to the retained optimum is then computed (gradient norm
    over l2), and where noise covers it the claim is certified. On any other network it is empirical, and says why.

    **Arguments:**

    - `damping`: lambda, added to the Hessian with the recipe's own penalty.
    - `solver`: `"cg"`, `"exact"` (small networks), or `"neumann"`.
    - `tolerance`: relative residual of conjugate gradient; `series`: of Neumann.
    - `noise`: standard deviation on each weight; `epsilon`, `delta`, `spent`: what it should buy on a convex head.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    damping: float = 0.1
    solver: Literal["cg", "exact", "neumann"] = "cg"
    tolerance: float = 1e-3
    series: Series = Series()
    noise: float = 0.0
    epsilon: float = 1.0
    delta: float = 1e-5
    spent: float = 0.0

    def __post_init__(self) -> None:
        if self.damping < 0 or self.noise < 0 or self.solver not in ("cg", "exact", "neumann"):
            raise ProgrammerError("bad-hyperparameter", "damping, noise >= 0; solver is cg, exact or neumann")

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "newton",
            "Jump to where a quadratic model of the loss on what is left has its lowest point.",
            ClaimKind.EMPIRICAL,
            "Zhang et al., ICML 2024; Guo et al., ICML 2020",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """A guess: a gradient and forty products, each as dear as two gradients."""
        count = len(ground(deletion).train)
        network(deletion)
        return Forecast(81 * count, deletion.retraining_evaluations, ("The number of products shows in the solving.",))

    def run(self, deletion: Deletion) -> Unlearned:
        """One step.

        **Raises:** `ProgrammerError("method-unfit" | "indefinite-curvature" | "series-diverges" | "too-large")`.
        """
        started, records = clock(), ground(deletion)
        module, where, state = network(deletion)
        penalty = _penalty(deletion)
        reasons = _not_convex(deletion, penalty)
        # What is to be certified is measured in double precision; for the rest that would only cost time.
        kind = torch.float32 if reasons and self.solver != "exact" else torch.float64
        with deterministic(deletion.threads):
            point = where.flatten(state).to(kind)
            curvature = _curvature(deletion, module.to(kind), point, records, penalty + self.damping)
            gradient = curvature.gradient + penalty * point
            found = self._solve(curvature, gradient, deletion.seed)
            moved = point - found.x
            bound = float("inf")
            if not reasons:
                there = replace(_curvature(deletion, module, moved, records, 0.0), kept=0)
                left = there.gradient + penalty * moved
                bound = float(left.norm()) / penalty
        noisy = noised(moved, self.noise, deletion.noise_key, "unlearning/newton") if self.noise else moved
        final = {**state, **{name: part.float().clone() for name, part in where.unflatten(noisy).items()}}
        work = (1 + (not reasons) + 2 * found.products) * len(records.train)
        trained = released(deletion, records, final, started, work)
        claim = self._claim(reasons, penalty, bound)
        return finish(self, deletion, trained, claim, refitted=True)

    def _solve(self, curvature: Curvature, gradient: Tensor, seed: int) -> Solution:
        if self.solver == "cg":
            return conjugate_gradient(curvature.product, gradient, tolerance=self.tolerance, closing=False)
        if self.solver == "neumann":
            return neumann(curvature, gradient, self.series, seed=seed)
        x = curvature.solve(gradient)
        return Solution(x, float((gradient - curvature.product(x)).norm()), curvature.size + 1, True)

    def _claim(self, reasons: tuple[str, ...], penalty: float, bound: float) -> Claim:
        reference = "the exact optimum of the penalised loss on the retained records, plus the same noise"
        share = Privacy(self.epsilon, self.delta).share
        if not reasons and bound > self.noise * share:
            needed = bound / share
            reasons = (f"The distance is at most {bound:.3g}; epsilon {self.epsilon:g} asks for noise {needed:.3g}.",)
        if reasons:
            return Claim(ClaimKind.EMPIRICAL, reference, reasons)
        budget = Budget(Privacy(self.epsilon, self.delta), self.spent).charge(share)
        return Claim(
            ClaimKind.CERTIFIED,
            reference,
            (
                f"Strongly convex with constant {penalty:g}; distance at most {bound:.3g}, in double precision.",
                ADAPTIVE,
            ),
            theorem="|w - w*| <= |grad F(w)| / l2 (strong convexity); Gaussian mechanism of Balle and Wang 2018",
            epsilon=budget.spent,
            delta=self.delta,
            budget_left=budget.left,
        )


def _curvature(
    deletion: Deletion, module: torch.nn.Module, point: Tensor, records: Records, damping: float
) -> Curvature:
    part, kind = records.train, point.dtype
    targets = part.targets.to(kind) if part.targets.is_floating_point() else part.targets
    return Curvature(module, point, part.features.to(kind), targets, deletion.recipe.loss, damping, kept=KEPT)


KEPT = 8192
"""Records up to which the graph of the gradient is kept in memory while the system is solved."""


def _penalty(deletion: Deletion) -> float:
    """The recipe's L2 penalty; Adam's decoupled decay belongs to no loss."""
    optimiser = deletion.recipe.optimiser
    if isinstance(optimiser, HeadSolver):
        return optimiser.l2
    return optimiser.weight_decay if isinstance(optimiser, SGD) else 0.0


def _not_convex(deletion: Deletion, penalty: float) -> tuple[str, ...]:
    """Why the strongly convex theorem does not cover this model; empty where it does."""
    recipe, before = deletion.recipe, deletion.trained.model
    found = head_of(initialise(recipe.network, before.shape, before.classes, seed=recipe.seed, name="network"))
    if isinstance(recipe.optimiser, LeastSquares):
        return ("The step is of cross-entropy, and this head minimises squares: take `downdate`.",)
    if found is None or not isinstance(recipe.loss, CrossEntropy):
        return WHY_EMPIRICAL
    if not penalty:
        return ("The loss has no L2 penalty, so that nothing bounds the distance to its optimum.",)
    check_features(deletion, found[0])
    return ()
