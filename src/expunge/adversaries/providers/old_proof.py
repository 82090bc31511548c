"""Replaying an old proof: the submission that satisfied the verifier once is handed over again."""

from dataclasses import dataclass

from expunge.adversaries.providers.contract import Case, Description, Handed
from expunge.errors import ProgrammerError


@dataclass(frozen=True)
class ReplayOldProof:
    """Hand over the checkpoints of an earlier accepted run, made for other data or under another nonce."""

    def describe(self) -> Description:
        """The attack in words."""
        return Description("old-proof", "Hand over a proof that was accepted before.", "spec of Expunge")

    def run(self, case: Case) -> Handed:
        """No work at all; raises `ProgrammerError("bad-shape")` for a case without an earlier submission."""
        if case.earlier is None:
            raise ProgrammerError("bad-shape", "there is no earlier submission to hand over")
        return case.handed(case.earlier.proof)
