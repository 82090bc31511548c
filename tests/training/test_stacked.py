"""The stacked engine against the reference engine, to the bit: not to a tolerance, for exact deletion stands on it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.errors import ProgrammerError
from expunge.networks import CNN, MLP, InPython, State, initialise, state_of
from expunge.records import Records
from expunge.training import (
    SGD,
    Adam,
    Constant,
    Cosine,
    Course,
    MemoryCheckpoints,
    Recipe,
    SquaredError,
    Stage,
    Steps,
    deterministic,
    lanes,
    run_courses,
    stacked,
)
from expunge.training.engine import run_stage
from expunge.training.stacked import Layers, agrees, layers_of


def plan(count: int, sizes: list[int], epochs: float = 2) -> list[Course]:
    generator = torch.Generator().manual_seed(0)
    rows = [tuple(torch.randperm(count, generator=generator)[:size].tolist()) for size in sizes]
    return [Course("network", (Stage(f"lane/{n}", part, epochs),), n) for n, part in enumerate(rows)]


def one_by_one(recipe: Recipe, records: Records, courses: list[Course]) -> list[State]:
    """The reference: each course alone through plain autograd."""
    found = []
    with deterministic(1):
        for course in courses:
            module = initialise(recipe.network, records.shape, records.classes, seed=course.seed, name=course.name)
            for stage in course.stages:
                run_stage(module, recipe, stage, course.seed, records.features, records.targets)
            found.append(state_of(module))
    return found


def same_bits(left: list[State | None], right: list[State | None]) -> bool:
    """Unlike `equal`, this tells 0 from -0, as a digest does."""
    return all(
        a is not None and b is not None and a.keys() == b.keys() and all(bits(a[k]).equal(bits(b[k])) for k in a)
        for a, b in zip(left, right, strict=True)
    )


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def made_up(width: int, classes: int, count: int = 90) -> Records:
    """Records of any width; regression where there are no classes."""
    generator = torch.Generator().manual_seed(width)
    features = torch.randn(count, width, generator=generator).relu()
    targets = torch.randint(classes, (count,), generator=generator) if classes else features.sum(1)
    names = tuple(f"record-{row}" for row in range(count))
    return Records(features, targets, names, names, ("train",) * count, classes)


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lanes each stack had: a test of stacks that made none would show nothing."""
    seen: list[int] = []

    class Watched(stacked.Stack):
        def run(self, store, stepped):
            seen.append(len(self._lanes))
            return super().run(store, stepped)

    monkeypatch.setattr(lanes, "Stack", Watched)
    return seen


CASES = {
    "equal sizes": (Recipe(MLP((32,)), epochs=2), [200] * 9),
    "sizes differ": (Recipe(MLP((32,)), epochs=2), [300, 250, 251, 111, 64]),
    "no momentum, no decay": (Recipe(MLP((17,)), SGD(0.1, 0.0, 0.0), batch_size=16), [100, 90]),
    "decay only": (Recipe(MLP((16,)), SGD(0.1, 0.0, 1e-2)), [100, 77]),
    "momentum only": (Recipe(MLP((16,)), SGD(0.1, 0.5, 0.0), Steps()), [100, 77]),
    "deep and odd": (Recipe(MLP((33, 17, 12)), SGD(0.05), Constant(), batch_size=20), [150] * 5),
    "linear": (Recipe(MLP(()), batch_size=8), [80] * 4),
    "smaller than a batch": (Recipe(MLP((16,)), batch_size=64), [40, 40, 33, 33, 12]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_lane_has_the_bits_that_it_has_alone(case, few: Records, widths: list[int]):
    recipe, sizes = case
    courses = plan(len(few.train), sizes)
    assert same_bits(run_courses(recipe, few.train, courses).states, one_by_one(recipe, few.train, courses))
    assert sum(widths) > 1


# Lanes after the first begin off a 64-byte boundary in each of these shapes, unless they are put on one.
AWKWARD = [
    (17, (9,), 3, 20),
    (784, (9, 65), 47, 3),
    (7, (65,), 3, 32),
    (33, (), 2, 17),
    (5, (129, 3), 26, 7),
    (64, (31, 10), 100, 31),
    (13, (1,), 4, 5),
    (1, (8,), 2, 2),
    (4, (3, 2), 3, 3),
    (20, (47, 30), 8, 1),
]


@pytest.mark.parametrize(("features", "hidden", "classes", "batch"), AWKWARD)
@pytest.mark.parametrize("schedule", [Constant(), Cosine()], ids=["constant", "cosine"])
def test_awkward_shapes_too(features, hidden, classes, batch, schedule, widths: list[int]):
    recipe, records = Recipe(MLP(hidden), SGD(0.03), schedule, batch_size=batch), made_up(features, classes)
    courses = plan(len(records), [90, 90, 71, 70, 65], epochs=1)
    assert same_bits(run_courses(recipe, records, courses).states, one_by_one(recipe, records, courses))
    assert widths == [5]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(150))
def test_shapes_drawn_at_random(seed: int, widths: list[int]):
    generator = torch.Generator().manual_seed(seed)

    def draw(*choices: int) -> int:
        return choices[int(torch.randint(len(choices), (1,), generator=generator))]

    sizes = (2, 3, 5, 8, 9, 10, 16, 17, 31, 32, 33, 47, 64, 65, 100, 129, 200, 256, 300, 784)
    hidden = tuple(draw(*sizes) for _ in range(draw(0, 1, 1, 2, 3)))
    records = made_up(draw(*sizes), draw(0, 2, 3, 10, 26, 47))
    loss = {} if records.classes else {"loss": SquaredError()}
    recipe = Recipe(MLP(hidden), SGD(3e-3, draw(0, 1) * 0.9), batch_size=draw(2, 3, 7, 16, 20, 31, 32, 64), **loss)
    courses = plan(len(records), [draw(90, 80, 66, 65) for _ in range(draw(2, 5, 9))], epochs=1)
    assert same_bits(run_courses(recipe, records, courses).states, one_by_one(recipe, records, courses))
    assert sum(widths) == len(courses)


@pytest.mark.parametrize("hidden", [(), (16,), (33, 5)])
def test_regression_too(hidden: tuple[int, ...], widths: list[int]):
    records = made_up(13, 0)
    recipe = Recipe(MLP(hidden), SGD(0.01), loss=SquaredError(), batch_size=32)
    courses = plan(len(records), [90, 80, 40])
    assert same_bits(run_courses(recipe, records, courses).states, one_by_one(recipe, records, courses))
    assert widths == [3]


@pytest.mark.parametrize("width", [2, 3, 100])
@pytest.mark.parametrize("hidden", [32, 17])
def test_the_width_of_a_stack_changes_no_bit(width: int, hidden: int, few: Records, monkeypatch, widths: list[int]):
    recipe, courses = Recipe(MLP((hidden,))), plan(len(few.train), [200, 180, 180, 90, 200], epochs=1)
    alone = run_courses(recipe, few.train, courses, stack=False).states
    assert widths == []
    monkeypatch.setattr(stacked, "CACHE", 4 * (hidden * 75 + 10) * width)
    assert same_bits(run_courses(recipe, few.train, courses).states, alone)
    assert max(widths) == min(width, 5)


def test_the_company_in_a_stack_changes_no_bit(few: Records):
    recipe, courses = Recipe(MLP((17,)), batch_size=20), plan(len(few.train), [200, 180, 90, 130], epochs=1)
    whole = run_courses(recipe, few.train, courses).states
    for kept in ([3, 0], [2, 1, 3], [1]):
        part = run_courses(recipe, few.train, [courses[number] for number in kept]).states
        assert same_bits(part, [whole[number] for number in kept])


def test_one_long_stage_is_stacked_alone_and_keeps_its_bits(few: Records, monkeypatch, widths: list[int]):
    recipe, courses = Recipe(MLP((17,))), plan(len(few.train), [200], epochs=1)
    alone = run_courses(recipe, few.train, courses).states
    assert widths == []
    monkeypatch.setattr(lanes, "LONG", courses[0].stages[0].steps(recipe.batch_size))
    assert same_bits(run_courses(recipe, few.train, courses).states, alone)
    assert widths == [1]


def test_a_stage_starts_where_the_one_before_ended(few: Records):
    rows = tuple(range(200))
    stages = (Stage("first", rows[:100], 1), Stage("nothing", (), 1), Stage("second", rows, 1))
    courses = [Course("network", stages, 0), Course("other", (Stage("only", rows, 2),), 1), Course("third", stages, 2)]
    recipe = Recipe(MLP((32,)))
    assert same_bits(run_courses(recipe, few.train, courses).states, one_by_one(recipe, few.train, courses))


class Keeper(MemoryCheckpoints):
    """Keeps the last snapshot of each stage when the stage is done."""

    def __init__(self, every: int) -> None:
        super().__init__(every)
        self.kept: dict = {}

    def save(self, name: str, state: dict) -> None:
        if name in self.snapshots:
            self.kept[name] = self.snapshots[name]
        super().save(name, state)


@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("resumed_in_a_stack", [True, False])
def test_snapshots_are_those_of_the_reference_engine(
    momentum: float, resumed_in_a_stack: bool, few: Records, widths: list[int]
):
    recipe, courses = Recipe(MLP((17,)), SGD(0.1, momentum)), plan(len(few.train), [200, 200, 100, 64])
    store, reference = Keeper(5), Keeper(5)
    whole = run_courses(recipe, few.train, courses, checkpoints=store).states
    run_courses(recipe, few.train, courses, checkpoints=reference, stack=False)
    assert not store.snapshots
    assert sorted(store.kept) == sorted(reference.kept) == ["lane/0", "lane/1", "lane/2"]
    for name, snapshot in store.kept.items():
        assert snapshot.step == reference.kept[name].step
        assert same_bits(
            [snapshot.state, snapshot.optimiser], [reference.kept[name].state, reference.kept[name].optimiser]
        )
    widths.clear()
    again = run_courses(
        recipe, few.train, courses, checkpoints=MemoryCheckpoints(snapshots=store.kept), stack=resumed_in_a_stack
    )
    assert same_bits(again.states, whole)
    assert widths == ([2] if resumed_in_a_stack else [])


class TwiceLinear(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def tied() -> nn.Module:
    first, second = nn.Linear(64, 64), nn.Linear(64, 64)
    second.weight = first.weight
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second)


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    module[1].register_forward_hook(lambda part, inputs, output: 3 * output)
    return module


def gradient_hooked() -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    module[1].weight.register_hook(lambda gradient: gradient.sign())
    return module


def frozen() -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    module[1].requires_grad_(False)
    return module


OTHERS = {
    "convolutions": CNN((4, 4), 8),
    "batch norm": MLP((32,), batch_norm=True),
    "no bias": InPython(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))),
    "tanh": InPython(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))),
    "relu first": InPython(lambda: nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(64, 10))),
    "own forward": InPython(lambda: TwiceLinear(nn.Flatten(), nn.Linear(64, 10))),
    "weight norm": InPython(
        lambda: nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, 10)))
    ),
    "tied": InPython(tied),
    "hooked": InPython(hooked),
    "gradient hooked": InPython(gradient_hooked),
    "frozen": InPython(frozen),
}


@pytest.mark.parametrize("network", OTHERS.values(), ids=OTHERS.keys())
def test_other_networks_go_through_the_reference_engine(network, few: Records, widths: list[int]):
    recipe = Recipe(network, SGD(0.1), epochs=1)
    courses = plan(len(few.train), [60, 60], epochs=1)
    assert same_bits(run_courses(recipe, few.train, courses).states, one_by_one(recipe, few.train, courses))
    assert widths == []


def test_other_optimisers_go_through_the_reference_engine(few: Records):
    module = initialise(MLP((32,)), few.shape, 10, seed=0, name="x")
    assert layers_of(module, Recipe(MLP((32,)), Adam()), few) is None
    assert layers_of(module, Recipe(MLP((32,)), SGD()), few) is not None
    assert layers_of(module, Recipe(MLP((32,)), SGD(), loss=SquaredError()), few) is None


def test_a_batch_of_one_through_a_layer_of_one_is_not_stacked(widths: list[int]):
    recipe, records = Recipe(MLP((1,)), batch_size=1), made_up(20, 3)
    courses = plan(len(records), [20, 20], epochs=1)
    assert same_bits(run_courses(recipe, records, courses).states, one_by_one(recipe, records, courses))
    assert widths == []


def test_a_platform_that_rounds_otherwise_stacks_nothing(monkeypatch: pytest.MonkeyPatch):
    """The trial on this platform has teeth: lanes off their boundaries make it fail."""
    layers = Layers(("1.weight", "3.weight"), ("1.bias", "3.bias"), (17, 9, 3))
    stacked._agrees.cache_clear()
    assert agrees(layers, Recipe(), 20)
    stacked._agrees.cache_clear()
    monkeypatch.setattr("expunge.training.tensors.LINE", 1)
    try:
        assert not agrees(layers, Recipe(), 20)
    finally:
        stacked._agrees.cache_clear()


def test_a_lane_that_diverges_is_refused_as_by_the_reference_engine(few: Records):
    recipe, courses = Recipe(MLP((32,)), SGD(1e6), batch_size=16), plan(len(few.train), [64, 200, 100])
    refusals = []
    for stack in (True, False):
        with pytest.raises(ProgrammerError) as caught:
            run_courses(recipe, few.train, courses, stack=stack)
        refusals.append((caught.value.code, str(caught.value)))
    assert refusals[0] == refusals[1]
    assert refusals[0][0] == "diverged"


def test_progress_of_stacks_counts_every_record(few: Records):
    class Counting:
        done = 0

        def show(self, tick, *, final: bool) -> None:
            self.done = tick.done

    progress, courses = Counting(), plan(len(few.train), [200, 180, 90])
    recipe = replace(Recipe(MLP((32,))), batch_size=16)
    result = run_courses(recipe, few.train, courses, progress=progress)
    assert progress.done == result.cost.gradient_evaluations == sum(course.evaluations(16) for course in courses)
