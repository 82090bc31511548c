"""Courses: what each constituent network goes through. One course per network, one stage per slice."""

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training.recipe import Recipe


@dataclass(frozen=True)
class Stage:
    """Training on `rows` for `epochs`; `name` keys its randomness and its checkpoint."""

    name: str
    rows: tuple[int, ...]
    epochs: float

    def steps(self, batch_size: int) -> int:
        """Number of optimiser steps; 0 without records."""
        width = min(batch_size, len(self.rows))
        return math.ceil(self.epochs * len(self.rows) / width) if width else 0

    def evaluations(self, batch_size: int) -> int:
        """Gradients of single records: steps times records in a step."""
        return self.steps(batch_size) * min(batch_size, len(self.rows))


@dataclass(frozen=True)
class Course:
    """A network from its initial weights (named by `name`, or `start`) through its stages, under one seed."""

    name: str
    stages: tuple[Stage, ...]
    seed: int
    start: State | None = None

    def evaluations(self, batch_size: int) -> int:
        """Gradients of single records over all stages."""
        return sum(stage.evaluations(batch_size) for stage in self.stages)


def evaluations(recipe: Recipe, plan: Iterable[Course]) -> int:
    """Gradients of single records that the courses take under this recipe, pruning included."""
    return sum(course.evaluations(recipe.batch_size) + _of_pruning(recipe, course) for course in plan)


def first_with_records(course: Course) -> Stage | None:
    """The stage in which a network that starts from its initial weights is pruned."""
    return next((stage for stage in course.stages if stage.rows), None)


def all_trained(recipe: Recipe, records: Records, known: Container[str]) -> bool:
    """Whether each network of the recipe that has records has its last stage among the `known` checkpoints.

    **Arguments:** `records`: the training part only.
    """
    last = (course.stages[-1] for course in courses(recipe, records))
    return all(stage.name in known for stage in last if stage.rows)


def _of_pruning(recipe: Recipe, course: Course) -> int:
    first = first_with_records(course)
    if recipe.pruning is None or first is None or course.start is not None:
        return 0
    width = min(recipe.batch_size, len(first.rows))
    return recipe.pruning.extra(first.steps(recipe.batch_size), width, len(first.rows))


def courses(recipe: Recipe, records: Records) -> tuple[Course, ...]:
    """The courses of a recipe over the training records: one, or one per shard.

    **Arguments:** `records`: the training part only.
    """
    if recipe.sharding is None:
        stage = Stage("train", tuple(range(len(records))), recipe.epochs)
        return (Course("network", (stage,), recipe.seed),)
    sharding = recipe.sharding
    places = sharding.places(records)
    epochs = sharding.slice_epochs(recipe.epochs)
    return tuple(
        Course(f"shard/{shard}", shard_stages(shard, sharding.slices, places, epochs), recipe.seed)
        for shard in range(sharding.shards)
    )


def shard_stages(shard: int, slices: int, places: Sequence[tuple[int, int]], epochs: float) -> tuple[Stage, ...]:
    """The stages of one shard, `epochs` each, where row r of the records stands at `places[r]` (shard, slice)."""
    inside = [(row, piece) for row, (where, piece) in enumerate(places) if where == shard]
    return tuple(
        Stage(f"shard/{shard}/slice/{last}", tuple(row for row, piece in inside if piece <= last), epochs)
        for last in range(slices)
    )


@runtime_checkable
class Batches(Protocol):
    """Which rows each step trains on."""

    def __getitem__(self, step: int) -> Int[Tensor, " width"]:
        """Rows of step `step`."""


class BatchStream:
    """Rows of each step of a stage: windows of equal width over an endless stream of shuffled passes.

    Step t reads positions [t w, (t+1) w) of pass 0, pass 1, ... joined, so that every batch has the same width (no
    short last batch to wreck batch-norm statistics) and any step can be found without walking there.
    """

    def __init__(self, stage: Stage, batch_size: int, seed: int) -> None:
        self.rows = torch.tensor(stage.rows, dtype=torch.long)
        self.width = min(batch_size, len(stage.rows))
        self._name, self._seed = stage.name, seed
        self._passes: dict[int, Int[Tensor, " rows"]] = {}

    def __getitem__(self, step: int) -> Int[Tensor, " width"]:
        """Rows of step `step`."""
        return self._window(step * self.width, (step + 1) * self.width)

    def block(self, first: int, last: int) -> Int[Tensor, "steps width"]:
        """Rows of steps `first` to `last`, the last left out."""
        return self._window(first * self.width, last * self.width).view(last - first, self.width)

    def _window(self, first: int, last: int) -> Int[Tensor, " positions"]:
        """Positions `first` to `last` of the stream."""
        count = len(self.rows)
        parts = []
        for number in range(first // count, (last - 1) // count + 1):
            offset = number * count
            parts.append(self._pass(number)[max(first - offset, 0) : last - offset])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _pass(self, number: int) -> Int[Tensor, " rows"]:
        if number not in self._passes:
            self._passes.pop(number - 2, None)  # at most two passes meet in a batch
            generator = torch_generator(self._seed, f"{self._name}/pass/{number}")
            self._passes[number] = self.rows[torch.randperm(len(self.rows), generator=generator)]
        return self._passes[number]


def check_batches(stage: Stage, batch_size: int, *, two_needed: bool) -> None:
    """Refuse steps of one record where the network cannot take them.

    **Raises:** `ProgrammerError("batch-of-one")`.
    """
    if two_needed and len(stage.rows) and min(batch_size, len(stage.rows)) < 2:
        raise ProgrammerError("batch-of-one", "the network has batch normalisation and a batch would hold one record")
