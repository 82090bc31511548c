"""One network, one seed, three shares deleted: every method beside retraining, stopped retraining, a fresh network.

Seconds are processor seconds of this process: another program on the machine does not make a method look slow. A
deletion's begin at the trained model and end at the released one; training is no part of them.
"""

import math
import os
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from expunge.auditing import epsilon_lower_bound
from expunge.networks import Network, initialise, layout
from expunge.noise import normal
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.studies.certified_cells import REPEATED, Retrained, processor_seconds, quality, retrained, stopped_at
from expunge.training import Model, Recipe, Trained, accuracy_on_test, train
from expunge.training.certifiable import certifiable_recipe, downdatable_recipe
from expunge.training.head import Head, fixed_features, head_of, read_head, solve_head
from expunge.unlearning import (
    CertifiedHead,
    ClaimKind,
    Downdate,
    FineTune,
    FisherForgetting,
    GradientAscent,
    Influence,
    Method,
    Newton,
    NoisyFineTuning,
    OutputPerturbation,
    Unlearned,
    prepare,
)
from expunge.unlearning.accounting import epsilon_of, sigma_for
from expunge.unlearning.noisy_fine_tuning import fresh
from expunge.unlearning.release import gaussian, into_ball

DELTA = 1e-5
NOISY: tuple[Method, ...] = (NoisyFineTuning(epochs=10), OutputPerturbation(), Newton(damping=1.0, noise=0.001))
"""Noisy fine-tuning with half of the recipe's epochs: what it takes to be within two points of retraining (radius and
epochs chosen on seeds 91 and 92 of digits)."""
BASELINES: tuple[Method, ...] = (FineTune(), GradientAscent(), FisherForgetting(), Influence())
ALONE = ("retrain", "retrain-head", "retrain-least-squares")
SHOTS = 2000
"""Draws of each side in the game on the model itself."""

Row = dict[str, Any]


def deletions(records: Records, network: Network, recipe: Recipe, shares: tuple[float, ...], full: bool) -> list[Row]:
    """The rows of one network and seed; the empirical baselines only where `full`."""
    recipe = replace(recipe, network=network)
    head = certifiable_recipe(records.shape, records.classes, seed=recipe.seed)
    squares = downdatable_recipe(records.shape, records.classes, seed=recipe.seed)
    whole, solved, summed = train(recipe, records), train(head, records), train(squares, records)
    rows: list[Row] = []
    for share in shares:
        part = records.train
        drawn = numpy_generator(recipe.seed, f"study/certified/{share}").permutation(len(part))
        forget = tuple(part.ids[row] for row in drawn[: max(1, round(share * len(part)))])
        left = records.without(forget).refit()
        again = retrained(recipe, left), retrained(head, left), retrained(squares, left)
        scene = _Scene(records, forget, left, *again)
        found = [scene.reference(name, done) for name, done in zip(ALONE, again, strict=True)]
        found += [scene.measured(solved, CertifiedHead(requests=10)), scene.measured(summed, Downdate())]
        found += [scene.measured(whole, method) for method in (*NOISY, *(BASELINES if full else ()))]
        rows += [{"share": share, **row} for row in found]
    return rows


@dataclass(frozen=True, eq=False)
class _Scene:
    records: Records
    forget: tuple[str, ...]
    left: Records
    network: Retrained
    head: Retrained
    squares: Retrained
    fresh: dict[int, float] = field(default_factory=dict)
    """Test accuracy of a fresh network by epochs: trained once for all methods of the same effort."""

    def reference(self, name: str, done: Retrained) -> Row:
        """The row of a retraining, compared with itself."""
        base = {"method": name, "claim": "exact", "epsilon": 0.0, "delta": 0.0}
        cost = self._cost(done.seconds, done.evaluations, done)
        return {**base, **cost, **quality(done.model, self.records, self.forget, done.model)}

    def measured(self, start: Trained, method: Method) -> Row:
        """One method: what it claims and what is shown, what it leaves, what it takes."""
        key = os.urandom(32)
        deletion = prepare(start, self.records, self.forget)
        # A copy each time: what a run has prepared for itself is part of its cost.
        done, seconds = processor_seconds(lambda: method.run(replace(deletion, noise_key=key)), REPEATED)
        model, own = done.trained.model, self._own(method)
        epochs = getattr(method, "epochs", None) or seconds / self.network.seconds * self.network.model.recipe.epochs
        return {
            "method": method.describe().name,
            "claim": str(done.claim.kind),
            "epsilon": 0.0 if done.claim.kind is ClaimKind.EXACT else done.claim.epsilon,
            "delta": 0.0 if done.claim.kind is ClaimKind.EXACT else done.claim.delta,
            **_certificate(method, start, done, own.model, self.left, key),
            **self._cost(seconds, done.cost.gradient_evaluations, own),
            **quality(model, self.records, self.forget, own.model),
            **self._stopped(seconds, accuracy_on_test(model, self.left), own),
            "accuracy_fresh_network": self._fresh(epochs),
        }

    def _own(self, method: Method) -> Retrained:
        """Retraining of the model that the method works on."""
        if isinstance(method, CertifiedHead):
            return self.head
        return self.squares if isinstance(method, Downdate) else self.network

    def _cost(self, seconds: float, evaluations: int, own: Retrained) -> Row:
        return {
            "seconds": seconds,
            "time_share": seconds / self.network.seconds,
            "time_share_of_own_retraining": seconds / own.seconds,
            "gradient_evaluations": evaluations,
            "retraining_evaluations": own.evaluations,
        }

    def _stopped(self, seconds: float, accuracy: float, own: Retrained) -> Row:
        """Over training stopped as soon as it is as accurate; `None` where it never is."""

        def over(done: Retrained) -> float | None:
            work = stopped_at(done.moments, accuracy)
            return None if work is None else seconds / (done.seconds * work / done.evaluations)

        return {"time_share_of_stopped_network": over(self.network), "time_share_of_own_stopped": over(own)}

    def _fresh(self, effort: float) -> float:
        """Test accuracy of a fresh network after as many epochs, or as many seconds, as the method took.

        In whole epochs, rounded up: the control may do more than the method, never less.
        """
        recipe, epochs = self.network.model.recipe, math.ceil(effort)
        if epochs not in self.fresh:
            model = train(replace(recipe, epochs=epochs, seed=recipe.seed + 1), self.left).model
            self.fresh[epochs] = accuracy_on_test(model, self.left)
        return self.fresh[epochs]


def _certificate(method: Method, start: Trained, done: Unlearned, again: Model, left: Records, key: bytes) -> Row:
    """Noise used and asked for, epsilon by theorem, and what an attacker shows who knows all but the noise."""
    if isinstance(method, CertifiedHead):
        return _of_head(method, done, left, key)
    if isinstance(method, Downdate):
        return _line(0.0, 0.0, 0.0, float((_flat(done.trained.model) - _flat(again)).norm()))
    if isinstance(method, NoisyFineTuning):
        return _line(done.claim.epsilon, method.sigma, method.sigma, None)
    before, after, goal = (_flat(model) for model in (start.model, done.trained.model, again))
    if isinstance(method, OutputPerturbation):
        centre = _centre(start.model)
        gap = into_ball(before - centre, method.radius) - into_ball(goal - centre, method.radius)
        return _line(done.claim.epsilon, method.sigma, method.sigma, float(gap.norm()))
    if isinstance(method, Newton):
        centre = after - gaussian(after, method.noise, key, "unlearning/newton")
        diameter = 2 * (start.model.recipe.radius or float("inf"))
        bought, needed = epsilon_of(diameter / method.noise, DELTA), sigma_for(diameter, 1.0, DELTA)
        return _line(bought, method.noise, needed, float((centre - goal).norm()))
    return _line(None, None, None, None)


def _of_head(method: CertifiedHead, done: Unlearned, left: Records, key: bytes) -> Row:
    model, part = done.trained.model, left.train
    found = head_of(model.module())
    assert found is not None
    state, l2 = model.constituents[0] or {}, model.recipe.stepwise.weight_decay
    head = Head(fixed_features(model.module(), part.features), part.targets, part.classes, l2)
    released = read_head(state, found[0])
    centre = released - gaussian(released, method.noise, key, "unlearning/head/noise")
    optimum = solve_head(head, centre, gradient_norm=1e-9).weights
    needed = head.distance_bound(centre) / method.privacy.share
    return _line(done.claim.epsilon, method.noise, needed, float((centre - optimum).norm()))


def _line(by_theorem: float | None, sigma: float | None, needed: float | None, distance: float | None) -> Row:
    shown = None if distance is None or not sigma else _shown(distance / sigma)
    return {
        "epsilon_by_theorem": by_theorem,
        "sigma": sigma,
        "sigma_needed": needed,
        "distance_before_noise": distance,
        "shown_epsilon": shown,
    }


def _shown(mu: float) -> float:
    """Lower bound at 95 % from draws along the line between release and reference, `mu` noises apart."""
    return epsilon_lower_bound(mu + normal(SHOTS), normal(SHOTS), DELTA).epsilon


def _centre(model: Model) -> Tensor:
    """The fresh network of the recipe's seed, around which the ball lies."""
    recipe = model.recipe
    module = initialise(recipe.network, model.shape, model.classes, seed=recipe.seed, name="network")
    return fresh(module, layout(module)).double()


def _flat(model: Model) -> Tensor:
    return layout(model.module()).flatten(model.constituents[0] or {}).to(torch.float64)
