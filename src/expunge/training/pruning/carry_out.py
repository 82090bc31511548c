"""Carrying pruning out at the start of a network's first stage."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from expunge.networks import state_of
from expunge.training.checkpoints import Snapshot
from expunge.training.courses import Stage
from expunge.training.engine import run_stage
from expunge.training.pruning.kinds import (
    SNIP,
    GraSP,
    Iterative,
    Magnitude,
    Pruning,
    RandomPruning,
    SynFlow,
    rewound_steps,
)
from expunge.training.pruning.masks import Mask, highest, masked, prunable
from expunge.training.pruning.scores import balanced, grasp, random_scores, snip, synflow
from expunge.training.recipe import Recipe


def sparse_start(
    module: nn.Module,
    recipe: Recipe,
    stage: Stage,
    seed: int,
    features: Tensor,
    targets: Tensor,
    stepped: Callable[[int], None] | None = None,
) -> Snapshot:
    """Where training under the mask begins, for a `module` that stands at its initial weights.

    Only the records of `stage` are looked at: a mask depends on what its network may see, and on nothing else.

    **Raises:** what training raises.
    """
    kind = recipe.pruning
    assert kind is not None
    if isinstance(kind, Magnitude | Iterative):
        return _by_training(module, recipe, kind, stage, seed, features, targets, stepped)
    mask = _at_start(module, recipe, kind, stage, seed, features, targets)
    width = min(recipe.batch_size, len(stage.rows))
    if stepped is not None:
        stepped(kind.extra(stage.steps(recipe.batch_size), width, len(stage.rows)))
    return Snapshot(0, masked(state_of(module), mask), {})


def _by_training(
    module: nn.Module,
    recipe: Recipe,
    kind: Magnitude | Iterative,
    stage: Stage,
    seed: int,
    features: Tensor,
    targets: Tensor,
    stepped: Callable[[int], None] | None,
) -> Snapshot:
    width = min(recipe.batch_size, len(stage.rows))
    back = rewound_steps(kind.rewind, stage.steps(recipe.batch_size), width, len(stage.rows))
    kept = [Snapshot(0, state_of(module), {})] if not back else []

    def keep(snapshot: Snapshot) -> None:
        if not kept:
            kept.append(snapshot)

    train = partial(run_stage, module, stage=stage, seed=seed, features=features, targets=targets, stepped=stepped)
    train(recipe=replace(recipe, pruning=None), every=back or None, keep=keep)
    densities = kind.densities()
    for number, density in enumerate(densities, 1):
        mask = highest({name: weight.detach().abs() for name, weight in prunable(module).items()}, density)
        start = replace(kept[0], state=masked(kept[0].state, mask))
        if number < len(densities):
            train(recipe=recipe, snapshot=start)
    return start


def _at_start(
    module: nn.Module, recipe: Recipe, kind: Pruning, stage: Stage, seed: int, features: Tensor, targets: Tensor
) -> Mask:
    name = f"{stage.name}/pruning"
    (density, *_) = kind.densities()
    if isinstance(kind, SynFlow):
        return synflow(module, tuple(features.shape[1:]), kind.densities())
    if isinstance(kind, RandomPruning):
        return highest(random_scores(module, seed, name), density)
    assert isinstance(kind, SNIP | GraSP)
    rows = torch.tensor(stage.rows, dtype=torch.long)
    rows = rows[balanced(targets[rows], kind.batch, seed, name)]
    module.eval()
    outputs = module(features[rows])
    if isinstance(kind, SNIP):
        return highest(snip(module, recipe.loss.mean(outputs, targets[rows])), density)
    return highest(grasp(module, recipe.loss.mean(outputs / kind.temperature, targets[rows])), density)
