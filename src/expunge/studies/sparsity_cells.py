"""Cells of the study `sparsity` beside its scenarios: doses, pruning first, and requests one after another."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from expunge.networks import MLP
from expunge.studies.sparsity_ground import TUNING_SEED, Ground, at_random, one_class
from expunge.studies.sparsity_scene import Pick, Row, Run, Scene, carried, evaluated, picked, row
from expunge.training import Magnitude
from expunge.unlearning import FineTune, L1Sparse, Method, unlearn


def doses(ground: Ground, seeds: Sequence[int]) -> list[Row]:
    """Class-wise fine-tuning at rising rates, and the penalty at rising gamma: UA against the dose."""
    rate = ground.recipe.stepwise.lr
    tried: list[tuple[str, FineTune | L1Sparse]] = [
        *[("fine-tune", FineTune(lr=rate * each)) for each in (0.2, 1, 2, 4)],
        *[("l1-sparse", L1Sparse(epochs=5, lr=rate, gamma=gamma)) for gamma in (3e-4, 1e-3, 3e-3)],
        ("l1-sparse, constant", L1Sparse(epochs=5, lr=rate, gamma=3e-3, trend="constant")),
    ]
    rows = []
    for seed in seeds:
        scene = Scene.of(ground, one_class, seed, 1)
        for run in carried(scene, [Pick(label, method) for label, method in tried]):
            figures = scene.figures(run.done.trained.model)
            own = {"lr": run.done.method["lr"], "gamma": run.done.method.get("gamma")}
            rows.append(row("dose", run.pick.label, scene, **figures, rte=run.share, **own))
    return rows


def prune_first(ground: Ground, seeds: Sequence[int], levels: Sequence[float]) -> list[Row]:
    """Class-wise fine-tuning of a batch-norm network, dense and pruned: which sign does prune-first have here?"""
    rows: list[Row] = []
    wide = (512, 256) if np.prod(ground.records.shape) > 100 else (256, 128)
    normed = replace(ground, recipe=replace(ground.recipe, network=MLP(wide, batch_norm=True)))
    for seed in seeds:
        for level in levels:
            scene = Scene.of(normed, one_class, seed, 2, Magnitude(level) if level else None)
            rows += evaluated(scene, "prune-first", carried(scene, [Pick("fine-tune", FineTune(lr=0.03))]))
    return rows


def sequential(ground: Ground, seeds: Sequence[int], methods: Sequence[Method]) -> list[Row]:
    """Four requests of 2.5 % after each other against one of 10 %, at what tuning chose for the one."""
    picks = picked([Scene.of(ground, at_random(0.1), TUNING_SEED, 1)], methods)[: len(methods)]
    rows = []
    for seed in seeds:
        scene = Scene.of(ground, at_random(0.1), seed, 2)
        for pick in picks:
            once = carried(scene, [replace(pick, label=f"{pick.label}, at once")])
            rows += evaluated(scene, "sequential", [_in_a_row(scene, pick), *once])[-2:]
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
