"""The game of real training: a coalition is worth what the recipe's sharded model, trained on its owners, achieves.

A constituent is a course of the recipe's own: same initial weights, same batches, same slices as `train` gives the
owners that it saw, hence the same bytes. So U(all) is the accuracy of the deployed model, and U(C) that of `train` on
the records of C alone, stacked instead of one after another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32

from expunge.errors import OperatorError, ProgrammerError
from expunge.networks import State
from expunge.records import Records
from expunge.training import Course, Executor, Model, Recipe, Serial, Sharding, Snapshot, run_courses
from expunge.training.courses import shard_stages
from expunge.valuation.constituents import Measure, Owners, ShardedGame, accuracy
from expunge.valuation.partition import Partition

JOB = 64
"""Constituents in one job at most: a few stacks wide, and little to lose when a worker is killed."""

SMALLEST_JOB = 8
"""Constituents below which a job is not cut further: stacks want to be wide."""


def owners_of(records: Records) -> tuple[str, ...]:
    """Owners of training records, in the order of a game's columns: by name."""
    return tuple(sorted(set(records.train.owners)))


def partition_of(recipe: Recipe, owners: Sequence[str]) -> Partition:
    """The shards that the recipe puts `owners` in (empty ones left out); one shard of all without sharding.

    Without sharding S-Shapley is the ordinary Shapley value, and no constituent is shared between coalitions.

    **Raises:** `ProgrammerError("bad-partition")` where records, not owners, are dealt to shards, or nobody is named.
    """
    if not owners:
        raise ProgrammerError("bad-partition", "there is no owner of training records")
    if recipe.sharding is None:
        return Partition.whole(len(owners))
    if recipe.sharding.by != "owner":
        raise ProgrammerError("bad-partition", "an owner's records lie in many shards: deal owners, not records")
    places = [recipe.sharding.place(owner)[0] for owner in owners]
    shards = (tuple(column for column, place in enumerate(places) if place == shard) for shard in sorted(set(places)))
    return Partition(tuple(shards))


@dataclass(frozen=True, eq=False)
class CoalitionTrainer:
    """Trains one constituent for each set of owners, in stacks, and applies it to the test records.

    **Arguments:**

    - `recipe`: its slices hold within each constituent; its shards are the partition's.
    - `records`: training records of `names`, and the test records.
    - `names`: the owner of each column.
    - `shard_of`: number of each column's shard, which names the constituent's initial weights.
    - `executor`: where the jobs run; the bytes do not depend on it.
    """

    recipe: Recipe
    records: Records
    names: tuple[str, ...]
    shard_of: dict[int, int]
    executor: Executor

    def __call__(self, owner_sets: Sequence[Owners]) -> Float32[np.ndarray, "constituents records classes"]:
        """Posteriors over the test records, in the order of `owner_sets`."""
        rows = self._rows()
        plan = [self._course(owners, rows) for owners in owner_sets]
        parts = 2 * self.executor.workers if self.executor.workers > 1 else 1
        size = min(JOB, max(SMALLEST_JOB, -(-len(plan) // parts)))
        jobs = [tuple(plan[first : first + size]) for first in range(0, len(plan), size)]
        shared = _Shared(replace(self.recipe, sharding=None), self.records)
        return np.concatenate(list(self.executor.map(_posteriors, shared, jobs)))

    def _rows(self) -> dict[int, list[int]]:
        column = {name: number for number, name in enumerate(self.names)}
        rows: dict[int, list[int]] = {number: [] for number in column.values()}
        for row, owner in enumerate(self.records.train.owners):
            if owner in column:
                rows[column[owner]].append(row)
        return rows

    def _course(self, owners: Owners, rows: dict[int, list[int]]) -> Course:
        """What `courses` gives the shard of these owners, on records that hold no others of the shard."""
        shard, sharding = self.shard_of[owners[0]], self.recipe.sharding or Sharding(1, 1)
        part_of = {owner: sharding.place(self.names[owner])[1] for owner in owners}
        held = sorted((row, part_of[owner]) for owner in owners for row in rows[owner])
        places = [(shard, part) for _, part in held]
        stages = tuple(
            replace(stage, rows=tuple(held[place][0] for place in stage.rows))
            for stage in shard_stages(shard, sharding.slices, places, sharding.slice_epochs(self.recipe.epochs))
        )
        if self.recipe.sharding is None:
            return Course("network", (replace(stages[0], name="train"),), self.recipe.seed)
        return Course(f"shard/{shard}", stages, self.recipe.seed)


@dataclass(frozen=True, eq=False)
class _Shared:
    """What every job needs."""

    recipe: Recipe
    records: Records


class _Forgetful:
    """Checkpoints that keep nothing: constituents of one shard share the names of its stages."""

    every: int | None = None

    def load(self, name: str) -> State | None:
        """Nothing is kept."""
        del name
        return None

    def save(self, name: str, state: State) -> None:
        """Keeps nothing."""
        del name, state

    def load_snapshot(self, name: str) -> Snapshot | None:
        """Nothing is kept."""
        del name
        return None

    def save_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keeps nothing."""
        del name, snapshot


def _posteriors(shared: _Shared, job: tuple[Course, ...]) -> Float32[np.ndarray, "constituents records classes"]:
    """One job, in whatever process. Owners without a record in the first slices train nothing there."""
    part, test = shared.records.train, shared.records.test
    states = run_courses(shared.recipe, part, job, checkpoints=_Forgetful()).states
    kept = tuple(state for state in states if state is not None)
    model = Model(shared.recipe, part.shape, part.classes, kept)
    found = model.posteriors(test.features).to(torch.float32).numpy()
    return found.astype(np.float32, copy=False)


def training_game(
    recipe: Recipe,
    records: Records,
    *,
    names: Sequence[str] | None = None,
    partition: Partition | None = None,
    measure: Measure = accuracy,
    empty: float | None = None,
    executor: Executor | None = None,
) -> ShardedGame:
    """The utility of sharded training on the training records, measured on the test records.

    **Arguments:**

    - `names`: the owner of each column; `owners_of(records)` unless given. One without records may stand among them.
    - `partition`: other shards than the recipe's; the recipe's slices and aggregation stay.
    - `measure`, `empty`: as for `ShardedGame`.
    - `executor`: where constituents are trained; this process unless given.

    **Raises:** `OperatorError("bad-data")` for regression or without test records, `ProgrammerError("bad-partition")`.
    """
    if not records.classes or not len(records.test):
        raise OperatorError("bad-data", "values are measured by class predictions on test records: there are none")
    columns = tuple(owners_of(records) if names is None else names)
    chosen = partition or partition_of(recipe, columns)
    known = set(records.train.owners)
    if any(owner >= len(columns) or columns[owner] not in known for owner in chosen.owners):
        raise ProgrammerError("bad-partition", "an owner of the partition has no training record")
    trainer = CoalitionTrainer(recipe, records, columns, _shard_numbers(recipe, columns, chosen), executor or Serial())
    return ShardedGame(
        chosen,
        len(columns),
        trainer,
        records.test.targets.numpy().copy(),
        measure=measure,
        aggregation=recipe.sharding.aggregation if recipe.sharding else "mean",
        empty=empty,
    )


def _shard_numbers(recipe: Recipe, names: Sequence[str], partition: Partition) -> dict[int, int]:
    """The recipe's own numbers where the shards are its own, so that constituents have the deployed model's bytes."""
    if recipe.sharding is None or recipe.sharding.by != "owner":
        return partition.shard_of
    places = {column: recipe.sharding.place(names[column])[0] for column in partition.owners}
    theirs = {frozenset(shard) for shard in partition.shards}
    ours: dict[int, set[int]] = {}
    for column, place in places.items():
        ours.setdefault(place, set()).add(column)
    return places if theirs == {frozenset(shard) for shard in ours.values()} else partition.shard_of
