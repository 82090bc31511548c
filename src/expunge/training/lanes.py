"""Courses carried out together in one process: stacked where that changes no bit, one after another elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from torch import nn

from expunge.networks import State, initialise, state_of
from expunge.records import Records
from expunge.training.checkpoints import Checkpoints
from expunge.training.courses import Course, Stage, first_with_records
from expunge.training.engine import run_stage
from expunge.training.pruning.carry_out import sparse_start
from expunge.training.recipe import Recipe
from expunge.training.stacked import Lane, Layers, Stack, agrees, layers_of, stack_width

Advance = Callable[[int], None]


def run_lanes(
    recipe: Recipe, records: Records, plan: Sequence[Course], store: Checkpoints, advance: Advance, *, stack: bool
) -> list[State]:
    """Final state of each course; finished stages go into `store` as they come.

    **Arguments:** `stack`: allow stacks; they are equal to the bit on one arithmetic thread only.

    **Raises:** what building and training raise.
    """
    modules = _starts(recipe, records, plan)
    begun = {id(module): state_of(module) for module in modules}
    states = [begun[id(module)] for module in modules]
    for level in range(max((len(course.stages) for course in plan), default=0)):
        todo = [(number, course.stages[level]) for number, course in enumerate(plan) if level < len(course.stages)]
        alone, stacks = _sort(recipe, records, modules, todo, store) if stack else (todo, [])
        for number, stage in alone:
            modules[number].load_state_dict(states[number])
            states[number] = _reference(modules[number], recipe, records, plan[number], stage, store, advance)
        for layers, members in stacks:
            lanes = [
                Lane(stage, plan[number].seed, states[number], store.load_snapshot(stage.name))
                for number, stage in members
            ]
            results = Stack(layers, recipe, lanes, records.features, records.targets).run(store, advance)
            for (number, stage), state in zip(members, results, strict=True):
                states[number] = state
                store.save(stage.name, state)
    return states


Member = tuple[int, Stage]

LONG = 4000
"""Steps from which one network alone is worth a stack: it takes fewer calls a step, once `agrees` is paid for."""


def _sort(
    recipe: Recipe, records: Records, modules: Sequence[nn.Module], todo: Sequence[Member], store: Checkpoints
) -> tuple[list[Member], list[tuple[Layers, list[Member]]]]:
    """Which stages run alone, and which stacks the others form."""
    alone: list[Member] = []
    groups: dict[tuple[Layers, int, int], list[Member]] = {}
    kinds = {id(module): layers_of(module, recipe, records) for module in {id(m): m for m in modules}.values()}
    for number, stage in todo:
        layers = kinds[id(modules[number])]
        width = min(recipe.batch_size, len(stage.rows))
        if layers is None or not width:
            alone.append((number, stage))
            continue
        snapshot = store.load_snapshot(stage.name)
        groups.setdefault((layers, width, snapshot.step if snapshot else 0), []).append((number, stage))
    stacks: list[tuple[Layers, list[Member]]] = []
    for (layers, width, _), members in groups.items():
        for part in _parts(recipe, layers, members):
            worth = len(part) > 1 or part[0][1].steps(recipe.batch_size) >= LONG
            if worth and agrees(layers, recipe, width):
                stacks.append((layers, part))
            else:
                alone += part
    return alone, stacks


def _parts(recipe: Recipe, layers: Layers, members: list[Member]) -> Iterator[list[Member]]:
    """Stacks that stay in the cache, of lanes with about as many steps each."""
    ordered = sorted(members, key=lambda member: -member[1].steps(recipe.batch_size))
    size = stack_width(layers)
    # In the plan's order within each, so that an error names the stage that it would name one after another.
    return (sorted(ordered[first : first + size], key=_number) for first in range(0, len(ordered), size))


def _number(member: Member) -> int:
    return member[0]


def _starts(recipe: Recipe, records: Records, plan: Sequence[Course]) -> list[nn.Module]:
    """A module for each course. Of equal name and seed they begin alike: one that is no more than its layers is built
    once for all of them; another may hold what no state shows."""
    found: list[nn.Module] = []
    shared: dict[tuple[str, int], nn.Module] = {}
    for course in plan:
        module = shared.get((course.name, course.seed)) if course.start is None else None
        if module is None:
            module = _start(recipe, records, course)
            if course.start is None and layers_of(module, recipe, records) is not None:
                shared[course.name, course.seed] = module
        found.append(module)
    return found


def _start(recipe: Recipe, records: Records, course: Course) -> nn.Module:
    module = initialise(recipe.network, records.shape, records.classes, seed=course.seed, name=course.name)
    if course.start is not None:
        module.load_state_dict(course.start)
    return module


def _reference(
    module: nn.Module,
    recipe: Recipe,
    records: Records,
    course: Course,
    stage: Stage,
    store: Checkpoints,
    advance: Advance,
) -> State:
    snapshot = store.load_snapshot(stage.name)
    fresh = course.start is None and first_with_records(course) is stage
    if recipe.pruning is not None and fresh and snapshot is None:
        snapshot = sparse_start(module, recipe, stage, course.seed, records.features, records.targets, advance)
    run_stage(
        module,
        recipe,
        stage,
        course.seed,
        records.features,
        records.targets,
        snapshot=snapshot,
        every=store.every,
        keep=partial(store.save_snapshot, stage.name),
        stepped=advance,
    )
    state = state_of(module)
    store.save(stage.name, state)
    return state
