"""The front door: run audits on a subject, and the report that comes of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from expunge.auditing.accuracy import Accuracy
from expunge.auditing.audit import Audit, Curve, Finding, Reading, Subject
from expunge.auditing.confidence_mia import ConfidenceMIA
from expunge.auditing.divergence import Divergence
from expunge.auditing.lira import LiRA
from expunge.auditing.relearning import RelearningTime
from expunge.auditing.rmia import RMIA
from expunge.plain import encode
from expunge.progress import Progress
from expunge.randomness import derive
from expunge.records import Records
from expunge.training import Executor, Model, Recipe, run_courses
from expunge.training.courses import courses

DEFAULT: tuple[Audit, ...] = (Accuracy(), Divergence(), ConfidenceMIA(), LiRA(), RMIA(), RelearningTime())
"""Every audit with its default settings."""


@dataclass(frozen=True)
class AuditReport:
    """What a set of audits found.

    **Arguments:** `audits`: their settings in plain form; `readings`, `curves`: in the order of the audits; `seed`;
    `seconds`; `degraded`: what could not be measured.
    """

    audits: tuple[dict[str, Any], ...]
    readings: tuple[Reading, ...]
    curves: tuple[Curve, ...]
    references: int
    seed: int
    seconds: float
    degraded: tuple[str, ...]

    def of(self, name: str) -> Reading:
        """The reading called `name`; raises `KeyError`."""
        return {found.name: found for found in self.readings}[name]

    @property
    def summary(self) -> str:
        """One sentence: how many readings say what. Never that something is forgotten."""
        count = {finding: sum(found.finding is finding for found in self.readings) for finding in Finding}
        said = [f"{number} {finding.value}" for finding, number in count.items() if number]
        return f"{len(self.readings)} readings: {', '.join(said)}"

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "summary": self.summary,
            "audits": list(self.audits),
            "readings": [found.to_json() for found in self.readings],
            "curves": [vars(curve) for curve in self.curves],
            "references": self.references,
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            "degraded": list(self.degraded),
        }


def audit(subject: Subject, audits: Sequence[Audit] = DEFAULT) -> AuditReport:
    """Run `audits` on `subject`; the same subject and seed give the same report, seconds apart.

    **Raises:** what the subject's checks raise; never for what the models put out.
    """
    started = time.monotonic()
    found = [each.run(subject) for each in audits]
    return AuditReport(
        tuple(encode(each) for each in audits),
        tuple(one for findings in found for one in findings.readings),
        tuple(one for findings in found for one in findings.curves),
        len(subject.references),
        subject.seed,
        time.monotonic() - started,
        tuple(one for findings in found for one in findings.degraded),
    )


def retrain_references(
    recipe: Recipe,
    retained: Records,
    count: int = 2,
    *,
    seed: int = 0,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> tuple[Model, ...]:
    """Models retrained on the retained training records under `count` seeds of their own, all in one stacked run."""
    plans = [courses(replace(recipe, seed=derive(seed, f"reference/{n}")), retained) for n in range(count)]
    flat = [course for plan in plans for course in plan]
    states = run_courses(recipe, retained, flat, executor=executor, progress=progress).states
    size = len(plans[0])
    return tuple(
        Model(recipe, retained.shape, retained.classes, tuple(states[size * n : size * (n + 1)])) for n in range(count)
    )
