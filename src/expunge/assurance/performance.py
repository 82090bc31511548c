"""A classifier's accuracy on people it never saw, as a check."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expunge.assurance.evidence import Finding, Verdict


@dataclass(frozen=True)
class Accuracy:
    """Share of test records that are classified right. `least` (share); `label` for the records of one class alone."""

    inputs: tuple[str, ...] = ("model", "test")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Count."""
        test = subjects["test"]
        right = subjects["model"].predict(test.features) == test.targets
        if "label" in arguments:
            right = right[test.targets == int(arguments["label"])]
        if not len(right):
            return Finding(Verdict.UNDECIDED, "no test record to look at")
        share, least = float(right.double().mean()), float(arguments["least"])
        words = f"{100 * share:.1f} % of {len(right)} test records are right"
        verdict = Verdict.HOLDS if share >= least else Verdict.FAILS
        return Finding(verdict, words, {"accuracy": share}, "right / records", f">= {least:g}")
