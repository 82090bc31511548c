"""Camouflaged poisoning: poison and its antidote are planted, and the antidote is deleted (Di et al., NeurIPS 2023)."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from expunge.adversaries.requesters.contract import Crafted, Description, Task
from expunge.adversaries.requesters.matching import Matching, loss_slope
from expunge.adversaries.requesters.view import View
from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training import train


@dataclass(frozen=True)
class Camouflage:
    """Clean-label poison pulls one target to the wanted label; camouflage, of its true label, pulls it back.

    Both are own records, perturbed before training by gradient matching. The request names the camouflage alone: true
    records, true labels, committed to as they trained. Half of the budget is camouflage.

    **Arguments:** `matching`: how far records are moved, and how well.
    """

    matching: Matching = Matching()

    def describe(self) -> Description:
        """The attack in words."""
        return Description("camouflage", "Plant poison and its antidote, then delete the antidote.", "NeurIPS 2023")

    def prepared(self, task: Task) -> Task:
        """Both sets in the place of own records, and the model trained on them: what the provider begins with."""
        view, wanted = View(task, task.known), self._wanted(task)
        poison, camouflage = self._rows(task)
        features, train_rows = task.records.features.clone(), task.records.train
        for rows, label in ((poison, wanted), (camouflage, task.targets.targets)):
            part = train_rows.select(rows)
            slope = loss_slope(view, task.targets.features, label)
            moved = self.matching.run(view, part.features, part.targets, slope, task.seed)
            features[[task.records.row_of[each] for each in part.ids]] = moved
        records: Records = replace(task.records, features=features, raw=None)
        trained = train(task.trained.model.recipe, records)
        return replace(task, records=records, trained=trained, wanted=wanted)

    def run(self, task: Task) -> Crafted:
        """On a prepared task: the camouflage."""
        return Crafted(task.ids(self._rows(task)[1]))

    def _wanted(self, task: Task) -> Int[Tensor, " targets"]:
        """Where nothing is wanted, the runner-up."""
        if task.wanted is not None:
            return task.wanted
        logits = task.known.logits(task.targets.features)
        return logits.scatter(1, task.targets.targets[:, None], -torch.inf).argmax(1)

    def _rows(self, task: Task) -> tuple[list[int], list[int]]:
        """Own records of the wanted class, and of the target's: by labels and the seed, which planting leaves alone."""
        if len(task.targets) != 1:
            raise ProgrammerError("method-unfit", "camouflage is made for one target")
        train, count = task.records.train, max(1, task.budget // 2)
        order = torch.rand(len(train), generator=torch_generator(task.seed, "requesters/camouflage"))
        found = []
        for label in (int(self._wanted(task)[0]), int(task.targets.targets[0])):
            scores = order.masked_fill(train.targets != label, -torch.inf)
            found.append([row for row in task.best(scores, count) if scores[row] > -torch.inf])
        if not all(found):
            raise ProgrammerError("method-unfit", "the requester owns no records of both classes")
        return found[0], found[1]
