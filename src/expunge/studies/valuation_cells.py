"""What the cells of the study `valuation` measure."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from expunge.randomness import numpy_generator
from expunge.studies.valuation_task import ESTIMATORS, Task, auroc, task_of
from expunge.training import Processes
from expunge.valuation import (
    Adjusted,
    Cached,
    Constituents,
    Estimator,
    Evaluations,
    Exact,
    Game,
    HalfWidth,
    Partition,
    Status,
    Values,
    resume,
    update,
    value,
)
from expunge.valuation.update import LEAST, STEP

Row = dict[str, Any]

Contents = dict[tuple[int, ...], Float32[np.ndarray, "records classes"]]
"""Posteriors of constituents by the owners that they saw."""

BUDGETS = {"small": (1000, 2000, 4000), "full": (1000, 2000, 4000, 8000, 16000)}
REPEATS = {"small": 4, "full": 8}
ERROR = 0.01
"""Half-width of values that are shown."""

BEFORE = 0.005
"""Half-width of the values before an exit: half of `ERROR`, so that an update has room for an error of its own."""

TRACED = {"small": 1000, "full": 4000}
"""Utilities of the runs whose error is followed against time."""

STOPPED = {"small": 16, "full": 32}
"""Runs to a half-width of `ERROR` that are judged by enumeration."""

NARROWEST = 1e-4
"""Half-width at which times are compared where the update is exact."""

DRAWS, NOISY_BUDGET = {"small": 6, "full": 8}, 600
"""Tasks with noisy owners for each seed, and the utilities behind the values of each."""


class _Known:
    """A game whose utilities are known already; counts the constituents that a run would train."""

    def __init__(self, cache: Cached, partition: Partition) -> None:
        self.cache, self.partition, self.owners = cache, partition, cache.owners
        self.register = Constituents()

    def utilities(self, coalitions: np.ndarray) -> np.ndarray:
        """Utilities from the cache; what a run would train for them is counted."""
        self.register.plan(self.partition, coalitions)
        return self.cache.utilities(coalitions)


def convergence(task: Task, scale: str, seed: int) -> list[Row]:
    """Error against enumeration of six estimators at growing budgets, and the values themselves."""
    game = task.game()
    cache, started = Cached(game), time.monotonic()
    truth = value(cache, task.partition, Exact())
    seconds = time.monotonic() - started
    rows: list[Row] = [
        {
            "kind": "exact",
            "seed": seed,
            "evaluations": truth.evaluations,
            "trainings": game.trainings,
            "seconds": seconds,
        }
    ]
    for name, estimator in ESTIMATORS.items():
        for budget in BUDGETS[scale]:
            rows.append(_budgeted(task, cache, truth.value, name, estimator, budget, scale, seed))
    rows += exact_changes(task, cache, truth, seed)
    rows += stopped_runs(task, cache, truth, scale, seed)
    found = value(cache, task.partition, Adjusted(), HalfWidth(ERROR), seed=seed)
    halves = found.half_width().tolist()
    for owner, worth, half, real in zip(found.owners, found.value.tolist(), halves, truth.value.tolist(), strict=True):
        rows.append({"kind": "value", "seed": seed, "owner": owner, "value": worth, "half_width": half, "exact": real})
    return rows


def _budgeted(
    task: Task,
    cache: Cached,
    truth: Float[np.ndarray, " owners"],
    name: str,
    estimator: Estimator,
    budget: int,
    scale: str,
    seed: int,
) -> Row:
    squares, spent, trained, complete, covered = [], [], [], True, []
    for repeat in range(REPEATS[scale]):
        known = _Known(cache, task.partition)
        run = value(Cached(known), task.partition, estimator, Evaluations(budget), seed=seed * 1000 + repeat, batch=128)
        error = run.value - truth
        squares.append(float(np.mean(error**2)))
        covered.append(float(np.mean(np.abs(error) <= run.half_width() + 1e-12)))
        spent.append(run.evaluations)
        trained.append(known.register.created)
        complete &= Status.INCOMPLETE not in run.status
    return {
        "kind": "convergence",
        "seed": seed,
        "estimator": name,
        "budget": budget,
        "evaluations": float(np.mean(spent)),
        "trainings": float(np.mean(trained)),
        "rmse": float(np.mean(squares)) ** 0.5,
        "coverage": float(np.mean(covered)),
        "complete": complete,
    }


def exact_changes(task: Task, cache: Cached, before: Values, seed: int) -> list[Row]:
    """Changes by the update in exact mode against enumeration of the new partition: single, batched, a whole shard."""
    shards, rows = task.partition.shards, []
    for leavers in ((shards[0][0],), tuple(shard[-1] for shard in shards[:3]), shards[-1]):
        if len(leavers) == len(task.partition.owners):
            continue
        truth = value(cache, task.partition.without(leavers), Exact())
        change = update(before, cache, leavers, Exact())
        error = float(np.abs(change.value - truth.value).max())
        rows.append({"kind": "change", "seed": seed, "leavers": len(leavers), "exact_error": error})
    return rows


def stopped_runs(task: Task, cache: Cached, truth: Values, scale: str, seed: int) -> list[Row]:
    """Runs that stop at the first half-width of `ERROR`, and updates of theirs: how many intervals hold the truth."""
    leaver = (task.partition.shards[0][0],)
    left = value(cache, task.partition.without(leaver), Exact())
    rows: list[Row] = []
    for run in range(STOPPED[scale]):
        found = value(cache, task.partition, Adjusted(), HalfWidth(ERROR), seed=seed * 1000 + run)
        change = HalfWidth(ERROR / 2, least=LEAST)
        after, alone = (update(v, cache, leaver, stop=change, seed=seed * 1000 + run) for v in (found, truth))
        shares = {"covered": _covered(found, truth), "covered_after": _covered(after, left)}
        shares["covered_change"] = _covered(alone, left)
        rows.append({"kind": "stopped", "seed": seed, "run": run, **shares})
    return rows


def _covered(found: Values, truth: Values) -> float:
    """Share of owners whose interval holds the truth."""
    return float(np.mean(np.abs(found.value - truth.value) <= found.half_width() + 1e-12))


def times(task: Task, scale: str, seed: int) -> list[Row]:
    """Error against seconds of one core, of each estimator training from nothing: a point after every round."""
    truth = value(Cached(task.game()), task.partition, Exact()).value
    return [row for name in ESTIMATORS for row in _traced(task, truth, name, scale, seed)]


def _traced(task: Task, truth: Float[np.ndarray, " owners"], name: str, scale: str, seed: int) -> list[Row]:
    rows: list[Row] = []
    cache, started, stop = Cached(task.game()), time.process_time(), Evaluations(TRACED[scale])

    def keep(values: Values) -> None:
        spent = time.process_time() - started
        whole = Status.INCOMPLETE not in values.status
        error = float(np.sqrt(np.mean((values.value - truth) ** 2)))
        row = {"kind": "time", "seed": seed, "estimator": name, "evaluations": values.evaluations}
        rows.append({**row, "seconds": spent, "rmse": error, "complete": whole})

    value(cache, task.partition, ESTIMATORS[name], stop, seed=seed, batch=128, keep=keep)
    return rows


def exits(task: Task, seed: int) -> list[Row]:
    """Times to values of equal half-width after exits, and the values before and after the first one.

    `single` and `batched`: before the exit there are values of half-width `BEFORE` and the
    constituents that they took; the update estimates the change so that both together have half-width `ERROR`.
    `defaults` is what a workspace does: values of half-width `ERROR`, and an update to half of it. Valuing anew goes to
    the half-width that the update reached, in rounds as narrow as the update's, so that it does not overshoot: from
    nothing, as in the paper, and from the kept constituents.
    """
    shards, game = task.partition.shards, task.game()
    cache = Cached(game)
    wide = value(cache, task.partition, Adjusted(), HalfWidth(ERROR), seed=seed)
    few, cost = game.contents(), {"evaluations": wide.evaluations, "trainings": game.trainings}
    narrow = resume(wide, cache, HalfWidth(BEFORE))
    room, many = (ERROR**2 - BEFORE**2) ** 0.5, game.contents()
    first, batch = (shards[0][0],), tuple(shard[-1] for shard in shards[:3])
    plans: list[tuple[str, tuple[int, ...], Values, Contents, float]] = [
        ("single", first, narrow, many, room),
        ("batched", batch, narrow, many, room),
        ("defaults", first, wide, few, ERROR / 2),
    ]
    late = {"evaluations": narrow.evaluations, "trainings": game.trainings}
    rows: list[Row] = [
        {"kind": "reuse", "seed": seed, "half_width": width, **spent}
        for width, spent in ((ERROR, cost), (BEFORE, late))
    ]
    for kind, leavers, before, kept, width in plans:
        row, after = _timed_exit(task, before, kept, leavers, width, seed)
        rows.append({"kind": "exit", "seed": seed, "exit": kind, "leavers": len(leavers), **row})
        if kind == "single":
            rows += _before_and_after(before, after, seed)
    return rows


def _before_and_after(before: Values, after: Values, seed: int) -> list[Row]:
    """One row for each owner who stays."""
    halves = (dict(zip(each.owners, each.half_width().tolist(), strict=True)) for each in (before, after))
    first, second = halves
    return [
        {
            "kind": "after",
            "seed": seed,
            "owner": owner,
            "before": before.of(owner),
            "before_half_width": first[owner],
            "after": after.of(owner),
            "after_half_width": second[owner],
        }
        for owner in after.owners
    ]


def _timed_exit(
    task: Task, before: Values, kept: Contents, leavers: tuple[int, ...], width: float, seed: int
) -> tuple[Row, Values]:
    """The update to a change of half-width `width`, and valuing anew to the half-width that came out; both measured."""
    left = task.partition.without(leavers)
    found, after = _timed(
        task, kept, lambda game: update(before, game, leavers, stop=HalfWidth(width, least=LEAST), seed=seed)
    )
    row = {f"update_{name}": figure for name, figure in found.items()}
    reached = HalfWidth(max(found["half_width"], NARROWEST))
    for name, constituents in (("recompute", {}), ("warm", kept)):
        found, _ = _timed(
            task, constituents, lambda game: value(game, left, Adjusted(), reached, seed=seed, batch=STEP)
        )
        row |= {f"{name}_{key}": figure for key, figure in found.items()}
    return row, after


def _timed(task: Task, kept: Contents, way: Callable[[Game], Values]) -> tuple[Row, Values]:
    """Seconds of one core, utilities, trainings and half-width, starting from these constituents; and the values."""
    game = task.game()
    game.restore(kept)
    started = time.process_time()
    values = way(Cached(game))
    seconds = time.process_time() - started
    return {
        "seconds": seconds,
        "evaluations": values.evaluations,
        "trainings": game.trainings,
        "half_width": float(values.half_width().max()),
    }, values


def noisy_owners(records: Any, scale: str, seed: int) -> list[Row]:
    """Tasks with a fifth of the owners mislabelling all: where do their values stand, and does removing them help?"""
    rows: list[Row] = []
    for draw in range(DRAWS[scale]):
        task = task_of(records, scale, DRAWS[scale] * seed + draw, noisy=0.2)
        cache = Cached(task.game())
        stop = HalfWidth(ERROR) | Evaluations(NOISY_BUDGET)
        found = value(cache, task.partition, Adjusted(), stop, seed=seed, batch=128)
        lowest = np.argsort(found.value)[: task.noisy.sum()]
        lost = np.stack([np.zeros_like(task.noisy), task.noisy, np.isin(np.arange(len(task.noisy)), lowest)])
        names = ("accuracy_all", "accuracy_without_noisy", "accuracy_without_lowest")
        figures = dict(zip(names, cache.utilities(~lost).tolist(), strict=True))
        score = {"auroc": auroc(found.value, task.noisy), "noisy": int(task.noisy.sum())}
        rows.append({"kind": "noisy", "seed": seed, "draw": draw, **score, **figures})
        rows += _removals(cache, found.value, seed, draw)
    return rows


def _removals(cache: Cached, worth: Float[np.ndarray, " owners"], seed: int, draw: int) -> list[Row]:
    """Accuracy while owners leave in three orders."""
    count = len(worth)
    generator = numpy_generator(seed, f"study/valuation/removal/{draw}")
    orders = {
        "lowest value first": np.argsort(worth),
        "highest value first": np.argsort(-worth),
        "at random": generator.permutation(count),
    }
    steps = range(0, count * 3 // 4 + 1, max(1, count // 16))
    rows: list[Row] = []
    for name, order in orders.items():
        left = np.stack([~np.isin(np.arange(count), order[:step]) for step in steps])
        for step, found in zip(steps, cache.utilities(left).tolist(), strict=True):
            rows.append({"kind": "removal", "seed": seed, "order": name, "removed": step, "accuracy": found})
    return rows


def serial_and_parallel(task: Task) -> list[Row]:
    """The same run in this process and on two local processes: bytes of values, variances and utilities."""
    found = []
    with Processes(2) as pool:
        for executor in (None, pool):
            cache = Cached(task.game(executor))
            values = value(cache, task.partition, Adjusted(), Evaluations(200), batch=100)
            found.append((values.value.tobytes(), values.variance.tobytes(), cache.to_arrays()["utilities"].tobytes()))
    return [{"kind": "executors", "identical": found[0] == found[1]}]
