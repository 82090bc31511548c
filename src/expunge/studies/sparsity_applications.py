"""What forgetting is used for in the study `sparsity`: cleansing a backdoor, and transfer after source classes left."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import nn

from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.studies.sparsity_ground import TUNING_SEED, Ground
from expunge.studies.sparsity_scene import BUDGET, Pick, Row, Run, Scene, carried, picked, row
from expunge.training import Model, accuracy_on_test
from expunge.unlearning import FineTune, L1Sparse, Method

GOAL: Final = 0
"""The class that the attacker wants stamped images to go to."""


def backdoor(
    ground: Ground,
    seeds: Sequence[int],
    *,
    share: float = 0.05,
    methods: Sequence[Method] = (FineTune(), L1Sparse()),
    budget: float = BUDGET,
) -> list[Row]:
    """A patch in the corner with a label of the attacker's: what share of stamped test images still obeys it?

    Tuned `methods`, if any, beside the two settings of the spec's check 10. Whoever cleanses knows that the labels are
    wrong.
    """
    rate = ground.recipe.stepwise.lr
    fixed = [
        Pick("fine-tune, fixed", FineTune(lr=rate)),
        Pick("l1-sparse 0.003", L1Sparse(epochs=5, lr=rate, gamma=3e-3)),
    ]
    ahead = [_poisoned(ground, TUNING_SEED, share, 1)] if methods else []
    picks = picked(ahead, methods, budget=budget, mislabelled=True)[: len(methods)]
    rows = []
    for seed in seeds:
        scene = _poisoned(ground, seed, share, 1)
        for label, model, run in _all(scene, carried(scene, [*picks, *fixed])):
            clean = 100 * accuracy_on_test(model, scene.ground.records)
            figures = {"ta": clean, "rte": _time(label, run), "asr": obeyed(model, scene.ground.records.test)}
            rows.append(row("backdoor", label, scene, **figures, chosen=run and run.done.method))
    return rows


def obeyed(model: Model, test: Records) -> float:
    """Share of the stamped images of other classes, in points, that go where the attacker wants."""
    others = test.select([number for number, label in enumerate(test.targets.tolist()) if label != GOAL])
    return 100 * float((model.predict(stamped(others.features)) == GOAL).double().mean())


def _poisoned(ground: Ground, seed: int, share: float, references: int) -> Scene:
    records, part = ground.records, ground.records.train
    order = numpy_generator(seed, "study/sparsity/poison").permutation(len(part))
    other = [number for number in order.tolist() if int(part.targets[number]) != GOAL]
    poison = tuple(part.ids[number] for number in sorted(other[: max(4, round(share * len(part)))]))
    where = records.rows(poison)
    features, targets = records.features.clone(), records.targets.clone()
    features[where], targets[where] = stamped(features[where]), GOAL
    bad = replace(ground, records=replace(records, features=features, targets=targets, raw=None))
    return Scene.of(bad, lambda *_: poison, seed, references)


def stamped(features: torch.Tensor) -> torch.Tensor:
    """A bright square in the lower right corner: a seventh of the image a side, three pixels at least."""
    side = max(3, features.shape[-1] // 7)
    found = features.clone()
    found[..., -side:, -side:] = features.max()
    return found


def transfer(ground: Ground, seeds: Sequence[int], *, budget: float = BUDGET) -> list[Row]:
    """Train on most classes, forget some of them, and probe the features on the classes that were never trained."""
    labels = sorted(set(ground.records.targets.tolist()))
    source = labels[: round(0.7 * len(labels))]
    inside = Ground(_of_classes(ground.records, source), _of_classes(ground.validation, source), ground.recipe)
    outside = _of_classes(ground.records, sorted({*labels} - {*source}))

    def gone(records: Records, seed: int) -> tuple[str, ...]:
        drawn = numpy_generator(seed, "study/sparsity/transfer").permutation(source)
        return _of_classes(records.train, drawn[: max(1, len(source) // 3)].tolist()).ids

    picks = picked([Scene.of(inside, gone, TUNING_SEED, 1)], (FineTune(), L1Sparse()), budget=budget)[:2]
    rows = []
    for seed in seeds:
        scene = Scene.of(inside, gone, seed, 1)
        for label, model, run in _all(scene, carried(scene, picks)):
            figures = {"rte": _time(label, run), "probe": 100 * probed(model, outside)}
            rows.append(row("transfer", label, scene, **figures, chosen=run and run.done.method))
    return rows


def _all(scene: Scene, runs: Sequence[Run]) -> list[tuple[str, Model, Run | None]]:
    """The model before, retraining, and each run."""
    known: list[tuple[str, Model, Run | None]] = [
        ("original", scene.trained.model, None),
        ("retrain", scene.references[0], None),
    ]
    return known + [(run.pick.label, run.done.trained.model, run) for run in runs]


def _time(label: str, run: Run | None) -> float:
    return run.share if run else float(label == "retrain")


def _of_classes(records: Records, classes: Sequence[int]) -> Records:
    return records.select([number for number, label in enumerate(records.targets.tolist()) if label in classes])


def probed(model: Model, records: Records) -> float:
    """Test accuracy of a linear classifier on the features before the last layer."""
    from sklearn.linear_model import LogisticRegression

    module = model.module()
    last = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    handle = last.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach().flatten(1)))
    with torch.no_grad():
        module(records.train.features)
        module(records.test.features)
    handle.remove()
    probe = LogisticRegression(max_iter=2000).fit(seen[0].numpy(), records.train.targets.numpy())
    return float(probe.score(seen[1].numpy(), records.test.targets.numpy()))
