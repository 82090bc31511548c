"""Noise from the first step on: a model whose training already hides a few records. The reference for all others."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from expunge.errors import OperatorError, ProgrammerError
from expunge.networks import initialise, layout, state_of
from expunge.records import Records
from expunge.training import Cost, MemoryCheckpoints, Model, Recipe, Trained, training_log
from expunge.training.platform import deterministic
from expunge.unlearning.accounting import epsilon_of, mu_of
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Unlearned, finish
from expunge.unlearning.release import clock, ground, noised, released

STAGE = "langevin"
"""Stage whose checkpoint says that, and on how many records, a model was trained noisily."""


@dataclass(frozen=True)
class Langevin:
    """Full-batch descent with each record's gradient clipped and noise at every step, from the start.

    Leaving out m of n records moves a step by at most 2 lr clip m / n, so that the whole training is mu-private with
    mu = sqrt(steps) 2 lr clip m / (n sigma). Up to `covered` records can then be forgotten by doing nothing: the model
    is already about as likely without them.

    **Arguments:** `epsilon`, `delta`: for `covered` records in all; `clip`, `lr`, `steps`: of the training.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    covered: int = 10
    clip: float = 1.0
    lr: float = 0.5
    steps: int = 100

    def __post_init__(self) -> None:
        if min(self.covered, self.steps) < 1 or min(self.clip, self.lr) <= 0:
            raise ProgrammerError("bad-hyperparameter", "covered, steps, clip and lr must be positive")
        _ = mu_of(self.epsilon, self.delta)

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "langevin",
            "Train with noise from the start; forgetting a few records then takes nothing.",
            ClaimKind.CERTIFIED,
            "Chien et al., NeurIPS 2024; Abadi et al., CCS 2016, for groups of records",
        )

    def sigma(self, records: int) -> float:
        """Noise on each weight at each step of training on so many records."""
        return math.sqrt(self.steps) * self._step(self.covered, records) / mu_of(self.epsilon, self.delta)

    def plan(self, deletion: Deletion) -> Forecast:
        """Nothing."""
        self._total(deletion)
        return Forecast(0, deletion.retraining_evaluations)

    def run(self, deletion: Deletion) -> Unlearned:
        """The model as it is.

        **Raises:** `ProgrammerError("method-unfit")` for a model of other training; `OperatorError("budget-spent")`
        when more than `covered` records would be gone.
        """
        started, count = clock(), self._total(deletion)
        total = len(deletion.retained.train) + count
        mu = math.sqrt(self.steps) * self._step(count, total) / self.sigma(total)
        epsilon = epsilon_of(mu, self.delta)
        state = deletion.trained.model.constituents[0] or {}
        claim = Claim(
            ClaimKind.CERTIFIED,
            "the same training with the same noise, from the same start, on the retained records",
            (
                f"{self.steps} full-batch steps, rate {self.lr:g}, gradients of records clipped to {self.clip:g}, "
                f"noise {self.sigma(total):.4g}; {count} of {total} records gone since training.",
                "Nothing is assumed of the network or the loss. Requests do not depend on the model: the bound is for "
                "records that were fixed before training.",
            ),
            theorem="composition of Gaussian mechanisms (Dong, Roth and Su 2022), Balle and Wang 2018",
            epsilon=epsilon,
            delta=self.delta,
            budget_left=max(self.epsilon - epsilon, 0.0),
        )
        done = released(deletion, ground(deletion), dict(state), started, 0)
        done.checkpoints.save(f"{STAGE}/{total}", dict(state))
        return finish(self, deletion, done, claim)

    def _step(self, gone: int, records: int) -> float:
        return 2 * self.lr * self.clip * gone / records

    def _total(self, deletion: Deletion) -> int:
        """Records gone since training, this deletion's among them; refuses what the training does not cover."""
        ground(deletion)
        state, before = deletion.trained.model.constituents[0] or {}, len(deletion.records.train)
        for gone in range(self.covered + 1):
            kept = deletion.trained.checkpoints.load(f"{STAGE}/{before + gone}")
            if kept is not None and all(torch.equal(kept[name], part) for name, part in state.items()):
                break
        else:
            raise ProgrammerError("method-unfit", "the model was not trained by train_noisily")
        count = before + gone - len(deletion.retained.train)
        if count > self.covered or not deletion.settled:
            raise OperatorError("budget-spent", f"{count} records would be gone, and the noise covers {self.covered}")
        return count


def train_noisily(
    recipe: Recipe,
    records: Records,
    langevin: Langevin,
    *,
    noise_key: bytes | None = None,
    sized: int | None = None,
) -> Trained:
    """Train the recipe's network, from its own initial weights, by `langevin`; the noise as in `Deletion.noise_key`.

    Optimiser, schedule and epochs of the recipe have no part in it. `sized`: records that the noise is meant for, where
    these are what is left of more: the reference of a deletion has the noise of the training before it.
    """
    started, part = clock(), records.train
    module = initialise(recipe.network, part.shape, part.classes, seed=recipe.seed, name="network")
    where = layout(module)
    point, sigma = where.flatten(dict(module.named_parameters())).detach(), langevin.sigma(sized or len(part))

    def loss(at: Tensor, features: Tensor, target: Tensor) -> Tensor:
        outputs: Tensor = functional_call(module, where.unflatten(at), (features[None],))
        return recipe.loss.mean(outputs, target[None])

    slopes = vmap(grad(loss), in_dims=(None, 0, 0))
    module.eval()
    with deterministic(1):
        for step in range(langevin.steps):
            total = torch.zeros_like(point)
            for rows in torch.arange(len(part)).split(512):
                each = slopes(point, part.features[rows], part.targets[rows])
                total += (each * (langevin.clip / each.norm(dim=1).clamp_min(langevin.clip))[:, None]).sum(0)
            point = point - langevin.lr * total / len(part)
            point = noised(point, sigma, noise_key, f"training/langevin/{step}")
    state = {**state_of(module), **{name: value.clone() for name, value in where.unflatten(point).items()}}
    model = Model(recipe, part.shape, part.classes, (state,))
    store = MemoryCheckpoints(states={f"{STAGE}/{len(part)}": state})
    cost = Cost.since(started, langevin.steps * len(part))
    return Trained(model, training_log(model, part, store, 1), cost, store)
