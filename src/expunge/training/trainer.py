"""The one deterministic trainer: recipe and records in, model and log out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from expunge.errors import ProgrammerError, RequesterError
from expunge.networks import State, initialise, needs_two_records, state_of
from expunge.progress import Progress, task
from expunge.records import Records
from expunge.training.checkpoints import Checkpoints, MemoryCheckpoints
from expunge.training.courses import Course, check_batches, courses, evaluations
from expunge.training.executors import Executor
from expunge.training.head import head_of, write_head
from expunge.training.lanes import run_lanes
from expunge.training.least_squares import SUMS, sums_of
from expunge.training.log import Cost, TrainingLog, begun, stage_names, training_log
from expunge.training.model import Model
from expunge.training.platform import deterministic
from expunge.training.recipe import LeastSquares, Recipe


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
    started, work = begun(), evaluations(recipe, plan)
    summed = isinstance(recipe.optimiser, LeastSquares) and len(plan) == 1
    if summed and not reused:
        _check(recipe, part, plan)
        with deterministic(threads):
            _solve_and_keep(recipe, part, plan[0].stages[-1].name, store)
    result = run_courses(recipe, part, plan, checkpoints=store, executor=executor, progress=progress, threads=threads)
    if summed and not reused:
        result = replace(result, cost=Cost.since(started, work))
    model = Model(recipe, part.shape, part.classes, tuple(result.states))
    return Trained(model, training_log(model, part, store, threads, reused), result.cost, store)


def _solve_and_keep(recipe: Recipe, part: Records, stage: str, store: Checkpoints) -> None:
    """A least-squares head, with the sums that it was solved from: deletions subtract from them."""
    module = initialise(recipe.network, part.shape, part.classes, seed=recipe.seed, name="network")
    sums = sums_of(module, part.features, part.targets, part.classes)
    found = head_of(module)
    if found is None or not isinstance(recipe.optimiser, LeastSquares):
        raise ProgrammerError("method-unfit", "HeadSolver wants fixed features and one linear layer")
    store.save(SUMS, sums.to_state())
    store.save(stage, write_head(state_of(module), found[0], sums.solve(recipe.optimiser.l2)))


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
    stack: bool = True,
) -> CourseResults:
    """Carry out many courses over one set of records: shards, shadow models, coalitions.

    **Arguments:**

    - `records`: what the rows of the stages count in; its split is not looked at.
    - `stack`: allow stacked training, which changes no bit on one thread.

    **Raises:** as `train`.
    """
    started = begun()
    store = checkpoints or MemoryCheckpoints()
    _check(recipe, records, plan)
    left = [_left(course, store) for course in plan if course.stages[-1].rows]
    work = evaluations(recipe, left)
    with deterministic(threads), task(progress, "training", work) as advance:
        if executor is None:
            found = run_lanes(recipe, records, left, store, advance, stack=stack and threads == 1)
        else:
            found = _spread(recipe, records, left, store, advance, executor, threads)
    states = iter(found)
    return CourseResults(
        [next(states) if course.stages[-1].rows else None for course in plan], Cost.since(started, work)
    )


def _left(course: Course, store: Checkpoints) -> Course:
    """The course from its last finished stage on."""
    done, start = 0, course.start
    for number, stage in enumerate(course.stages, 1):
        saved = store.load(stage.name)
        if saved is not None:
            done, start = number, saved
    return replace(course, stages=course.stages[done:], start=start)


def _check(recipe: Recipe, records: Records, plan: Sequence[Course]) -> None:
    probe = initialise(recipe.network, records.shape, records.classes, seed=recipe.seed, name="probe")
    two_needed = needs_two_records(probe)
    for course in plan:
        for stage in course.stages:
            check_batches(stage, recipe.batch_size, two_needed=two_needed)


@dataclass(frozen=True, eq=False)
class _Shared:
    """What every job of one call needs."""

    recipe: Recipe
    records: Records
    threads: int


def _spread(
    recipe: Recipe,
    records: Records,
    left: Sequence[Course],
    store: Checkpoints,
    advance: Callable[[int], None],
    executor: Executor,
    threads: int,
) -> list[State]:
    """Courses dealt out to an executor; finished stages reach `store` as each job comes back."""
    size = max(1, -(-len(left) // (JOBS_PER_WORKER * executor.workers)))
    jobs = [tuple(left[first : first + size]) for first in range(0, len(left), size)]
    found: list[State] = []
    for job, (states, stages) in zip(jobs, executor.map(_work, _Shared(recipe, records, threads), jobs), strict=True):
        for name, state in stages.items():
            store.save(name, state)
        found += states
        advance(evaluations(recipe, job))
    return found


def _work(shared: _Shared, job: tuple[Course, ...]) -> tuple[list[State], dict[str, State]]:
    """One job, in whatever process."""
    store = MemoryCheckpoints()
    with deterministic(shared.threads):
        states = run_lanes(shared.recipe, shared.records, job, store, _ignore, stack=shared.threads == 1)
    return states, store.states


def _ignore(count: int) -> None:
    """Progress of a job is reported when it comes back."""


JOBS_PER_WORKER = 4
"""Enough for an even spread and a moving bar, few enough to keep stacks wide."""
