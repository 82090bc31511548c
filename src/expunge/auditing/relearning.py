"""Relearning time: how fast the forgotten records are learnt again."""

from dataclasses import dataclass, replace

from expunge.auditing.audit import Findings, Subject, reading
from expunge.auditing.intervals import Estimate
from expunge.auditing.outputs import correct
from expunge.records import Records
from expunge.training import Constant, Course, Model, Recipe, Stage, courses, run_courses


@dataclass(frozen=True)
class RelearningTime:
    """Gradients of forgotten records until the accuracy on them is back at the model's before; 0 where it never left.

    A model that only hides what it knows learns it again sooner than a retrained one. Each constituent of a sharded
    model learns the forgotten records of its own shard. Without sampling error; the floor is the references' spread.

    **Arguments:** `looks`: passes after which to give up; `lr`: constant rate, `None` for a tenth of the recipe's.
    """

    looks: int = 30
    lr: float | None = None

    def run(self, subject: Subject) -> Findings:
        """One reading, in gradient evaluations."""
        goal = correct(subject.before, subject.forgotten)
        if goal is None:
            return Findings((), degraded=("relearning time: the model before puts out values that are not finite",))
        estimates = [self._time(model, subject, float(goal.mean())) for model in subject.models]
        return Findings((reading("relearning time", "gradient evaluations", estimates),))

    def _time(self, model: Model, subject: Subject, goal: float) -> Estimate:
        records, current = subject.forgotten, model
        for look in range(self.looks + 1):
            hits = correct(current, records)
            if hits is None:
                return Estimate(None)
            if hits.mean() >= goal:
                return Estimate.exactly(float(look * len(records)))
            current = self._pass(current, subject.recipe, records, look, subject.seed)
        return Estimate.exactly(float((self.looks + 1) * len(records)))

    def _pass(self, model: Model, recipe: Recipe, records: Records, look: int, seed: int) -> Model:
        """One pass of each constituent over its own forgotten records."""
        rate = recipe.optimiser.lr / 10 if self.lr is None else self.lr
        slow = replace(recipe, optimiser=replace(recipe.optimiser, lr=rate), schedule=Constant(), sharding=None)
        finals = [course.stages[-1] for course in courses(recipe, records)]
        plan = [
            Course("relearn", (Stage(f"relearn/{look}/{final.name}", final.rows, 1.0),), seed, state)
            for final, state in zip(finals, model.constituents, strict=True)
            if state is not None and final.rows
        ]
        states = iter(run_courses(slow, records, plan).states)
        constituents = tuple(
            next(states) if state is not None and final.rows else state
            for final, state in zip(finals, model.constituents, strict=True)
        )
        return Model(model.recipe, model.shape, model.classes, constituents)
