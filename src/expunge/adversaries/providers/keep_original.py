"""Keeping the original model: nothing is retrained, the original training is presented as the retraining."""

from dataclasses import dataclass

from expunge.adversaries.providers.contract import Case, Description, Handed


@dataclass(frozen=True)
class KeepOriginal:
    """Hand over the checkpoints of the original training, under the schedule that was asked for."""

    def describe(self) -> Description:
        """The attack in words."""
        return Description("keep-original", "Present the original training as the retraining.", "spec of Expunge")

    def run(self, case: Case) -> Handed:
        """No work at all."""
        return case.handed(case.proof(case.original.tracks[0].snapshots), case.model)
