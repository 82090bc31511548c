"""Swapping after the audit: an honest retraining is proven, and the original model goes back into use."""

from dataclasses import dataclass

from expunge.adversaries.providers.contract import Case, Description, Handed, trained_on
from expunge.training import BatchStream


@dataclass(frozen=True)
class SwapAfterAudit:
    """Everything that is handed over is honest; what is deployed afterwards is not."""

    def describe(self) -> Description:
        """The attack in words."""
        return Description("swap-after-audit", "Prove an honest model, deploy the original.", "spec of Expunge")

    def run(self, case: Case) -> Handed:
        """An honest run, and the original model in use."""
        rows = BatchStream(case.stage, case.recipe.batch_size, case.recipe.seed).block(0, case.steps)
        snapshots = trained_on(case, case.retained, lambda module: rows)
        return case.handed(case.proof(snapshots, rows), case.model, rows.numel())
