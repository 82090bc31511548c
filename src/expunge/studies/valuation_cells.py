"""What the cells of the study `valuation` measure."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from expunge.randomness import numpy_generator
from expunge.studies.valuation_task import Task, auroc, task_of
from expunge.training import Processes
from expunge.valuation import (
    Adjusted,
    Cached,
    Complementary,
    Constituents,
    Estimator,
    Evaluations,
    Exact,
    Game,
    HalfWidth,
    Multilinear,
    Partition,
    Permutation,
    Rounds,
    Status,
    Truncated,
    UtilitySampling,
    Values,
    update,
    value,
)
from expunge.valuation.games import Airport, Dividends, paper_game, random_dividends, random_game

Row = dict[str, Any]

Contents = dict[tuple[int, ...], Float32[np.ndarray, "records classes"]]
"""Posteriors of constituents by the owners that they saw."""

ESTIMATORS: dict[str, Estimator] = {
    "permutation": Permutation(),
    "utility": UtilitySampling(),
    "complementary": Complementary(),
    "multilinear": Multilinear(),
    "truncated": Truncated(tolerance=0.005, dip=0.005),
    "ours": Adjusted(),
}

BUDGETS = {"small": (1000, 2000, 4000), "full": (1000, 2000, 4000, 8000, 16000)}
REPEATS = {"small": 4, "full": 8}
RUNS = 60
"""Independent runs behind the test of bias."""

ERROR = 0.01
"""Half-width of values that are shown."""

BEFORE = 8000
"""Utilities behind the values before an exit; times are compared at twice the half-width that they give."""


NARROWEST = 1e-4
"""Half-width at which times are compared where the values before are exact."""


def known_games() -> list[Row]:
    """Exact values of known games against their closed forms, and the four properties on random games."""
    found = value(paper_game(), Partition(((0, 1), (2,))), Exact()).value
    errors = [float(np.abs(found - [3, 7, 2]).max())]
    violations = 0
    for seed in range(6):
        generator = numpy_generator(seed, "study/valuation/games")
        owners = int(generator.integers(4, 11))
        partition = _random_partition(owners, generator)
        games: list[Dividends | Airport] = [
            random_dividends(owners, 30, seed),
            Airport(tuple(generator.random(owners))),
        ]
        errors += [float(np.abs(value(g, partition, Exact()).value - g.s_shapley(partition)).max()) for g in games]
        violations += _violations(partition, seed)
    z = max(_bias_z(estimator) for name, estimator in ESTIMATORS.items() if name != "truncated")
    return [{"kind": "known", "max_error": max(errors), "violations": int(violations), "bias_z": z}]


def _random_partition(owners: int, generator: np.random.Generator) -> Partition:
    shard = generator.integers(0, 4, owners)
    groups = (tuple(np.flatnonzero(shard == number).tolist()) for number in range(4))
    return Partition(tuple(group for group in groups if group))


def _violations(partition: Partition, seed: int) -> int:
    """Balance, symmetry within a shard, zero element, additivity: how many do not hold to 1e-10."""
    n = partition.width
    one, two = random_game(n, seed=seed), random_game(n, seed=seed + 100)
    first, second = (value(game, partition, Exact()).value for game in (one, two))
    ends = one.utilities(np.array([[False] * n, [True] * n]))
    both = value(_Sum(one, two), partition, Exact()).value
    twins = max(partition.shards, key=len)[:2]
    alike = value(_Alike(one, twins), partition, Exact())
    idle = value(_Without(one, partition.owners[0]), partition, Exact())
    return sum(
        (
            abs(first.sum() - (ends[1] - ends[0])) > 1e-10,
            bool(np.abs(both - first - second).max() > 1e-10),
            len(twins) == 2 and abs(alike.of(twins[0]) - alike.of(twins[-1])) > 1e-10,
            abs(idle.of(partition.owners[0])) > 1e-10,
        )
    )


class _Sum:
    """Two games added."""

    def __init__(self, one: Game, two: Game) -> None:
        self.parts, self.owners = (one, two), one.owners

    def utilities(self, coalitions: np.ndarray) -> np.ndarray:
        return np.asarray(self.parts[0].utilities(coalitions) + self.parts[1].utilities(coalitions))


class _Alike:
    """A game in which two owners count alike: utilities averaged over their exchange."""

    def __init__(self, game: Game, twins: tuple[int, ...]) -> None:
        self.game, self.twins, self.owners = game, twins, game.owners

    def utilities(self, coalitions: np.ndarray) -> np.ndarray:
        swapped = coalitions.copy()
        swapped[:, list(self.twins)] = coalitions[:, list(self.twins[::-1])]
        return np.asarray((self.game.utilities(coalitions) + self.game.utilities(swapped)) / 2)


class _Without:
    """A game in which one owner changes nothing."""

    def __init__(self, game: Game, owner: int) -> None:
        self.game, self.owner, self.owners = game, owner, game.owners

    def utilities(self, coalitions: np.ndarray) -> np.ndarray:
        less = coalitions.copy()
        less[:, self.owner] = False
        return np.asarray(self.game.utilities(less))


def _bias_z(estimator: Estimator) -> float:
    """Largest mean error over owners in standard errors, from independent runs on a random game."""
    partition = Partition(((0, 1, 2), (3, 4), (5,), (6, 7, 8)))
    game = Cached(random_game(9, seed=11))
    truth = value(game, partition, Exact()).value
    runs = [value(game, partition, estimator, Rounds(2), seed=seed, batch=96).value - truth for seed in range(RUNS)]
    error = np.array(runs)
    spread = np.maximum(error.std(0, ddof=1), 1e-12) / len(error) ** 0.5
    return float(np.abs(error.mean(0) / spread).max())


class _Known:
    """A game whose utilities are known already; counts the constituents that a run would train."""

    def __init__(self, cache: Cached, partition: Partition) -> None:
        self.cache, self.partition, self.owners = cache, partition, cache.owners
        self.register = Constituents()

    def utilities(self, coalitions: np.ndarray) -> np.ndarray:
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


def exits(task: Task, seed: int) -> list[Row]:
    """Single and batched exits: the time to values of equal width, and the values before and after the single one.

    Before the exit there are values, and the constituents that they took: what a workspace keeps. The update estimates
    the change so that both together have twice the width of these values. Valuing anew starts from nothing, as in the
    paper, and once from the kept constituents: what the cache alone saves.
    """
    shards, game = task.partition.shards, task.game()
    before = value(Cached(game), task.partition, Adjusted(), Evaluations(BEFORE), seed=seed)
    kept, width = game.contents(), max(2 * float(before.half_width().max()), NARROWEST)
    batch = tuple(shard[-1] for shard in shards[:3])
    rows: list[Row] = []
    for kind, leavers in (("single", (shards[0][0],)), ("batched", batch)):
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
    """Seconds of one core, utilities, trainings and width of the update and of valuing anew; the updated values."""
    left, rest = task.partition.without(leavers), width * 0.75**0.5
    ways: dict[str, tuple[Contents, Callable[[Game], Values]]] = {
        "update": (kept, lambda game: update(before, game, leavers, stop=HalfWidth(rest), seed=seed)),
        "recompute": ({}, lambda game: value(game, left, Adjusted(), HalfWidth(width), seed=seed)),
        "warm": (kept, lambda game: value(game, left, Adjusted(), HalfWidth(width), seed=seed)),
    }
    found: Row = {}
    results = {}
    for name, (constituents, way) in ways.items():
        game = task.game()
        game.restore(constituents)
        started = time.process_time()
        results[name] = values = way(Cached(game))
        found[f"{name}_seconds"] = time.process_time() - started
        found[f"{name}_evaluations"] = values.evaluations
        found[f"{name}_trainings"] = game.trainings
        found[f"{name}_half_width"] = float(values.half_width().max())
    return found, results["update"]


def noisy_owners(records: Any, scale: str, seed: int) -> list[Row]:
    """A fifth of the owners with flipped labels: do their values stand at the bottom, and does removing them help?"""
    task = task_of(records, scale, seed, noisy=0.2)
    game = task.game()
    cache = Cached(game)
    found = value(cache, task.partition, Adjusted(), HalfWidth(ERROR), seed=seed)
    rows: list[Row] = [
        {
            "kind": "noisy",
            "seed": seed,
            "auroc": auroc(found.value, task.noisy),
            "noisy": int(task.noisy.sum()),
            "accuracy_all": float(cache.utilities(np.ones((1, len(task.noisy)), np.bool_))[0]),
            "accuracy_without_noisy": float(cache.utilities(~task.noisy[None])[0]),
        }
    ]
    generator = numpy_generator(seed, "study/valuation/removal")
    orders = {
        "lowest value first": np.argsort(found.value),
        "highest value first": np.argsort(-found.value),
        "at random": generator.permutation(len(found.value)),
    }
    for name, order in orders.items():
        steps = np.arange(0, len(order) * 3 // 4 + 1, max(1, len(order) // 16))
        coalitions = np.stack([~np.isin(np.arange(len(order)), order[:step]) for step in steps])
        for step, worth in zip(steps.tolist(), cache.utilities(coalitions).tolist(), strict=True):
            rows.append({"kind": "removal", "seed": seed, "order": name, "removed": step, "accuracy": worth})
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
