"""The task of the study `valuation`: few enough owners and records that exact values are known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from expunge.errors import OperatorError
from expunge.networks import MLP
from expunge.randomness import derive, numpy_generator
from expunge.records import Records
from expunge.training import SGD, Executor, Recipe, Sharding
from expunge.valuation import (
    Adjusted,
    Complementary,
    Estimator,
    Multilinear,
    Partition,
    Permutation,
    ShardedGame,
    Truncated,
    UtilitySampling,
    owners_of,
    training_game,
)

ESTIMATORS: dict[str, Estimator] = {
    "permutation": Permutation(),
    "utility": UtilitySampling(),
    "complementary": Complementary(),
    "multilinear": Multilinear(),
    "truncated": Truncated(tolerance=0.005, dip=0.005),
    "ours": Adjusted(),
}


@dataclass(frozen=True)
class Size:
    """Owners and shards of a task, and records at most: exact values take (2^k - 1) m trainings for m shards of k."""

    owners: int
    shards: int
    training: int
    tests: int


SIZES = {"small": Size(32, 4, 1200, 400), "full": Size(64, 8, 2400, 1000)}

EXACT = 1e-12
"""Error that counts as none: an estimator that has exhausted its strata."""

RECIPE = Recipe(network=MLP((16,)), optimiser=SGD(lr=0.1), epochs=10, batch_size=32)


@dataclass(frozen=True, eq=False)
class Task:
    """Records dealt to owners in shards of equal size, and the recipe."""

    records: Records
    partition: Partition
    recipe: Recipe
    noisy: Bool[np.ndarray, " owners"]

    def game(self, executor: Executor | None = None) -> ShardedGame:
        """A game that has trained nothing yet."""
        return training_game(self.recipe, self.records, partition=self.partition, executor=executor)


def task_of(records: Records, scale: str, seed: int, noisy: float = 0.0) -> Task:
    """The data's owners in as many groups of about equal size as the task has owners; each group is valued as one.

    **Arguments:** `noisy`: share of the groups whose training labels are all flipped to the next class.

    **Raises:** `OperatorError("bad-data")` for regression, and for fewer than eight owners in the training records.
    """
    size = SIZES[scale]
    if not records.classes or len(set(records.train.owners)) < 8:
        raise OperatorError("bad-data", "values are studied by classification, for eight owners or more")
    generator = numpy_generator(seed, "study/valuation/task")
    records = _fewer(records, size, generator)
    names = sorted(set(records.train.owners))
    count = min(size.owners, len(names) // size.shards * size.shards) or len(names)
    shards = size.shards if count % size.shards == 0 else 1
    group = {
        names[place]: f"group-{number % count:03d}" for number, place in enumerate(generator.permutation(len(names)))
    }
    records = replace(records, owners=tuple(group.get(owner, "elsewhere") for owner in records.owners), raw=None)
    bad = np.isin(np.arange(count), generator.permutation(count)[: round(noisy * count)])
    records = _flipped(records, {f"group-{number:03d}" for number in np.flatnonzero(bad)})
    assert owners_of(records) == tuple(f"group-{number:03d}" for number in range(count))
    recipe = replace(RECIPE, seed=derive(seed, "study/valuation/recipe"), sharding=Sharding(shards))
    return Task(records, Partition.even(count, shards), recipe, bad)


def _fewer(records: Records, size: Size, generator: np.random.Generator) -> Records:
    rows = []
    for part, most in (("train", size.training), ("test", size.tests)):
        held = np.flatnonzero(np.array(records.split) == part)
        rows += sorted(generator.permutation(held)[:most].tolist())
    return records.select(sorted(rows))


def _flipped(records: Records, groups: set[str]) -> Records:
    """Training labels of these groups become the next class: mistakes that agree, which averaging does not cure."""
    hit = [part == "train" and owner in groups for owner, part in zip(records.owners, records.split, strict=True)]
    moved = (records.targets + 1) % records.classes
    return replace(records, targets=torch.where(torch.tensor(hit), moved, records.targets))


def auroc(worth: Float[np.ndarray, " owners"], noisy: Bool[np.ndarray, " owners"]) -> float:
    """Probability that a noisy owner's value stands below another's; half for ties."""
    bad, good = worth[noisy], worth[~noisy]
    return float(np.mean((bad[:, None] < good) + 0.5 * (bad[:, None] == good)))


def ratio_at_equal_error(
    rows: Sequence[dict[str, Any]], slow: str, fast: str, cost: str = "evaluations"
) -> float | None:
    """`cost` of `slow` over that of `fast` at the errors that both reach; None where one has no complete run.

    Between budgets costs follow log-log lines (geometric mean over nine errors). Without an error in common the
    two nearest points are carried together by error ~ 1/sqrt(cost).
    """
    lines = [
        sorted((max(row["rmse"], EXACT), row[cost]) for row in rows if row["estimator"] == name and row["complete"])
        for name in (slow, fast)
    ]
    if not all(lines):
        return None
    low, high = max(line[0][0] for line in lines), min(line[-1][0] for line in lines)
    if low >= high:
        apart = [line[0 if line[0][0] == low else -1] for line in lines]
        return float(apart[0][1] * apart[0][0] ** 2 / (apart[1][1] * apart[1][0] ** 2))
    at = np.log(np.geomspace(low, high, 9))
    needed = [np.interp(at, np.log([e for e, _ in line]), np.log([n for _, n in line])) for line in lines]
    return float(np.exp(np.mean(needed[0] - needed[1])))
