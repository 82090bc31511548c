"""A backdoor by deletion alone: no poison, only the choice of clean records to delete (Liu et al., AAAI 2024)."""

from dataclasses import dataclass, replace

import torch

from expunge.adversaries.requesters.contract import Crafted, Description, Task
from expunge.adversaries.requesters.selection import Select
from expunge.errors import ProgrammerError
from expunge.records import Records


@dataclass(frozen=True)
class Backdoor:
    """Delete clean records so that the targets, with a patch in a corner, get the wanted class.

    **Arguments:** `wanted`: that class; `side`, `value`: of the patch in the last rows and columns.
    """

    wanted: int = 0
    side: int = 2
    value: float = 1.0

    def describe(self) -> Description:
        """The attack in words."""
        return Description("backdoor-by-deletion", "Delete clean records until a patch works.", "AAAI 2024, route (a)")

    def run(self, task: Task) -> Crafted:
        """Influence on the margins of the patched targets."""
        return Select().run(self.prepared(task))

    def prepared(self, task: Task) -> Task:
        """The task whose targets carry the patch: what success is measured on.

        **Raises:** `ProgrammerError("method-unfit")` for records that are no images.
        """
        if len(task.records.shape) != 3:
            raise ProgrammerError("method-unfit", "a patch needs images")
        kept = task.targets.select((task.targets.targets != self.wanted).nonzero()[:, 0])
        features = kept.features.clone()
        features[..., -self.side :, -self.side :] = self.value
        part: Records = replace(kept, features=features, raw=None)
        return replace(task, targets=part, wanted=torch.full((len(part),), self.wanted))
