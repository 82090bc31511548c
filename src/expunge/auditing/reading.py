"""Readings: one figure on the models before and after and on retrained references, and what it may say.

The spread of the references is the **noise floor**. The same figure on the model before says whether the test has
**power**: a test that would pass an untouched model proves nothing about a changed one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

import numpy as np

from expunge.auditing.intervals import Estimate, next_value


class Finding(StrEnum):
    """What a reading may say; never that something is forgotten."""

    CONSISTENT = "consistent with retraining"
    DIFFERS = "differs from retraining"
    NO_POWER = "no power"
    UNMEASURED = "not measured"


WORDS: Final = {
    Finding.CONSISTENT: (
        "The test tells the model before from retrained models; the model after lies among the retrained ones."
    ),
    Finding.DIFFERS: "The model after lies where at most one retrained model in twenty would.",
    Finding.NO_POWER: "The test cannot tell even the untouched model from retrained models: it says nothing here.",
    Finding.UNMEASURED: "The figure could not be measured.",
}

RANGES: Final = {"share": (0.0, 1.0), "points": (0.0, 100.0)}
"""Units whose values cannot lie outside; all other figures are only known to be >= 0."""


@dataclass(frozen=True)
class Reading:
    """One figure: before, after, and on each retrained reference.

    **Arguments:**

    - `name`, `unit`: such as `"LiRA AUC"`, and one of `"share"`, `"points"`, `"nats"`, `"squared error"`,
      `"gradient evaluations"`.
    - `note`: what kept the figure from being measured, or what to know about it.
    - `no_signal`: the value without any signal, where there is one: 0.5 for an AUC.
    - `coupled`: each reference was measured against the others. Their values then spread by (k - 2) / (k - 1) of what
      independent ones would, and the floor makes up for it; with two there is no spread to go by.
    """

    name: str
    unit: str
    before: Estimate
    after: Estimate
    references: tuple[Estimate, ...]
    note: str = ""
    no_signal: float | None = None
    coupled: bool = False

    @cached_property
    def floor(self) -> tuple[float, float] | None:
        """The noise floor: where one more retrained model would show its figure, at 95 %.

        The hull of Student's prediction interval over the references (training seeds), of their mean interval (few
        records), and of their values. `None` unless two references could be measured.
        """
        measured = [each for each in self.references if each.value is not None]
        values = [each.value for each in measured if each.value is not None]
        ends = next_value(values, self._stretch)
        if ends is None:
            return None
        intervals = [each.interval for each in measured if each.interval is not None]
        mean = [tuple(np.mean(intervals, axis=0))] if intervals else []
        low = min(*values, *(pair[0] for pair in (ends, *mean)))
        high = max(*values, *(pair[1] for pair in (ends, *mean)))
        least, most = RANGES.get(self.unit, (0.0, np.inf))
        return float(max(low, least)), float(min(high, most))

    @property
    def _stretch(self) -> float:
        count = sum(each.value is not None for each in self.references)
        return (count - 1) / (count - 2) if self.coupled and count > 2 else 1.0

    @property
    def has_power(self) -> bool:
        """Whether the model before can be told from retrained ones: outside the floor, and no chance of few records.

        Its interval must leave out the references' mean, and the value without signal where that is in the floor.
        """
        before, floor = self.before, self.floor
        if floor is None or before.value is None or before.interval is None or _within(before.value, floor):
            return False
        centre = float(np.mean([each.value for each in self.references if each.value is not None]))
        idle = (
            self.no_signal is not None and _within(self.no_signal, floor) and _within(self.no_signal, before.interval)
        )
        return not _within(centre, before.interval) and not idle

    @property
    def finding(self) -> Finding:
        """What this reading says."""
        if self.floor is None or self.before.value is None or self.after.value is None:
            return Finding.UNMEASURED
        if not _within(self.after.value, self.floor):
            return Finding.DIFFERS
        return Finding.CONSISTENT if self.has_power else Finding.NO_POWER

    @property
    def direction(self) -> str:
        """On which side of the floor the model after lies, where it differs."""
        if self.finding is not Finding.DIFFERS or self.floor is None:
            return ""
        assert self.after.value is not None
        assert self.before.value is not None
        above = self.after.value > self.floor[1]
        towards = self.before.value > self.floor[1] if above else self.before.value < self.floor[0]
        return "on the side of the model before" if towards else "not on the side of the model before"

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
            "note": "; ".join(part for part in (self.note, self.direction) if part),
            "no_signal": self.no_signal,
        }


@dataclass(frozen=True)
class Curve:
    """ROC curves of one membership test: corners (false positive rate, true positive rate)."""

    name: str
    before: list[tuple[float, float]]
    after: list[tuple[float, float]]
    reference: list[tuple[float, float]]


NOT_FINITE: Final = "a model puts out values that are not finite"


def reading(
    name: str,
    unit: str,
    estimates: Sequence[Estimate],
    note: str = "",
    *,
    no_signal: float | None = None,
    coupled: bool = False,
) -> Reading:
    """A reading from estimates in the order of `Subject.models`; says so where one could not be measured."""
    before, after, *references = estimates
    if any(estimate.value is None for estimate in estimates):
        note = "; ".join(part for part in (note, NOT_FINITE) if part)
    return Reading(name, unit, before, after, tuple(references), note, no_signal, coupled)


def _within(value: float, ends: tuple[float, float]) -> bool:
    return ends[0] <= value <= ends[1]
