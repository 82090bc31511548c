"""What the study `sparsity` stands on: records, a recipe, and which records are to be forgotten."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from torch import nn

from expunge.auditing.outputs import outputs
from expunge.networks import CNN, MLP
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.training import SGD, Recipe, train

TUNING_SEED: Final = 10_009
"""Of the model and the deletion that hyper-parameters and winners are chosen on; no figure is reported on it."""

FEW: Final = 500
"""Training records of the network that learns by heart; never more than two fifths of what there is."""


@dataclass(frozen=True, eq=False)
class Ground:
    """Records, validation records that only tuning sees, and the recipe of the study."""

    records: Records
    validation: Records
    recipe: Recipe

    @staticmethod
    @lru_cache(maxsize=2)
    def of(records: Records, scale: str) -> "Ground":
        """The same for every seed: less a tenth; `small` takes 2,000 images of 14 x 14 pixels at most."""
        chosen = shrunk(records) if scale == "small" else records
        rows = [row for row, part in enumerate(chosen.split) if part == "train"]
        drawn = numpy_generator(0, "study/sparsity/validation").permutation(rows)
        image = len(chosen.shape) == 3 and min(chosen.shape[1:]) >= 8
        recipe = Recipe(
            network=CNN() if image else MLP((64,)), optimiser=SGD(lr=0.05, weight_decay=5e-4), epochs=15, batch_size=64
        )
        return _parted(chosen, drawn[: max(20, len(rows) // 10)].tolist(), recipe)

    @staticmethod
    def by_heart(records: Records) -> "Ground":
        """Few records, a wide network, many epochs, no decay: LiRA tells members here, so that forgetting can show."""
        chosen = shrunk(records)
        rows = [row for row, part in enumerate(chosen.split) if part == "train"]
        drawn = numpy_generator(0, "study/sparsity/few").permutation(rows)
        recipe = Recipe(network=MLP((128,)), optimiser=SGD(lr=0.1), epochs=60, batch_size=32)
        return _parted(chosen, drawn[min(FEW, 2 * len(rows) // 5) :].tolist(), recipe)


def _parted(records: Records, held: Sequence[int], recipe: Recipe) -> Ground:
    left = sorted({*range(len(records))} - {*held})
    return Ground(records.select(left), records.select(sorted(held)), recipe)


def shrunk(records: Records) -> Records:
    """Few and small enough for five minutes."""
    kept: list[int] = []
    for part, most in (("train", 2000), ("test", 1000)):
        rows = [row for row, own in enumerate(records.split) if own == part]
        kept += sorted(numpy_generator(0, f"study/sparsity/{part}").permutation(rows)[:most].tolist())
    few = records.select(sorted(kept))
    if len(few.shape) == 3 and min(few.shape[1:]) > 16:
        return replace(few, features=nn.functional.adaptive_avg_pool2d(few.features, 14), raw=None)
    return few


Forget = Callable[[Records, int], tuple[str, ...]]
"""Ids of the records to forget, for a seed."""


def one_class(records: Records, seed: int) -> tuple[str, ...]:
    """All training records of one class."""
    part = records.train
    labels = sorted(set(part.targets.tolist()))
    label = labels[(3 + seed) % len(labels)]
    return tuple(one for one, own in zip(part.ids, part.targets.tolist(), strict=True) if own == label)


def at_random(share: float) -> Forget:
    """A share of the training records, over all classes."""

    def draw(records: Records, seed: int) -> tuple[str, ...]:
        """A forget set of one seed."""
        part = records.train
        order = numpy_generator(seed, f"study/sparsity/random/{share}").permutation(len(part))
        return tuple(part.ids[row] for row in sorted(order[: max(2, round(share * len(part)))]))

    return draw


def one_owner(records: Records, seed: int) -> tuple[str, ...]:
    """The records of an owner among those with most."""
    owners = list(records.train.owners)
    counts = sorted(((owners.count(one), one) for one in set(owners)), reverse=True)
    name = counts[seed % len(counts)][1]
    return tuple(one for one, own in zip(records.train.ids, owners, strict=True) if own == name)


def memorised(recipe: Recipe, share: float = 0.05) -> Forget:
    """Records that are learnt by heart: of lowest confidence in a model that was trained on the other half."""

    def draw(records: Records, seed: int) -> tuple[str, ...]:
        """A forget set of one seed."""
        part = records.train
        order = numpy_generator(seed, "study/sparsity/halves").permutation(len(part))
        known = np.zeros(len(part))
        for unseen in (order[::2], order[1::2]):
            left = records.without([part.ids[row] for row in unseen])
            model = train(replace(recipe, seed=seed), left).model
            known[unseen] = outputs(model, part.select(unseen.tolist())).confidence
        return tuple(part.ids[row] for row in sorted(np.argsort(known)[: max(2, round(share * len(part)))]))

    return draw
