"""The front door: run audits on a subject, and the report that comes of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from expunge.auditing.accuracy import Accuracy
from expunge.auditing.audit import Audit, Findings, Subject
from expunge.auditing.confidence_mia import ConfidenceMIA
from expunge.auditing.divergence import Divergence
from expunge.auditing.lira import LiRA
from expunge.auditing.reading import Curve, Finding, Reading
from expunge.auditing.relearning import RelearningTime
from expunge.auditing.rmia import RMIA
from expunge.plain import encode
from expunge.progress import task

DEFAULT: tuple[Audit, ...] = (Accuracy(), Divergence(), ConfidenceMIA(), LiRA(), RMIA(), RelearningTime())
"""Every audit that needs no method, with its default settings."""

PRIMARY: Final = "LiRA AUC"
"""*The* number, to be read with its interval and the noise floor; the others explain it."""


@dataclass(frozen=True)
class AuditReport:
    """What a set of audits found.

    **Arguments:**

    - `audits`: their settings in plain form; `readings`, `curves`: in the order of the audits.
    - `references`: how many retrained models the noise floor is from; `reference_seeds`: their seeds.
    - `seed`: of the audits' own draws; `seconds`: of all audits, and `timings` of each, in their order.
    - `degraded`: what could not be measured, one sentence each.
    """

    audits: tuple[dict[str, Any], ...]
    readings: tuple[Reading, ...]
    curves: tuple[Curve, ...]
    references: int
    reference_seeds: tuple[int, ...]
    seed: int
    seconds: float
    timings: tuple[float, ...]
    degraded: tuple[str, ...]

    def of(self, name: str) -> Reading:
        """The reading called `name`; raises `KeyError`."""
        return {found.name: found for found in self.readings}[name]

    @property
    def primary(self) -> Reading | None:
        """The reading that an answer in one number is taken from; `None` where it is not among the readings."""
        return next((found for found in self.readings if found.name == PRIMARY), None)

    @property
    def summary(self) -> str:
        """One sentence: how many readings say what. Never that something is forgotten."""
        count = {finding: sum(found.finding is finding for found in self.readings) for finding in Finding}
        said = [f"{number} {finding.value}" for finding, number in count.items() if number]
        return f"{len(self.readings)} readings: {', '.join(said) or 'none'}"

    def to_json(self) -> dict[str, Any]:
        """Plain form; every number is finite."""
        return {
            "summary": self.summary,
            "primary": None if self.primary is None else PRIMARY,
            "audits": list(self.audits),
            "readings": [found.to_json() for found in self.readings],
            "curves": [vars(curve) for curve in self.curves],
            "references": self.references,
            "reference_seeds": list(self.reference_seeds),
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            "timings": [round(seconds, 3) for seconds in self.timings],
            "degraded": list(self.degraded),
        }


def audit(subject: Subject, audits: Sequence[Audit] = DEFAULT) -> AuditReport:
    """Run `audits` on `subject`; the same subject and seed give the same report, seconds apart.

    **Raises:** what training shadow models raises; never for what the models put out.
    """
    found: list[Findings] = []
    marks = [time.monotonic()]
    with task(subject.progress, "auditing", len(audits)) as advance:
        for each in audits:
            found.append(each.run(subject))
            marks.append(time.monotonic())
            advance()
    return AuditReport(
        tuple(encode(each) for each in audits),
        tuple(one for findings in found for one in findings.readings),
        tuple(one for findings in found for one in findings.curves),
        len(subject.references),
        tuple(reference.recipe.seed for reference in subject.references),
        subject.seed,
        marks[-1] - marks[0],
        tuple(after - before for before, after in pairwise(marks)),
        tuple(one for findings in found for one in findings.degraded),
    )
