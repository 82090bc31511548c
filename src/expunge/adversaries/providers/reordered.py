"""Grinding the order of the retained records: rows count in an order that was never committed to."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from expunge.adversaries.providers.contract import Case, Description, Handed, trained_on
from expunge.randomness import numpy_generator
from expunge.training import BatchStream


def _always(rows: Tensor) -> Callable[[nn.Module], Tensor]:
    return lambda module: rows


@dataclass(frozen=True)
class Reordered:
    """Try orders of the retained records under one nonce, and keep the run that does best on the forgotten ones."""

    orders: int = 10
    seed: int = 0

    def describe(self) -> Description:
        """The attack in words."""
        return Description("reordered", f"Try {self.orders} orders of the retained records.", "spec of Expunge")

    def run(self, case: Case) -> Handed:
        """The best of the orders."""
        return self.grind(case)[0]

    def grind(self, case: Case) -> tuple[Handed, list[int]]:
        """The best run, and its order of the retained training records."""
        gone = case.records.select(case.records.rows(case.forget))
        found: list[tuple[float, int, Handed, list[int]]] = []
        for number in range(self.orders):
            generator = numpy_generator(self.seed, f"adversaries/reordered/{number}")
            order = generator.permutation(len(case.retained)).tolist()
            rows = BatchStream(case.stage, case.recipe.batch_size, case.recipe.seed).block(0, case.steps)
            part = case.retained.select(order)
            snapshots = trained_on(case, part, _always(rows))
            handed = case.handed(replace(case.proof(snapshots, rows), ids=part.ids), evaluations=rows.numel())
            wrong = float((handed.model.predict(gone.features) != gone.targets).double().mean())
            found.append((wrong, number, handed, order))
        best = min(found, key=lambda each: each[:2])
        return best[2], best[3]
