"""The contract of every audit: what it is given, what a reading is, and what a reading may say.

A reading is one figure measured in the same way on the model before, on the model after, and on references that were
retrained without the forget set. The spread of the references is the **noise floor**. The same figure on the model
before says whether the test has **power**: one that would pass an untouched model proves nothing about a changed one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from expunge.auditing.intervals import Estimate
from expunge.errors import OperatorError, RequesterError
from expunge.progress import Progress
from expunge.records import Records
from expunge.training import Executor, Model, Recipe


class Finding(StrEnum):
    """What a reading may say; never that something is forgotten."""

    CONSISTENT = "consistent with retraining"
    DIFFERS = "differs from retraining"
    NO_POWER = "no power"
    UNMEASURED = "not measured"


WORDS = {
    Finding.CONSISTENT: "The test tells the model before from retrained models, and the model after from none of them.",
    Finding.DIFFERS: "The test tells the model after from retrained models.",
    Finding.NO_POWER: "The test cannot tell even the untouched model from retrained models: it says nothing here.",
    Finding.UNMEASURED: "The figure could not be measured.",
}


@dataclass(frozen=True)
class Reading:
    """One figure: before, after, and on each retrained reference.

    **Arguments:**

    - `name`, `unit`: such as `"LiRA AUC"`, `"points"`, `"nats"`.
    - `note`: what kept the figure from being measured, or what to know about it.
    """

    name: str
    unit: str
    before: Estimate
    after: Estimate
    references: tuple[Estimate, ...]
    note: str = ""

    @property
    def floor(self) -> tuple[float, float] | None:
        """The noise floor: from the lowest to the highest interval end of the references."""
        ends = [(e.low, e.high) for e in self.references if e.low is not None and e.high is not None]
        return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None

    @property
    def has_power(self) -> bool:
        """Whether the model before lies outside the noise floor, interval and all."""
        return self.floor is not None and not _meets(self.before, self.floor)

    @property
    def finding(self) -> Finding:
        """What this reading says."""
        if self.floor is None or self.before.low is None or self.after.low is None:
            return Finding.UNMEASURED
        if not _meets(self.after, self.floor):
            return Finding.DIFFERS
        return Finding.CONSISTENT if self.has_power else Finding.NO_POWER

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "name": self.name,
            "unit": self.unit,
            "before": vars(self.before),
            "after": vars(self.after),
            "references": [vars(reference) for reference in self.references],
            "floor": None if self.floor is None else list(self.floor),
            "has_power": self.has_power,
            "finding": self.finding.value,
            "words": WORDS[self.finding],
            "note": self.note,
        }


def _meets(estimate: Estimate, floor: tuple[float, float]) -> bool:
    low, high = estimate.low, estimate.high
    return low is not None and high is not None and low <= floor[1] and high >= floor[0]


@dataclass(frozen=True)
class Curve:
    """ROC curves of one membership test: points (false positive rate, true positive rate)."""

    name: str
    before: list[tuple[float, float]]
    after: list[tuple[float, float]]
    reference: list[tuple[float, float]]


@dataclass(frozen=True)
class Findings:
    """What one audit returns."""

    readings: tuple[Reading, ...]
    curves: tuple[Curve, ...] = ()
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Subject:
    """What is audited.

    **Arguments:**

    - `recipe`: of all the models; shadow models are trained by it.
    - `before`, `after`: the model with and without the forget set.
    - `forgotten`: training records of the forget set; `retained`: training records that stay; `test`: neither.
    - `references`: models retrained without the forget set under seeds of their own, at least two.

    **Raises:** `RequesterError("nothing-to-audit")` without forgotten records; `OperatorError("bad-data")` without test
    records or with fewer than two references.
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
    shared: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.forgotten):
            raise RequesterError("nothing-to-audit", "the forget set holds no training record")
        if not len(self.test) or not len(self.retained):
            raise OperatorError("bad-data", "an audit needs test records and retained records")
        if len(self.references) < 2:
            raise OperatorError("bad-data", "the noise floor needs at least two retrained references")

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """Before, after, and the references, in this order."""
        return (self.before, self.after, *self.references)

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """A costly thing that several audits use, made by the first that asks."""
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]


@runtime_checkable
class Audit(Protocol):
    """A frozen dataclass whose fields are the test's settings."""

    def run(self, subject: Subject) -> Findings:
        """Measure; never raises for what the models put out."""


def reading(name: str, unit: str, estimates: Sequence[Estimate], note: str = "") -> Reading:
    """A reading from estimates in the order of `Subject.models`."""
    before, after, *references = estimates
    if note == "" and any(estimate.value is None for estimate in estimates):
        note = "a model puts out values that are not finite"
    return Reading(name, unit, before, after, tuple(references), note)
