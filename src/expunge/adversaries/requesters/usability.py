"""The usability attack: plant records that stand for all the data, then delete them (arXiv 2407.05112)."""

from dataclasses import dataclass, replace

import torch

from expunge.adversaries.requesters.contract import Crafted, Description, Task
from expunge.adversaries.requesters.matching import Matching, loss_slope
from expunge.adversaries.requesters.view import View
from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training import train


@dataclass(frozen=True)
class Usability:
    """Own records distilled by gradient matching: their gradient is the one of all records, their labels are true.

    An approximate unlearner that climbs their loss climbs everybody's. Retraining loses a few records.

    **Arguments:** `matching`: how far records are moved; `early`: epochs of the network that is matched on, young
    enough that all records still pull.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    matching: Matching = Matching(eps=0.3)
    early: float = 1.0

    def __post_init__(self) -> None:
        if self.early <= 0:
            raise ProgrammerError("bad-hyperparameter", f"{self.early} epochs")

    def describe(self) -> Description:
        """The attack in words."""
        return Description("usability", "Plant distilled records, then delete them.", "arXiv 2407.05112")

    def prepared(self, task: Task) -> Task:
        """Distilled records in the place of own ones, class by class, and the model trained on them."""
        recipe, records = task.known.recipe, task.records
        view = View(task, train(replace(recipe, epochs=self.early), records).model)
        part, features = records.train.select(self._rows(task)), records.features.clone()
        for label in part.targets.unique().tolist():
            own = part.select((part.targets == label).nonzero()[:, 0])
            everybody = records.train.select((records.train.targets == label).nonzero()[:, 0])
            slope = loss_slope(view, everybody.features, everybody.targets)
            moved = self.matching.run(view, own.features, own.targets, slope, task.seed)
            features[[records.row_of[each] for each in own.ids]] = moved
        made: Records = replace(records, features=features, raw=None)
        return replace(task, records=made, trained=train(task.trained.model.recipe, made))

    def run(self, task: Task) -> Crafted:
        """On a prepared task: what was planted."""
        return Crafted(task.ids(self._rows(task)))

    def _rows(self, task: Task) -> list[int]:
        """Drawn by the seed alone, which planting leaves alone."""
        draw = torch_generator(task.seed, "requesters/usability")
        return task.best(torch.rand(len(task.records.train), generator=draw))
