"""Requests for records that are not the requester's to delete: data never trained on, blended copies of own records."""

from dataclasses import dataclass, replace

import torch

from expunge.adversaries.requesters.contract import Crafted, Description, Task
from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator
from expunge.records import Records


@dataclass(frozen=True)
class Blended:
    """Own records blended with a record of another class: their unlearning takes more away than the records gave.

    **Arguments:** `own`: weight of the own record, in [0, 1].
    """

    own: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.own <= 1:
            raise ProgrammerError("bad-hyperparameter", f"a weight of {self.own}")

    def describe(self) -> Description:
        """The attack in words."""
        return Description("blended-copies", "Over-unlearning by copies blended with another class.", "NDSS 2024")

    def run(self, task: Task) -> Crafted:
        """Black box: no gradient is needed."""
        train, generator = task.records.train, torch_generator(task.seed, "requesters/blended")
        chosen = task.best(torch.rand(len(train), generator=generator))
        part = train.select(chosen)
        other = torch.randint(len(train), (len(part),), generator=generator)
        for _ in range(20):
            same = train.targets[other] == part.targets
            other = torch.where(same, torch.randint(len(train), (len(part),), generator=generator), other)
        mixed = self.own * part.features + (1 - self.own) * train.features[other]
        return Crafted(frozenset(part.ids), replace(part, features=mixed, raw=None))


@dataclass(frozen=True)
class NeverTrained:
    """Ask for the deletion of records that never trained, near the targets and of their class.

    A server that does not look lets them stand for records of the requester's; the copies carry those records' ids.
    """

    def describe(self) -> Description:
        """The attack in words."""
        return Description("never-trained", "Ask for records that were never in training.", "Unlearn and Burn, 2024")

    def run(self, task: Task) -> Crafted:
        """Test records nearest to the targets, under ids of own training records drawn at random."""
        train, targets = task.records.train, task.targets
        generator = torch_generator(task.seed, "requesters/never trained")
        part = train.select(task.best(torch.rand(len(train), generator=generator)))
        pool = task.records.test.without(targets.ids)
        pool = pool if len(pool) >= len(part) else task.records.test
        far = torch.cdist(targets.features.flatten(1), pool.features.flatten(1))
        far = far.masked_fill(targets.targets[:, None] != pool.targets[None], torch.inf).amin(0)
        found = pool.select(far.sort(stable=True).indices[: len(part)])
        taken = part.select(list(range(len(found))))
        copies = Records(found.features, found.targets, taken.ids, taken.owners, taken.split, taken.classes)
        return Crafted(frozenset(taken.ids), copies)
