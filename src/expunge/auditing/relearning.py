"""Relearning time: how fast the forgotten records are learnt again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.func import functional_call

from expunge.auditing.audit import Description, Findings, Subject
from expunge.auditing.intervals import CONFIDENCE, UNMEASURED, Estimate
from expunge.auditing.outputs import merged
from expunge.auditing.reading import reading
from expunge.auditing.shadows import places
from expunge.errors import ProgrammerError
from expunge.networks import State, initialise, state_of
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.training import Constant, Course, Model, Recipe, Snapshot, Stage, run_courses

FINEST = 100
"""Looks at the losses at most; between them are equal numbers of steps."""

BOOTSTRAPS = 1000
"""Resamplings of the forgotten records behind each interval."""


@dataclass(frozen=True)
class RelearningTime:
    """Gradients of forgotten records until the mean loss on them is back where it was in the model before.

    A model that only hides what it knows learns it again sooner than a retrained one (Golatkar et al., CVPR 2020). Each
    constituent of a sharded model learns the forgotten records of its own shard, all of them step by step together.
    Intervals: percentile bootstrap over the forgotten records.

    **Arguments:**

    - `looks`: passes over the forgotten records after which to give up.
    - `lr`: constant learning rate, `None` for a tenth of the recipe's.
    - `slack`: share by which the loss may stay above that of the model before.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    looks: int = 100
    lr: float | None = None
    slack: float = 0.1

    def __post_init__(self) -> None:
        if self.looks < 1 or self.slack < 0 or (self.lr is not None and not self.lr > 0):
            raise ProgrammerError("bad-hyperparameter", "looks >= 1, slack >= 0 and lr > 0 are needed")

    def describe(self) -> Description:
        """The audit in words."""
        return Description(
            "RelearningTime",
            "Is the forgotten learnt again sooner than by a retrained model?",
            "relearn time of Golatkar et al., CVPR 2020, by loss",
            "Whatever does not ease learning it again; and where retraining knows the records anyway, everything.",
        )

    def run(self, subject: Subject) -> Findings:
        """One reading, in gradient evaluations."""
        try:
            times, losses = self.curves(subject)
        except ProgrammerError as error:
            if error.code not in ("batch-of-one", "diverged"):
                raise
            return Findings((), degraded=(f"relearning time: not measured, for {error}",))
        goal = losses[0][0] * (1 + self.slack)
        cost = sum(min(subject.recipe.batch_size, len(rows)) for rows in _rows(subject).values())
        weights = _weights(len(subject.forgotten), subject.seed)
        estimates = [_estimate(cost * times, curve, goal, weights) for curve in losses]
        late = sum(not bool((curve.mean(1) <= goal.mean()).any()) for curve in losses)
        note = f"{late} of {len(losses)} models did not get there in {self.looks} passes" if late else ""
        return Findings((reading("relearning time", "gradient evaluations", estimates, note),))

    def curves(self, subject: Subject) -> tuple[Int[np.ndarray, " looks"], list[Float[np.ndarray, "looks records"]]]:
        """Steps of each look, and for each model the loss of each forgotten record, in its own constituent, at each.

        **Raises:** `ProgrammerError("batch-of-one" | "diverged")`.
        """
        rows, slow = _rows(subject), self._recipe(subject.recipe)
        steps = max(-(-self.looks * len(part) // min(slow.batch_size, len(part))) for part in rows.values())
        every = max(1, steps // FINEST)
        watch = _Watch(subject.forgotten, slow, every)
        healthy = [model for model in subject.models if _finite(model)]
        plan = [
            _course(f"audit/relearn/{number}/{shard}", part, steps, slow, subject.seed, model.constituents[shard])
            for number, model in enumerate(healthy)
            for shard, part in rows.items()
        ]
        for course in plan:
            watch.begin(course)
        run_courses(slow, subject.forgotten, plan, checkpoints=watch)
        tables = iter([watch.table(f"audit/relearn/{number}/", rows) for number in range(len(healthy))])
        times = np.array([*range(0, steps, every), steps])
        nothing = np.full((len(times), len(subject.forgotten)), np.nan)
        return times, [next(tables) if model in healthy else nothing for model in subject.models]

    def _recipe(self, recipe: Recipe) -> Recipe:
        rate = recipe.stepwise.lr / 10 if self.lr is None else self.lr
        return replace(recipe, optimiser=replace(recipe.stepwise, lr=rate), schedule=Constant(), sharding=None)


class _Watch:
    """Checkpoints that keep no checkpoint, only the losses at each look."""

    def __init__(self, records: Records, recipe: Recipe, every: int) -> None:
        self.every: int | None = every
        self._records, self._recipe = records, recipe
        self._frame = Model(recipe, records.shape, records.classes, ()).module(_fresh(recipe, records, 0, "frame"))
        self._parts: dict[str, Records] = {}
        self._losses: dict[str, list[np.ndarray]] = {}

    def begin(self, course: Course) -> None:
        """The look before the first step; a constituent without records begins with fresh weights."""
        self._parts[course.name] = self._records.select(course.stages[0].rows)
        self._losses[course.name] = []
        self.save(course.name, course.start or _fresh(self._recipe, self._records, course.seed, course.name))

    def load(self, name: str) -> State | None:
        """Nothing is kept."""
        del name
        return None

    def save(self, name: str, state: State) -> None:
        """Look."""
        part = self._parts[name]
        with torch.no_grad():
            answers = functional_call(self._frame, state, (part.features,))
        self._losses[name].append(merged([answers.double()], part).loss)

    def load_snapshot(self, name: str) -> Snapshot | None:
        """Nothing is kept."""
        del name
        return None

    def save_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Look."""
        self.save(name, snapshot.state)

    def table(self, prefix: str, rows: Mapping[int, Sequence[int]]) -> Float[np.ndarray, "looks records"]:
        """Losses of one model's constituents, in the order of the records."""
        columns = np.concatenate([np.stack(self._losses[f"{prefix}{shard}"]) for shard in rows], axis=1)
        order = np.concatenate([np.asarray(part) for part in rows.values()])
        return np.asarray(columns[:, np.argsort(order)])


def _fresh(recipe: Recipe, records: Records, seed: int, name: str) -> State:
    return state_of(initialise(recipe.network, records.shape, records.classes, seed=seed, name=name))


def _course(name: str, rows: Sequence[int], steps: int, recipe: Recipe, seed: int, start: State | None) -> Course:
    """A course of just `steps` steps: half a step less is rounded up to them."""
    width = min(recipe.batch_size, len(rows))
    return Course(name, (Stage(name, tuple(rows), (steps - 0.5) * width / len(rows)),), seed, start)


def _rows(subject: Subject) -> dict[int, list[int]]:
    """Rows of the forgotten records by constituent."""
    found: dict[int, list[int]] = {}
    for row, (shard, _) in enumerate(places(subject.recipe, subject.forgotten)):
        found.setdefault(shard, []).append(row)
    return dict(sorted(found.items()))


def _finite(model: Model) -> bool:
    states = [state for state in model.constituents if state is not None]
    return all(bool(tensor.isfinite().all()) for state in states for tensor in state.values())


def _weights(count: int, seed: int) -> Float[np.ndarray, "samples records"]:
    """How much each record counts in each bootstrap sample."""
    generator = numpy_generator(seed, "audit/relearn/bootstrap")
    return np.asarray(generator.multinomial(count, np.full(count, 1 / count), BOOTSTRAPS) / count)


def _estimate(
    costs: Int[np.ndarray, " looks"],
    losses: Float[np.ndarray, "looks records"],
    goal: Float[np.ndarray, " records"],
    weights: Float[np.ndarray, "samples records"],
) -> Estimate:
    if np.isnan(losses).any() or np.isnan(goal).any():
        return UNMEASURED
    value = float(costs[first_below(losses.mean(1)[None], goal.mean()[None])[0]])
    sampled = costs[first_below(weights @ losses.T, weights @ goal)]
    low, high = np.quantile(sampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, min(float(low), value), max(float(high), value))


def first_below(
    curves: Float[np.ndarray, "curves looks"], goals: Float[np.ndarray, " curves"]
) -> Int[np.ndarray, " curves"]:
    """The first look at which each curve is at its goal or below; the last look where none is."""
    there = curves <= goals[:, None]
    return np.asarray(np.where(there.any(1), there.argmax(1), curves.shape[1] - 1))
