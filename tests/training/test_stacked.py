"""The stacked engine against the reference engine, to the bit."""

import pytest
import torch
from torch import nn

from expunge.networks import CNN, MLP, InPython, initialise, state_of
from expunge.records import Records
from expunge.training import (
    SGD,
    Adam,
    Constant,
    Course,
    MemoryCheckpoints,
    Recipe,
    SquaredError,
    Stage,
    deterministic,
    run_courses,
    stacked,
)
from expunge.training.engine import run_stage
from expunge.training.stacked import layers_of, stackable


def plan(records: Records, sizes: list[int], epochs: float = 2) -> list[Course]:
    generator = torch.Generator().manual_seed(0)
    rows = [tuple(torch.randperm(len(records), generator=generator)[:size].tolist()) for size in sizes]
    return [Course("network", (Stage(f"lane/{n}", part, epochs),), n) for n, part in enumerate(rows)]


def one_by_one(recipe: Recipe, records: Records, courses: list[Course]) -> list[dict[str, torch.Tensor]]:
    """The reference: each course alone through plain autograd."""
    found = []
    with deterministic(1):
        for course in courses:
            module = initialise(recipe.network, records.shape, records.classes, seed=course.seed, name=course.name)
            for stage in course.stages:
                run_stage(module, recipe, stage, course.seed, records.features, records.targets)
            found.append(state_of(module))
    return found


def equal(left: list, right: list) -> bool:
    return all(a.keys() == b.keys() and all(a[k].equal(b[k]) for k in a) for a, b in zip(left, right, strict=True))


CASES = {
    "equal sizes": (Recipe(MLP((32,)), epochs=2), [200] * 9),
    "sizes differ": (Recipe(MLP((32,)), epochs=2), [300, 250, 251, 111, 64]),
    "no momentum, no decay": (Recipe(MLP((17,)), SGD(0.1, 0.0, 0.0), batch_size=16), [100, 90]),
    "deep and odd": (Recipe(MLP((33, 17, 12)), SGD(0.05), Constant(), batch_size=20), [150] * 5),
    "linear": (Recipe(MLP(()), batch_size=8), [80] * 4),
    "smaller than a batch": (Recipe(MLP((16,)), batch_size=64), [40, 33, 40, 12]),
    "decay only": (Recipe(MLP((16,)), SGD(0.1, 0.0, 1e-2)), [100, 77]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_lane_has_the_bits_that_it_has_alone(case, few: Records):
    recipe, sizes = case
    courses = plan(few.train, sizes)
    assert equal(run_courses(recipe, few.train, courses).states, one_by_one(recipe, few.train, courses))


def test_regression_goes_through_the_reference_engine(few: Records):
    """A single output is a product with a vector, which the library rounds in another way."""
    targets = few.train.features.flatten(1).sum(1) / 20
    records = Records(few.train.features, targets, few.train.ids, few.train.owners, few.train.split, 0)
    recipe = Recipe(MLP((64,)), SGD(0.01), loss=SquaredError(), batch_size=32)
    courses = plan(records, [200, 150])
    assert equal(run_courses(recipe, records, courses).states, one_by_one(recipe, records, courses))


@pytest.mark.parametrize("width", [1, 2, 3, 100])
def test_the_width_of_a_stack_changes_no_bit(width: int, few: Records, monkeypatch: pytest.MonkeyPatch):
    recipe, courses = Recipe(MLP((32,))), plan(few.train, [200, 180, 180, 90, 200], epochs=1)
    whole = run_courses(recipe, few.train, courses).states
    monkeypatch.setattr(stacked, "CACHE", 4 * 2410 * width)
    assert equal(run_courses(recipe, few.train, courses).states, whole)


def test_a_stage_starts_where_the_one_before_ended(few: Records):
    rows = tuple(range(200))
    stages = (Stage("first", rows[:100], 1), Stage("second", rows, 1))
    courses = [Course("network", stages, 0), Course("other", (Stage("only", rows, 2),), 1)]
    recipe = Recipe(MLP((32,)))
    assert equal(run_courses(recipe, few.train, courses).states, one_by_one(recipe, few.train, courses))


def test_snapshots_of_a_stack_resume_in_the_reference_engine(few: Records):
    recipe, courses = Recipe(MLP((32,))), plan(few.train, [200, 100, 64])
    store = MemoryCheckpoints(every=5)
    whole = run_courses(recipe, few.train, courses, checkpoints=store).states
    assert not store.snapshots
    kept: dict = {}

    class Keeper(MemoryCheckpoints):
        def save(self, name: str, state: dict) -> None:
            if name in self.snapshots:
                kept[name] = self.snapshots[name]
            super().save(name, state)

    run_courses(recipe, few.train, courses, checkpoints=Keeper(every=5))
    assert sorted(snapshot.step for snapshot in kept.values()) == [5, 10]
    resumed = MemoryCheckpoints(snapshots=kept)
    again = run_courses(recipe, few.train, courses, checkpoints=resumed)
    assert equal(again.states, whole)


@pytest.mark.parametrize(
    ("network", "optimiser"),
    [
        (CNN((4, 4), 8), SGD(0.1)),
        (MLP((32,)), Adam()),
        (MLP((32,), batch_norm=True), SGD(0.1)),
        (InPython(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))), SGD(0.1)),
        (InPython(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))), SGD(0.1)),
        (InPython(lambda: nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(64, 10))), SGD(0.1)),
    ],
)
def test_other_networks_go_through_the_reference_engine(network, optimiser, few: Records):
    recipe = Recipe(network, optimiser, epochs=1)
    module = initialise(network, few.shape, 10, seed=0, name="x")
    assert layers_of(module, recipe) is None
    courses = plan(few.train, [60, 60], epochs=1)
    assert equal(run_courses(recipe, few.train, courses).states, one_by_one(recipe, few.train, courses))


def test_products_too_small_for_the_batched_kernel_are_not_stacked():
    module = initialise(MLP((4,)), (1, 8, 8), 10, seed=0, name="x")
    layers = layers_of(module, Recipe(MLP((4,))))
    assert not stackable(layers, 8)
    assert stackable(layers, 32)
