"""Honest requests, which screens must let through: at random, coherent, and of hard records."""

import torch

from expunge.adversaries.requesters.contract import Crafted, Task
from expunge.adversaries.requesters.view import View
from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator

KINDS = ("random", "coherent", "hard-honest")


def benign(task: Task, kind: str) -> Crafted:
    """A request by somebody without a target.

    **Arguments:** `kind`: `random`; `coherent`, a record and its nearest neighbours, as an owner's resemble each other;
    `hard-honest`, at random from the tenth of the records with the highest loss.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for another kind.
    """
    train, size = task.records.train, min(task.budget, int(task.owned.sum()))
    generator = torch_generator(task.seed, f"requesters/benign/{kind}")
    order = torch.rand(len(train), generator=generator)
    if kind == "random":
        scores = order
    elif kind == "coherent":
        centre = task.best(order, 1)[0]
        scores = -(train.features.flatten(1) - train.features[centre].flatten()).norm(dim=1)
    elif kind == "hard-honest":
        view = View(task, task.known)
        losses = view.model.recipe.loss.per_record(view.model.logits(train.features), train.targets)
        hard = task.best(losses, max(size, len(train) // 10))
        scores = torch.full_like(order, -1.0)
        scores[hard] = order[hard]
    else:
        raise ProgrammerError("bad-hyperparameter", f"no honest request is called {kind[:20]!r}")
    return Crafted(task.ids(task.best(scores, size)))
