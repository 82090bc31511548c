"""The convex head on features that never saw a record: certified by a distance that is computed, not estimated."""

from dataclasses import dataclass, replace

import torch

from expunge.errors import ProgrammerError
from expunge.networks import Imported, InPython, initialise
from expunge.training import Adam, CrossEntropy, HeadSolver, LeastSquares
from expunge.training.head import Head, HeadSolution, fixed_features, head_of, read_head, solve_head, write_head
from expunge.training.platform import deterministic
from expunge.unlearning.accounting import Budget, Privacy
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Unlearned, finish
from expunge.unlearning.release import ADAPTIVE, clock, gaussian, ground, released


@dataclass(frozen=True)
class CertifiedHead:
    """Solve the last layer anew on the retained records, from the present weights, and add noise for what is left.

    With W* the optimum on the retained records, |W - W*| <= |grad F(W)| / l2 (strong convexity), and the gradient is
    computed. The solver goes on until that is `noise` times the request's share of mu, so that noise and epsilon are
    fixed before the records are looked at, and the release is W + N(0, noise^2 I) against W* + N(0, noise^2 I). It does
    not matter how the present weights came about: no clean copy is kept, and nothing adds up but epsilon.

    Noise is added to the result and not to the loss (Guo et al. 2020): a residual that is measured under a noisy loss
    depends on that noise, and shifting noise by something that depends on it is no Gaussian mechanism.

    **Arguments:**

    - `epsilon`, `delta`, `requests`, `spent`: the budget of all releases together, the number of equal parts that it
      is cut into, and what earlier requests used of it. The workspace fills in `spent`.
    - `noise`: standard deviation on each weight. More noise is less work.
    - `l2`: penalty, `None` for the recipe's.
    - `passes`: over the retained records, at most.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    requests: int = 10
    spent: float = 0.0
    noise: float = 0.02
    l2: float | None = None
    passes: int = 1000

    def __post_init__(self) -> None:
        if self.noise <= 0 or self.passes < 1 or self.spent < 0 or (self.l2 is not None and self.l2 <= 0):
            raise ProgrammerError("bad-hyperparameter", "noise, l2 and passes must be positive, spent not negative")
        _ = self.privacy

    @property
    def privacy(self) -> Privacy:
        """What is asked for."""
        return Privacy(self.epsilon, self.delta, self.requests)

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "certified-head",
            "Solve the last layer anew on what is left, and hide the rest of the way in noise.",
            ClaimKind.CERTIFIED,
            "Guo et al., ICML 2020, with noise on the output; Balle and Wang, ICML 2018",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """A guess, from what solving from zero may take: how few passes are needed shows only in the solving."""
        self._check(deletion)
        Budget(self.privacy, self.spent).charge(self.privacy.share)
        solver = isinstance(deletion.recipe.optimiser, HeadSolver)
        passes = min(self.passes, round(WARM * deletion.recipe.epochs) if solver else TYPICAL)
        note = f"A guess: {passes} passes over the retained records; never more than {self.passes}."
        return Forecast(passes * len(ground(deletion).train), deletion.retraining_evaluations, (note,))

    def run(self, deletion: Deletion) -> Unlearned:
        """Solve, measure, add noise.

        **Raises:** `ProgrammerError("method-unfit" | "features-saw-data" | "residual-too-large")`,
        `OperatorError("budget-spent")`.
        """
        started, (name, l2) = clock(), self._check(deletion)
        budget = Budget(self.privacy, self.spent).charge(self.privacy.share)
        records, before = ground(deletion), deletion.trained.model
        state = before.constituents[0] or {}
        part = records.train
        with deterministic(deletion.threads):
            head = Head(fixed_features(before.module(), part.features), part.targets, part.classes, l2)
            goal = self.noise * self.privacy.share * l2
            solution, notes = self._solved(head, read_head(state, name), goal)
        weights = solution.weights + gaussian(solution.weights, self.noise, deletion.noise_key, "unlearning/head/noise")
        trained = released(deletion, records, write_head(state, name, weights), started, solution.passes * len(part))
        claim = self._claim(deletion, head, solution, budget)
        return finish(self, deletion, trained, claim, *notes, refitted=True)

    def _solved(self, head: Head, start: torch.Tensor, goal: float) -> tuple[HeadSolution, tuple[str, ...]]:
        found = solve_head(head, start, gradient_norm=goal, passes=self.passes)
        if found.gradient_norm <= goal:
            return found, ()
        again = solve_head(head, None, gradient_norm=goal, passes=self.passes)
        if again.gradient_norm > goal:
            raise ProgrammerError(
                "residual-too-large", f"gradient norm {again.gradient_norm:.3g} is above the {goal:.3g} of the claim"
            )
        note = "The head was solved from zero: from the present weights the residual stayed too large."
        return replace(again, passes=again.passes + found.passes), (note,)

    def _check(self, deletion: Deletion) -> tuple[str, float]:
        """Name of the last layer and the penalty; refuses what the theorem does not cover."""
        ground(deletion)
        recipe, before = deletion.recipe, deletion.trained.model
        found = head_of(initialise(recipe.network, before.shape, before.classes, seed=recipe.seed, name="network"))
        squares = isinstance(recipe.optimiser, LeastSquares)
        if found is None or squares or not isinstance(recipe.loss, CrossEntropy):
            raise ProgrammerError(
                "method-unfit",
                "the head's theorem wants fixed features, one trained linear layer and cross-entropy",
                "Train a certifiable model: `expunge init --certifiable`.",
            )
        check_features(deletion, found[0])
        return found[0], self._penalty(deletion)

    def _penalty(self, deletion: Deletion) -> float:
        optimiser = deletion.recipe.optimiser
        if self.l2 is not None:
            return self.l2
        own = optimiser.l2 if isinstance(optimiser, HeadSolver) else optimiser.weight_decay
        if own <= 0 or isinstance(optimiser, Adam):
            raise ProgrammerError("method-unfit", "the recipe has no L2 penalty: name one (l2)")
        return own

    def _claim(self, deletion: Deletion, head: Head, solution: HeadSolution, budget: Budget) -> Claim:
        # The spread of the noise and the share of mu are settled before; the measured bound is within them.
        bound = solution.gradient_norm / head.l2
        covered = self.noise * self.privacy.share
        source = "a factory of the user's, which must not have seen the forgotten records"
        user = isinstance(deletion.recipe.network, Imported | InPython)
        return Claim(
            ClaimKind.CERTIFIED,
            "the exact optimum of the last layer's penalised loss on the retained records, plus the same noise",
            (
                "The fixed features were compared, number for number, with those that the recipe makes afresh"
                + (f" from {source}." if user else " from its seed: no record shaped them."),
                f"Cross-entropy with penalty l2 = {head.l2:g} is l2-strongly convex: the distance to the optimum is at "
                f"most gradient norm over l2 = {bound:.3g}, computed in double precision, within the "
                f"{covered:.3g} that noise {self.noise:g} and mu {self.privacy.share:.4g} cover.",
                ADAPTIVE,
            ),
            theorem="|W - W*| <= |grad F(W)| / l2 (strong convexity), Gaussian mechanism of Balle and Wang 2018, "
            "theorem 8; releases compose by the sum of squares",
            epsilon=budget.spent,
            delta=self.delta,
            budget_left=budget.left,
        )


TYPICAL = 45
"""Passes of a solution from the present weights (26 to 49 on 8,000 digit images)."""

WARM = 0.6
"""Their share of the passes of a solution from zero."""


def check_features(deletion: Deletion, name: str) -> None:
    """Refuse features that are not, number for number, what the recipe makes without any record.

    **Raises:** `ProgrammerError("features-saw-data")`.
    """
    recipe, before = deletion.recipe, deletion.trained.model
    fresh = initialise(recipe.network, before.shape, before.classes, seed=recipe.seed, name="network").state_dict()
    state = before.constituents[0] or {}
    for key, value in fresh.items():
        if not key.startswith(f"{name}.") and not torch.equal(value, state[key]):
            raise ProgrammerError(
                "features-saw-data",
                f"the fixed part {key[:40]!r} is not what the recipe makes afresh: records shaped it",
            )
