"""Static selection: which records to delete, all at once (Zhao et al., NeurIPS 2023; Koh and Liang, ICML 2017)."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.adversaries.requesters.contract import Crafted, Description, Task
from expunge.adversaries.requesters.view import View
from expunge.errors import ProgrammerError


@dataclass(frozen=True)
class Select:
    """The records whose deletion should push the targets' margins down most.

    **Arguments:** `order`: `influence`, -grad m (H + damping)^-1 g_i / n; `first-order`, -grad m g_i, against servers
    that climb the loss; `cap`: quantile of the gradient norm above which records are left alone, so that screens on
    the norm see nothing (1 for none).
    """

    order: Literal["influence", "first-order"] = "influence"
    cap: float = 1.0

    def __post_init__(self) -> None:
        if self.order not in ("influence", "first-order") or not 0 < self.cap <= 1:
            raise ProgrammerError("bad-hyperparameter", f"order {self.order!r}, cap {self.cap}")

    def describe(self) -> Description:
        """The attack in words."""
        capped = "capped-" if self.cap < 1 else ""
        return Description(f"{capped}{self.order}", "Delete the records that hold the targets up.", "NeurIPS 2023")

    def run(self, task: Task) -> Crafted:
        """The highest scores among the records that may be named."""
        view = View(task, task.known)
        return self.among(task, view, predicted_falls(view, self.order))

    def among(self, task: Task, view: View, scores: Float[Tensor, " records"]) -> Crafted:
        """`run`, with the scores at hand: one linear system serves several caps and budgets."""
        if self.cap < 1:
            norms = view.gradient_norms()
            scores = scores.masked_fill(norms > norms[task.owned].quantile(self.cap), -torch.inf)
        rows = [row for row in task.best(scores) if scores[row] > -torch.inf]
        return Crafted(task.ids(rows), None, float(scores[rows].sum()), view.evaluations)


@dataclass(frozen=True)
class Greedy:
    """Selection in rounds: after each, the true unlearner is run and the scores are computed anew.

    Needed for targets far from the boundary, where the first prediction does not hold to the end.
    """

    rounds: int = 5
    order: Literal["influence", "first-order"] = "influence"

    def describe(self) -> Description:
        """The attack in words."""
        return Description("greedy", "Select in rounds, with the model as it then is.", "NeurIPS 2023; spec step 7")

    def run(self, task: Task) -> Crafted:
        """Chosen records stay in the curvature, which changes little, and may not be chosen twice."""
        taken, expected, work, model = frozenset[str](), 0.0, 0, task.known
        for number in range(self.rounds):
            count = task.budget * (number + 1) // self.rounds - len(taken)
            if not count:
                continue
            view = View(task, model)
            scores = predicted_falls(view, self.order)
            gone = torch.tensor([record in taken for record in task.records.train.ids])
            rows = task.best(scores.masked_fill(gone, -torch.inf), count)
            taken, expected, work = (
                taken | task.ids(rows),
                expected + float(scores[rows].sum()),
                work + view.evaluations,
            )
            if number + 1 < self.rounds:
                model = replace(task, trained=task.carried_out(Crafted(taken)).trained).known
        return Crafted(taken, None, expected, work)


@dataclass(frozen=True)
class Relaxed:
    """Weights in the capped simplex, ascended through the one-step update, and rounded to the largest.

    **Arguments:** `steps` of ascent; `rate`: the largest move of one weight in a step.
    """

    steps: int = 10
    rate: float = 0.3

    def describe(self) -> Description:
        """The attack in words."""
        return Description("relaxed", "Selection by projected ascent on relaxed weights.", "spec, algorithm S step 5")

    def run(self, task: Task) -> Crafted:
        """The margin's slope is taken at the weights that the relaxed deletion would leave."""
        view, owned = View(task, task.known), task.owned
        count, size = min(task.budget, int(owned.sum())), len(owned)
        weights = torch.zeros(size)
        scores = predicted_falls(view, "influence")
        weights[task.best(scores)] = 1.0
        for _ in range(self.steps):
            moved = view.point + view.solved(view.weighted(weights)) / size
            scores = -view.pulls(view.solved(view.slope(moved))) / size
            step = self.rate * scores / scores[owned].abs().max().clamp_min(1e-12)
            weights[owned] = capped_simplex((weights + step)[owned], float(count))
        rows = task.best(weights + 1e-6 * scores.sign(), count)
        return Crafted(task.ids(rows), None, float(scores[rows].sum()), view.evaluations)


@dataclass(frozen=True)
class Polish:
    """Another selection, then swaps of its weakest record for the strongest left out, kept where the true unlearner
    shows that the margins fall further.

    **Arguments:** `swaps`: tried, each one run of the unlearner.
    """

    first: Select = Select()
    swaps: int = 5

    def describe(self) -> Description:
        """The attack in words."""
        return Description("polish", "Swap records under the true unlearner.", "spec, algorithm S step 6")

    def run(self, task: Task) -> Crafted:
        """Costs `swaps` + 1 runs of the unlearner besides the first selection."""
        view = View(task, task.known)
        scores = predicted_falls(view, self.first.order)
        order = task.best(scores, int(task.owned.sum()))
        chosen, waiting = order[: task.budget], order[task.budget :]
        reached = task.goal(task.carried_out(Crafted(task.ids(chosen))).trained.model)
        for number, other in enumerate(waiting[: min(self.swaps, len(chosen))]):
            place = len(chosen) - 1 - number
            tried = [*chosen[:place], other, *chosen[place + 1 :]]
            found = task.goal(task.carried_out(Crafted(task.ids(tried))).trained.model)
            chosen, reached = (tried, found) if found < reached else (chosen, reached)
        return Crafted(task.ids(chosen), None, float(scores[chosen].sum()), view.evaluations)


@dataclass(frozen=True)
class Neighbours:
    """The targets' nearest training records of their own class: no gradient needed, and coherent to look at."""

    def describe(self) -> Description:
        """The attack in words."""
        return Description("neighbours", "Delete what resembles the targets most.", "spec, section 7 E")

    def run(self, task: Task) -> Crafted:
        """Distances in the features; each target's class only."""
        train, targets = task.records.train, task.targets
        far = torch.cdist(targets.features.flatten(1), train.features.flatten(1))
        far = far.masked_fill(targets.targets[:, None] != train.targets[None], torch.inf)
        return Crafted(task.ids(task.best(-far.amin(0))))


def predicted_falls(view: View, order: str) -> Float[Tensor, " records"]:
    """By how much the sum of the targets' margins should fall for each record deleted (n times that by first order)."""
    slope = view.slope()
    if order == "first-order":
        return -view.pulls(slope)
    return -view.pulls(view.solved(slope)) / len(view.train)


def capped_simplex(values: Float[Tensor, " records"], total: float) -> Float[Tensor, " records"]:
    """The nearest point with every coordinate in [0, 1] and the sum `total`, by bisection on clip(values - mu, 0, 1).

    **Raises:** `ProgrammerError("bad-hyperparameter")` unless 0 <= total <= number of values.
    """
    if not 0 <= total <= len(values):
        raise ProgrammerError("bad-hyperparameter", f"a sum of {total} over {len(values)} values in [0, 1]")
    wide = values.double()
    low, high = float(wide.min()) - 1, float(wide.max())
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if float((wide - middle).clamp(0, 1).sum()) > total else (low, middle)
    return (wide - high).clamp(0, 1).to(values.dtype)
