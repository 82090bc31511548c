"""Which segments of a run stand out: how far they moved what is trained, and how far they may."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from expunge.training import Adam, Recipe
from expunge.verification.proof import Proof, Track, distance, is_statistic

Place = tuple[int, int]
"""Track and segment."""

ADAM_STEP: Final = 7.3
"""Learning rates that a coordinate moves at most in a step of Adam: root of (0.1^2 / 0.001) / (1 - 0.81 / 0.999)."""


def displacement_bound(proof: Proof, recipe: Recipe, place: Place) -> float:
    """How far the weights can move in a segment, in L2; infinite where the recipe bounds neither weights nor steps.

    In a ball two points are 2 radius apart at most. A coordinate of Adam's step is at most `ADAM_STEP` learning rates
    (Cauchy-Schwarz over its two averages, at torch's 0.9 and 0.999), and its decay shrinks the weights besides.
    """
    track = proof.tracks[place[0]]
    weights = {name: t for name, t in track.snapshots[place[1]].state.items() if not is_statistic(name)}
    ball = float("inf") if recipe.radius is None else 2 * recipe.radius
    if not isinstance(recipe.optimiser, Adam) or any(not tensor.is_floating_point() for tensor in weights.values()):
        return ball
    each = recipe.optimiser.lr * rates(proof, recipe, place)
    size = math.sqrt(sum(tensor.numel() for tensor in weights.values()))
    norm = distance(weights, {name: torch.zeros_like(tensor) for name, tensor in weights.items()})
    reach = each * ADAM_STEP * size
    return min(ball, reach + each * recipe.optimiser.weight_decay * (norm + reach))


def evaluations(proof: Proof, recipe: Recipe, place: Place) -> int:
    """Gradients of single records that replaying a segment takes."""
    track = proof.tracks[place[0]]
    first, last = (track.snapshots[place[1] + offset].step for offset in (0, 1))
    return (last - first) * min(recipe.batch_size, len(track.stage.rows))


def ranked(proof: Proof, recipe: Recipe) -> list[Place]:
    """Segments by how far they moved: the weights over the learning rates, and the inner state, in turn."""
    moved, inner = proof.displacements, proof.inner_displacements
    by_rate = sorted(moved, key=lambda place: -moved[place] / rates(proof, recipe, place))
    by_inner = sorted(moved, key=lambda place: -inner[place])
    return list(dict.fromkeys(place for two in zip(by_rate, by_inner, strict=True) for place in two))


def with_before(places: Sequence[Place]) -> list[Place]:
    """The segments, and after the first of them the one that leads to it."""
    found: list[Place] = []
    for number, (track, segment) in enumerate(places):
        found.append((track, segment))
        found += [(track, segment - 1)] if number < 1 and segment else []
    return list(dict.fromkeys(found))


def along_path(proof: Proof, generator: np.random.Generator) -> list[Place]:
    """All segments in an order drawn by the way that each and the next went: whoever goes far, goes there in segments.

    Weighted draws without repetition: the smallest of exponential variables over the weights comes first.
    """
    moved = proof.displacements
    ways = [moved[place] + moved.get((place[0], place[1] + 1), 0.0) for place in proof.segments]
    waits = generator.exponential(size=len(ways)) / np.maximum(ways, 1e-300)
    return [proof.segments[number] for number in np.argsort(waits, kind="stable").tolist()]


def last_of_courses(proof: Proof) -> list[Place]:
    """The segment that ends in what is deployed, for each network: nothing after it washes out what it did."""
    ends = {
        _network(track): (number, track.segments - 1) for number, track in enumerate(proof.tracks) if track.segments
    }
    return list(ends.values())


def _network(track: Track) -> str:
    """Stages of one network share their name but for its last part, the slice."""
    return track.stage.name.partition("/slice/")[0]


def rates(proof: Proof, recipe: Recipe, place: Place) -> float:
    """Sum of the learning rates of a segment's steps."""
    track = proof.tracks[place[0]]
    steps = track.stage.steps(recipe.batch_size)
    first, last = (track.snapshots[place[1] + offset].step for offset in (0, 1))
    return float(sum(recipe.schedule.factor(step, steps) for step in range(first, last))) or 1e-12
