"""The contract of every audit: what it is given, and what it returns."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

from expunge.auditing.outputs import Outputs, outputs
from expunge.auditing.reading import Curve, Reading
from expunge.errors import OperatorError, ProgrammerError, RequesterError
from expunge.progress import Progress
from expunge.randomness import derive
from expunge.records import Records
from expunge.training import Executor, Model, Recipe, courses, run_courses

Part = Literal["forgotten", "retained", "test"]
"""Which records of a subject."""

REFERENCES = 5
"""Retrained references by default: with two, Student's t leaves a noise floor that next to nothing exceeds."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is audited: two models, the records, and references that give the noise floor.

    **Arguments:**

    - `recipe`: of all the models; shadow models are trained by it.
    - `before`, `after`: the model with and without the forget set.
    - `forgotten`: training records of the forget set; `retained`: training records that stay; `test`: neither.
    - `references`: models retrained without the forget set under seeds of their own (`retrain_references`): at least
      two, better five or more.
    - `seed`: of everything that the audits draw; `executor`, `progress`: change speed and display only.
    - `augment`: for models of an augmented recipe: from records and those that may steer their copies, to the records
      and then moved copies of them all, each time in the same order. Shadow models are then trained on copies too.

    All records are prepared as all the models see them. Only the training part of `forgotten` and `retained` counts,
    and only the test part of `test`.

    **Raises:** `RequesterError("nothing-to-audit")` without forgotten training records; `OperatorError("bad-data")`
    without test or retained records, and where all records are of one class; `ProgrammerError("bad-subject")` for fewer
    than two references, a reference given twice, or a record in two parts.
    """

    recipe: Recipe
    before: Model
    after: Model
    forgotten: Records
    retained: Records
    test: Records
    references: tuple[Model, ...]
    seed: int = 0
    executor: Executor | None = None
    progress: Progress | None = None
    augment: Callable[[Records, Records], Records] | None = None
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, part in (("forgotten", self.forgotten.train), ("retained", self.retained.train)):
            object.__setattr__(self, name, part)
        object.__setattr__(self, "test", self.test.test)
        if not len(self.forgotten):
            raise RequesterError("nothing-to-audit", "the forget set holds no training record")
        if not len(self.test) or not len(self.retained):
            missing = "retained training" if len(self.test) else "test"
            raise OperatorError("bad-data", f"an audit needs {missing} records, and there are none", AUDIT_HINT)
        if self.retained.classes and len(self._classes) < 2:
            raise OperatorError("bad-data", "all records are of one class: no output could give one away", AUDIT_HINT)
        if len(self.references) < 2:
            raise ProgrammerError("bad-subject", "the noise floor needs at least two retrained references")
        if len({reference.digest for reference in self.references}) < len(self.references):
            raise ProgrammerError("bad-subject", "two references are the same model: give each a seed of its own")
        ids = [*self.forgotten.ids, *self.retained.ids, *self.test.ids]
        if len(set(ids)) < len(ids):
            raise ProgrammerError("bad-subject", "forgotten, retained and test records overlap")

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """Before, after, and the references, in this order."""
        return (self.before, self.after, *self.references)

    @cached_property
    def fair_test(self) -> Records:
        """Test records of the classes that still occur in training, as the literature counts after class deletion."""
        kept = set(self.retained.targets.tolist())
        if not self.retained.classes or kept >= set(self.test.targets.tolist()):
            return self.test
        return self.test.select([row for row, target in enumerate(self.test.targets.tolist()) if target in kept])

    def outputs(self, part: Part) -> list[Outputs]:
        """Answers of all the models to one part of the records, computed once; `test` is the fair test."""
        records = {"forgotten": self.forgotten, "retained": self.retained, "test": self.fair_test}[part]
        return self.once(f"outputs/{part}", lambda: [outputs(model, records) for model in self.models])  # type: ignore[no-any-return]

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """A costly thing that several audits use, made by the first that asks."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    @property
    def _classes(self) -> set[int]:
        parts = (self.forgotten, self.retained, self.test)
        return {int(target) for part in parts for target in part.targets.unique()}


AUDIT_HINT = "Membership can be measured only on data that holds training, forgotten and test records of two classes."


@dataclass(frozen=True)
class Findings:
    """What one audit returns: readings, ROC curves, and what could not be measured (one sentence each)."""

    readings: tuple[Reading, ...]
    curves: tuple[Curve, ...] = ()
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """An audit in words: what it asks, the paper it is from, and what it cannot say."""

    name: str
    asks: str
    source: str
    blind_to: str


@runtime_checkable
class Audit(Protocol):
    """A frozen dataclass whose fields are the test's settings."""

    def describe(self) -> Description:
        """The audit in words."""

    def run(self, subject: Subject) -> Findings:
        """Measure; never raises for what the models put out."""


def needs_classes(name: str) -> Findings:
    """What an audit that needs classes returns for regression."""
    return Findings((), degraded=(f"{name}: not measured, for it needs classes and the targets are numbers",))


def retrain_references(
    recipe: Recipe,
    retained: Records,
    count: int = REFERENCES,
    *,
    seed: int = 0,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> tuple[Model, ...]:
    """Models retrained on the retained training records under `count` seeds of their own, all in one stacked run.

    Each is what `train` gives under its seed. The seeds derive from `seed` and never equal the recipe's own.

    **Raises:** what training raises.
    """
    part = retained.train
    recipes = [replace(recipe, seed=derive(seed, f"audit/reference/{number}")) for number in range(count)]
    plans = [courses(each, part) for each in recipes]
    flat = [course for plan in plans for course in plan]
    states = iter(run_courses(recipe, part, flat, executor=executor, progress=progress).states)
    return tuple(
        Model(each, part.shape, part.classes, tuple(next(states) for _ in plan))
        for each, plan in zip(recipes, plans, strict=True)
    )
