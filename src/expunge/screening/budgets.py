"""Budgets: how much one owner, and everybody together, may delete in a window before a person looks."""

from dataclasses import dataclass

from expunge.screening.submission import Description, Finding, Submission, Verdict


@dataclass(frozen=True)
class Budgets:
    """Holds what goes over a share of the training records within a window.

    **Arguments:** `days`: length of the window; `owner`, `everybody`: shares of the training records in [0, 1].
    """

    days: float = 30.0
    owner: float = 0.2
    everybody: float = 0.5

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "budgets",
            "Floods: one owner, or many, deleting a large part of the data in a short time.",
            "Small requests, however they were chosen; many identities below the shares.",
            "spec D2 (3)",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """Add up the window."""
        del threshold
        size = max(1, submission.ground.size)
        recent = [past for past in submission.history if submission.day - past.day <= self.days]
        total = submission.training + sum(past.records for past in recent)
        mine = submission.training + sum(p.records for p in recent if p.owner == submission.pseudonym and p.owner)
        scores = {"owner_share": mine / size, "window_share": total / size}
        held = scores["owner_share"] > self.owner or scores["window_share"] > self.everybody
        words = (
            f"{scores['owner_share']:.1%} of the training records by this owner and {scores['window_share']:.1%} by all"
            f" in {self.days:g} days; a person looks above {self.owner:.0%} and {self.everybody:.0%}."
        )
        return Finding("budgets", Verdict.HELD if held else Verdict.PASSED, words, scores)
