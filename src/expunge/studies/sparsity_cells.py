"""Cells of the study `sparsity` beside its scenarios: doses, pruning first, and requests one after another."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from expunge.networks import MLP
from expunge.studies.sparsity_ground import TUNING_SEED, Ground, at_random, one_class
from expunge.studies.sparsity_scene import (
    BUDGET,
    SMALL_RATE,
    Pick,
    Row,
    Run,
    Scene,
    carried,
    evaluated,
    picked,
    scenario,
)
from expunge.training import Magnitude, Recipe
from expunge.unlearning import FineTune, GradientAscent, L1Sparse, Method, unlearn


def small_rate(method: Method, recipe: Recipe) -> tuple[Method, ...]:
    """The paper's own setting of `l1-sparse`: 10 epochs at a constant fifth of the recipe's rate, 0.01 as there."""
    assert isinstance(method, L1Sparse)
    rate = recipe.stepwise.lr / 5
    return tuple(replace(method, epochs=10, lr=rate, gamma=gamma) for gamma in (6e-3, 1.2e-2, 3e-3))


def same_rate(ground: Ground, seeds: Sequence[int], *, choosing: int = 1, budget: float = BUDGET) -> list[Row]:
    """The paper's own comparison, class-wise: fine-tuning and the penalty at one small rate; gamma alone is chosen."""
    room = 1.05 * budget  # what rounding to whole steps takes
    return scenario(
        ground,
        SMALL_RATE,
        one_class,
        seeds,
        (L1Sparse(),),
        references=1,
        choosing=choosing,
        budget=room,
        grid=small_rate,
    )


def doses(ground: Ground, seeds: Sequence[int]) -> list[Row]:
    """Class-wise fine-tuning and ascent at rising rates, and the penalty at rising gamma: UA against the dose."""
    rate = ground.recipe.stepwise.lr
    tried: list[tuple[str, Method]] = [
        *[("fine-tune", FineTune(lr=rate * each)) for each in (0.2, 1, 2, 4)],
        *[("l1-sparse", L1Sparse(epochs=5, lr=rate, gamma=gamma)) for gamma in (3e-4, 1e-3, 3e-3)],
        ("l1-sparse, constant", L1Sparse(epochs=5, lr=rate, gamma=3e-3, trend="constant")),
        *[("gradient-ascent", GradientAscent(lr=rate * each)) for each in (0.06, 0.6, 2)],
    ]
    rows: list[Row] = []
    for seed in seeds:
        scene = Scene.of(ground, one_class, seed, 1)
        found = evaluated(scene, "dose", carried(scene, [Pick(label, method) for label, method in tried]))
        rows += [{**each, **{key: (each["chosen"] or {}).get(key) for key in ("lr", "gamma")}} for each in found]
    return rows


def prune_first(ground: Ground, seeds: Sequence[int], levels: Sequence[float]) -> list[Row]:
    """Class-wise fine-tuning of a batch-norm network, dense and pruned: which sign does prune-first have here?"""
    rows: list[Row] = []
    wide = (512, 256) if np.prod(ground.records.shape) > 100 else (256, 128)
    normed = replace(ground, recipe=replace(ground.recipe, network=MLP(wide, batch_norm=True)))
    for seed in seeds:
        for level in levels:
            scene = Scene.of(normed, one_class, seed, 1, Magnitude(level) if level else None)
            rows += evaluated(scene, "prune-first", carried(scene, [Pick("fine-tune", FineTune(lr=0.03))]))
    return rows


def sequential(ground: Ground, seeds: Sequence[int], methods: Sequence[Method], *, budget: float = BUDGET) -> list[Row]:
    """Four requests of 2.5 % after each other against one of 10 %, at what tuning chose for the one."""
    picks = picked([Scene.of(ground, at_random(0.1), TUNING_SEED, 1)], methods, budget=budget)[: len(methods)]
    rows: list[Row] = []
    for seed in seeds:
        scene = Scene.of(ground, at_random(0.1), seed, 2)
        once = carried(scene, [replace(pick, label=f"{pick.label}, at once") for pick in picks])
        rows += evaluated(scene, "sequential", [*(_in_a_row(scene, pick) for pick in picks), *once])
    return rows


def _in_a_row(scene: Scene, pick: Pick) -> Run:
    started = time.process_time()
    now, left, done = scene.trained, scene.ground.records, None
    for part in np.array_split(np.array(scene.forget), 4):
        done = unlearn(now, left, part.tolist(), pick.method, seed=scene.seed)
        now, left = done.trained, left.without(part.tolist())
    assert done is not None
    share = (time.process_time() - started) / scene.retraining_seconds
    return Run(replace(pick, label=f"{pick.label}, four in a row"), done, share)
