"""The front door: every screen on one request, one verdict in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from expunge.errors import RequesterError
from expunge.screening.budgets import Budgets
from expunge.screening.calibration import Calibration
from expunge.screening.contrasts import Matched, RandomOrder, ShardDisagreement
from expunge.screening.exact_match import ExactMatch
from expunge.screening.forecasts import Alignment, DryRun, GroupLeftOut, Statistics
from expunge.screening.medoids import Medoids
from expunge.screening.submission import Finding, Screen, Submission, Verdict

GATES: Final[tuple[Screen, ...]] = (ExactMatch(), Budgets())
"""Those that need no calibration; record matching is never switched off."""

EVIDENCE: Final[tuple[Screen, ...]] = (
    DryRun(),
    Alignment(),
    GroupLeftOut(),
    Matched(),
    RandomOrder(),
    ShardDisagreement(),
    Statistics(),
    Medoids(),
)
"""Those that measure beside the combined screen, for the person who looks; they decide nothing by themselves."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on a request, the gravest of the findings, and why."""

    verdict: Verdict
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence for each finding that decides: those that speak against the request, else all that passed."""
        against = [f"{found.screen}: {found.words}" for found in self.findings if found.verdict is not Verdict.PASSED]
        return tuple(against or [f"{f.screen}: {f.words}" for f in self.findings if f.screen not in _EVIDENCE_NAMES])

    def demand(self) -> "Judgement":
        """This judgement, or its refusal raised.

        **Raises:** `RequesterError("unknown-record" | "not-owner" | "altered-copy")`.
        """
        for found in self.findings:
            if found.verdict is Verdict.REFUSED and found.code is not None:
                raise RequesterError(found.code, found.words)
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain form; it names nobody."""
        found = [each.to_json() for each in self.findings]
        return {"verdict": str(self.verdict), "reasons": list(self.reasons), "findings": found}


def screen(
    submission: Submission,
    calibration: Calibration | None = None,
    *,
    gates: Sequence[Screen] = GATES,
    evidence: Sequence[Screen] = EVIDENCE,
) -> Judgement:
    """Judge a request: the gates always, and with a calibration of this model the combined screen and its evidence.

    What a gate refuses is looked at no further.
    """
    found = [gate.judge(submission) for gate in gates]
    refused = any(each.verdict is Verdict.REFUSED for each in found)
    if calibration is not None and not refused and len(submission.rows):
        found.append(calibration.screen.judge(submission, calibration.threshold(len(submission.rows))))
        found += [each.judge(submission) for each in evidence]
    order = [Verdict.REFUSED, Verdict.HELD, Verdict.PASSED]
    return Judgement(min((each.verdict for each in found), key=order.index, default=Verdict.PASSED), tuple(found))


_EVIDENCE_NAMES: Final = frozenset(each.describe().name for each in EVIDENCE)
