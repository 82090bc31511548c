"""After the fact: the model after the deletion beside the one before, on probes whose answers are known."""

from dataclasses import dataclass

import torch

from expunge.screening.submission import Description, Finding, Submission, Verdict


@dataclass(frozen=True)
class Canaries:
    """Holds a model whose accuracy on some class of probes fell by more than chance and `fall` allow.

    **Arguments:** `fall`: of a class's accuracy, in [0, 1]; `deviations`: of a share of so many probes, on top of it.
    """

    fall: float = 0.02
    deviations: float = 3.0

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "canaries",
            "Deletions that cost a whole class its accuracy: over-unlearning, usability attacks.",
            "Flips of single targets, unless they are probes.",
            "spec D2 (4)",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """Compare class by class; without a model after the deletion there is nothing to compare."""
        del threshold
        test, after = submission.ground.records.test, submission.after
        if after is None:
            return Finding("canaries", Verdict.PASSED, "Nothing was deleted yet: no model to compare with.")
        was = submission.ground.model.predict(test.features) == test.targets
        now = after.predict(test.features) == test.targets
        worst, held = 0.0, False
        for label in test.targets.unique().tolist():
            here = test.targets == label
            before, count = float(was[here].double().mean()), int(here.sum())
            lost = before - float(now[here].double().mean())
            chance = (max(before * (1 - before), 1 / count) / count) ** 0.5
            worst, held = max(worst, lost), held or lost > self.fall + self.deviations * chance
        scores = {"worst_class_fall": worst, "flips": float(torch.sum(was & ~now))}
        words = f"The worst class lost {worst:.1%} of accuracy; {scores['flips']:.0f} probes flipped to wrong."
        return Finding("canaries", Verdict.HELD if held else Verdict.PASSED, words, scores)
