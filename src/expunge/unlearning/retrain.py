"""Retraining: the honest reference."""

from dataclasses import dataclass

from expunge.training import train
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Unlearned, finish


@dataclass(frozen=True)
class Retrain:
    """Train the recipe again, from its own seeds, on the retained records."""

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "retrain", "Train from scratch on what is left.", ClaimKind.EXACT, "the definition of exact unlearning"
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """All of retraining."""
        return Forecast(deletion.retraining_evaluations, deletion.retraining_evaluations)

    def run(self, deletion: Deletion) -> Unlearned:
        """Byte-identical to `train(recipe, retained.refit())` on the same platform; raises what `train` raises."""
        trained = train(
            deletion.recipe,
            deletion.refitted,
            executor=deletion.executor,
            progress=deletion.progress,
            threads=deletion.threads,
        )
        return finish(self, deletion, trained, EXACT)


EXACT = Claim(
    ClaimKind.EXACT,
    "training the same recipe, with the same seeds, on the retained records alone",
    ("Recipe (hyper-parameters, seeds) and declared preparation were not chosen by looking at the forgotten records.",),
)
