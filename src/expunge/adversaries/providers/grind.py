"""Grinding: try many schedules of one's own, keep the one that suits, and say that the verifier's nonce drew it."""

from dataclasses import dataclass, replace

import torch

from expunge.adversaries.providers.contract import Case, Description, Handed, trained_on
from expunge.networks import initialise
from expunge.randomness import derive
from expunge.training import BatchStream


@dataclass(frozen=True)
class Grind:
    """Of `schedules` seeds take the one whose initial network already fits the forgotten records best; train by it.

    Training all of them out would be the same attack at a thousand times the price: what is found is the other
    schedule, however it was picked.

    **Arguments:** `seed`: of the schedules; `chosen`: the seed that was found before, for nothing hangs on the nonce.
    """

    schedules: int = 1000
    seed: int = 0
    chosen: int | None = None

    def describe(self) -> Description:
        """The attack in words."""
        return Description("grind", f"Keep the best of {self.schedules} schedules.", "spec of Expunge")

    def run(self, case: Case) -> Handed:
        """An honest run under a schedule that was chosen."""
        chosen = replace(
            case, recipe=replace(case.recipe, seed=self.best(case) if self.chosen is None else self.chosen)
        )
        rows = BatchStream(chosen.stage, chosen.recipe.batch_size, chosen.recipe.seed).block(0, chosen.steps)
        snapshots = trained_on(chosen, case.retained, lambda module: rows)
        return case.handed(chosen.proof(snapshots, rows), evaluations=rows.numel())

    @torch.no_grad()
    def best(self, case: Case) -> int:
        """The seed whose initial network has the least loss on the forgotten records."""
        records = case.records
        gone = records.select(records.rows(case.forget))
        best, least = case.recipe.seed, float("inf")
        for number in range(self.schedules):
            seed = derive(self.seed, f"adversaries/grind/{number}") >> 10
            module = initialise(case.recipe.network, records.shape, records.classes, seed=seed, name="network").eval()
            loss = float(case.recipe.loss.mean(module(gone.features), gone.targets))
            if loss < least:
                best, least = seed, loss
        return best
