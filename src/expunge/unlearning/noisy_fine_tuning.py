"""Noise that forgets where training led: certified for any network, without convexity or smoothness."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from expunge.errors import ProgrammerError
from expunge.networks import Imported, InPython, Layout
from expunge.records import Records
from expunge.training.platform import deterministic
from expunge.unlearning.accounting import Budget, NoisyDescent, Privacy
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Unlearned, finish
from expunge.unlearning.release import ADAPTIVE, clock, ground, into_ball, network, noised, released, trained_on

WARNING = "At so small an epsilon the noise wipes the network out: compare with a fresh one trained for as many epochs."


@dataclass(frozen=True)
class NoisyFineTuning:
    """Project to a ball, take noisy steps with clipped gradients on the retained records, then train on as usual.

    The ball lies around the fresh network of the recipe's seed, and the decay pulls towards it: what the noise leaves
    can be trained, where noise around zero leaves deep networks that cannot. The two runs to compare start 2 `radius`
    apart at most; `NoisyDescent` says how much noise each step then needs. Ordinary training after that is
    post-processing.

    **Arguments:**

    - `epsilon`, `delta`, `requests`, `spent`: as in `CertifiedHead`.
    - `radius`, `clip`, `lr`, `decay`, `steps`, `batch_size`: of the noisy part; `clip` bounds a batch's mean gradient.
    - `epochs`: of ordinary training afterwards, by the recipe's optimiser and schedule.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    requests: int = 1
    spent: float = 0.0
    radius: float = 5.0
    clip: float = 0.05
    lr: float = 0.05
    decay: float = 5.0
    steps: int = 30
    batch_size: int = 256
    epochs: float = 5

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1 or self.spent < 0:
            raise ProgrammerError("bad-hyperparameter", "epochs, spent >= 0 and batch_size >= 1 are needed")
        _ = self.privacy, self.descent

    @property
    def privacy(self) -> Privacy:
        """What is asked for."""
        return Privacy(self.epsilon, self.delta, self.requests)

    @property
    def descent(self) -> NoisyDescent:
        """The noisy part, for the accountant."""
        return NoisyDescent(self.radius, self.clip, self.lr, self.decay, self.steps)

    @property
    def sigma(self) -> float:
        """Noise of each step."""
        return self.descent.shift / (self.privacy.share * self.descent.weight)

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "noisy-fine-tuning",
            "Clip, take noisy steps until the start is forgotten, then train on what is left.",
            ClaimKind.CERTIFIED,
            "Koloskova et al., ICML 2025; shift reduction of Bok, Su and Altschuler, ICML 2024",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """Noisy steps and epochs."""
        part = ground(deletion).train
        network(deletion)
        Budget(self.privacy, self.spent).charge(self.privacy.share)
        work = self.steps * min(self.batch_size, len(part)) + _epochs(deletion, part, self.epochs)
        return Forecast(work, deletion.retraining_evaluations, (WARNING,))

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises `ProgrammerError("method-unfit")`, `OperatorError("budget-spent")`, and what training raises."""
        started, records = clock(), ground(deletion)
        budget = Budget(self.privacy, self.spent).charge(self.privacy.share)
        module, where, state = network(deletion)
        centre = fresh(module, where)
        point = into_ball(where.flatten(state) - centre, self.radius)
        with deterministic(deletion.threads):
            for step in range(self.steps):
                slope = self._gradient(deletion, module, where, records.train, centre + point, step)
                point = point - self.lr * (into_ball(slope, self.clip) + self.decay * point)
                point = noised(point, self.sigma, deletion.noise_key, f"unlearning/noisy/{step}")
        work = self.steps * min(self.batch_size, len(records.train))
        noisy = {**state, **{name: value.clone() for name, value in where.unflatten(centre + point).items()}}
        final, more = trained_on(deletion, records, noisy, self.epochs, "noisy-fine-tuning")
        trained = released(deletion, records, final, started, work + more)
        claim = _claim(
            deletion,
            budget,
            self.delta,
            "the same noisy steps and the same training on the retained records, from any start in the ball",
            "shift reduction (Bok, Su and Altschuler 2024, as for noisy fine-tuning of Koloskova et al. 2025), and the "
            "Gaussian mechanism of Balle and Wang 2018",
            f"radius {self.radius:g}, gradients clipped to {self.clip:g}, rate {self.lr:g}, decay {self.decay:g}, "
            f"{self.steps} steps with noise {self.sigma:.4g}: mu {self.privacy.share:.4g}.",
        )
        return finish(self, deletion, trained, claim, refitted=True)

    def _gradient(
        self,
        deletion: Deletion,
        module: torch.nn.Module,
        where: Layout,
        part: Records,
        point: Tensor,
        step: int,
    ) -> Tensor:
        """Of the mean loss over a batch of retained records."""
        from expunge.randomness import torch_generator

        generator = torch_generator(deletion.seed, f"unlearning/noisy/batch/{step}")
        rows = torch.randperm(len(part), generator=generator)[: self.batch_size]
        at = point.detach().clone().requires_grad_()
        outputs = functional_call(module.eval(), where.unflatten(at), (part.features[rows],))
        return torch.autograd.grad(deletion.recipe.loss.mean(outputs, part.targets[rows]), at)[0]


@dataclass(frozen=True)
class OutputPerturbation:
    """Project to a ball of `radius` around the fresh network of the recipe's seed, add noise for its diameter, then
    train on as usual on the retained records.

    Any two models in the ball are 2 `radius` apart at most: no theorem about the network is needed, and the one of
    Zhang et al. gives no smaller bound for networks.

    **Arguments:** as in `NoisyFineTuning`.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    requests: int = 1
    spent: float = 0.0
    radius: float = 0.01
    epochs: float = 5

    def __post_init__(self) -> None:
        if self.radius <= 0 or self.epochs < 0 or self.spent < 0:
            raise ProgrammerError("bad-hyperparameter", "radius must be positive, epochs and spent not negative")
        _ = self.privacy

    @property
    def privacy(self) -> Privacy:
        """What is asked for."""
        return Privacy(self.epsilon, self.delta, self.requests)

    @property
    def sigma(self) -> float:
        """Noise on each weight."""
        return 2 * self.radius / self.privacy.share

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "output-perturbation",
            "Shrink the weights into a small ball, drown the ball in noise, train on what is left.",
            ClaimKind.CERTIFIED,
            "Balle and Wang, ICML 2018; output perturbation of Koloskova et al., ICML 2025",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """The epochs."""
        part = ground(deletion).train
        network(deletion)
        Budget(self.privacy, self.spent).charge(self.privacy.share)
        return Forecast(_epochs(deletion, part, self.epochs), deletion.retraining_evaluations, (WARNING,))

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises `ProgrammerError("method-unfit")`, `OperatorError("budget-spent")`, and what training raises."""
        started, records = clock(), ground(deletion)
        budget = Budget(self.privacy, self.spent).charge(self.privacy.share)
        module, where, state = network(deletion)
        centre = fresh(module, where)
        point = centre + into_ball(where.flatten(state) - centre, self.radius)
        point = noised(point, self.sigma, deletion.noise_key, "unlearning/output-perturbation")
        noisy = {**state, **{name: value.clone() for name, value in where.unflatten(point).items()}}
        final, work = trained_on(deletion, records, noisy, self.epochs, "output-perturbation")
        trained = released(deletion, records, final, started, work)
        claim = _claim(
            deletion,
            budget,
            self.delta,
            "any start in the ball with the same noise, then the same training on the retained records",
            "Gaussian mechanism of Balle and Wang 2018, theorem 8, at sensitivity 2 radius",
            f"radius {self.radius:g}, noise {self.sigma:.4g} on each weight: mu {self.privacy.share:.4g}.",
        )
        return finish(self, deletion, trained, claim, refitted=True)


def _epochs(deletion: Deletion, part: Records, epochs: float) -> int:
    """Gradient evaluations of ordinary training, as the trainer counts them."""
    from expunge.training import Stage

    return Stage("", tuple(range(len(part))), epochs).evaluations(deletion.recipe.batch_size) if epochs > 0 else 0


def fresh(module: torch.nn.Module, where: Layout) -> Tensor:
    """The centre of the ball: the weights of `module` as the recipe makes it, which no record shaped."""
    return where.flatten(dict(module.named_parameters())).detach()


def _claim(deletion: Deletion, budget: Budget, delta: float, reference: str, theorem: str, constants: str) -> Claim:
    user = isinstance(deletion.recipe.network, Imported | InPython)
    source = "a factory of the user's, which must not have seen the forgotten records" if user else "its seed"
    return Claim(
        ClaimKind.CERTIFIED,
        reference,
        (
            constants,
            f"The ball lies around the fresh network that the recipe makes from {source}.",
            "Nothing is assumed of network, loss or training; nothing but the present weights comes from before.",
            ADAPTIVE,
        ),
        theorem=theorem,
        epsilon=budget.spent,
        delta=delta,
        budget_left=budget.left,
    )
