"""The one deterministic trainer: recipe and records in, model and log out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from expunge.errors import RequesterError
from expunge.networks import State, initialise, needs_two_records, state_of
from expunge.progress import Progress, task
from expunge.records import Records
from expunge.training.checkpoints import Checkpoints, MemoryCheckpoints
from expunge.training.courses import Course, check_batches, courses
from expunge.training.engine import run_stage
from expunge.training.executors import Executor
from expunge.training.log import Cost, TrainingLog, stage_names, training_log
from expunge.training.model import Model
from expunge.training.platform import deterministic
from expunge.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Trained:
    """A model with its log, the checkpoints of its stages, and what it cost."""

    model: Model
    log: TrainingLog
    cost: Cost
    checkpoints: Checkpoints = field(default_factory=MemoryCheckpoints)


def train(
    recipe: Recipe,
    records: Records,
    *,
    checkpoints: Checkpoints | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    threads: int = 1,
) -> Trained:
    """Train `recipe` on the training part of `records`.

    **Arguments:**

    - `checkpoints`: stages found there are not run again: after a kill, call again with the same store; after a
      deletion, hand over those that never saw the deleted records.
    - `threads`: arithmetic threads; part of the platform fingerprint, for bytes depend on it.

    **Raises:** `RequesterError("delete-everything")` without training records; `ProgrammerError("batch-of-one")`,
    `("diverged")`, and what building the network raises.
    """
    part = records.train
    if not len(part):
        raise RequesterError("delete-everything", "no training record is left: there is nothing to train on")
    plan, store = courses(recipe, part), checkpoints or MemoryCheckpoints()
    reused = tuple(name for name in stage_names(recipe, part) if store.load(name) is not None)
    result = run_courses(recipe, part, plan, checkpoints=store, executor=executor, progress=progress, threads=threads)
    model = Model(recipe, part.shape, part.classes, tuple(result.states))
    return Trained(model, training_log(model, part, store, threads, reused), result.cost, store)


@dataclass(frozen=True, eq=False)
class CourseResults:
    """Final states in the order of the courses (`None` where a course had no records), and what they cost."""

    states: list[State | None]
    cost: Cost


def run_courses(
    recipe: Recipe,
    records: Records,
    plan: Sequence[Course],
    *,
    checkpoints: Checkpoints | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    threads: int = 1,
) -> CourseResults:
    """Carry out many courses over one set of records: shards, shadow models, coalitions.

    **Arguments:** `records`: what the rows of the stages count in; its split is not looked at.

    **Raises:** as `train`.
    """
    started = time.monotonic()
    probe = initialise(recipe.network, records.shape, records.classes, seed=recipe.seed, name="probe")
    for course in plan:
        for stage in course.stages:
            check_batches(stage, recipe.batch_size, two_needed=needs_two_records(probe))
    del executor
    states: list[State | None] = []
    total = sum(course.evaluations(recipe.batch_size) for course in plan)
    done = 0
    with deterministic(threads), task(progress, "training", total) as advance:
        for course in plan:
            state, work = _run_course(recipe, records, course, checkpoints or MemoryCheckpoints(), advance)
            states.append(state)
            done += work
    return CourseResults(states, Cost.since(started, done))


def _run_course(
    recipe: Recipe, records: Records, course: Course, checkpoints: Checkpoints, advance: Callable[[int], None]
) -> tuple[State | None, int]:
    if not course.stages[-1].rows:
        return None, 0
    module = initialise(recipe.network, records.shape, records.classes, seed=course.seed, name=course.name)
    if course.start is not None:
        module.load_state_dict(course.start)
    done = 0
    for stage in course.stages:
        work = stage.evaluations(recipe.batch_size)
        saved = checkpoints.load(stage.name)
        if saved is not None:
            module.load_state_dict(saved)
            advance(work)
            continue
        run_stage(
            module,
            recipe,
            stage,
            course.seed,
            records.features,
            records.targets,
            snapshot=checkpoints.load_snapshot(stage.name),
            every=checkpoints.every,
            keep=partial(checkpoints.save_snapshot, stage.name),
            stepped=advance,
        )
        checkpoints.save(stage.name, state_of(module))
        done += work
    return state_of(module), done
