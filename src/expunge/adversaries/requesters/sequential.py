"""A stream of small requests among those of honest people: stochastic control (Zhao et al., NeurIPS 2023)."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.adversaries.requesters.contract import Crafted, Description, Task
from expunge.adversaries.requesters.view import View
from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator
from expunge.training import Trained, accuracy_on_test


@dataclass(frozen=True, eq=False)
class Played:
    """A stream as it went.

    **Arguments:** `actions`: ids of each step's malicious requests; `honest`: those of the others; `changes`: of the
    test accuracy by each malicious request alone, in [-1, 1]; `trained`: the model at the end.
    """

    actions: tuple[frozenset[str], ...]
    honest: tuple[frozenset[str], ...]
    changes: tuple[float, ...]
    trained: Trained
    evaluations: int


@dataclass(frozen=True)
class Sequential:
    """Model-predictive control: plan some steps ahead against sampled honest requests, do the first, look, plan anew.

    **Arguments:** `steps` of the stream; `horizon`: steps planned ahead (1 is greedy); `futures`: honest requests that
    are sampled for a plan; `honest`: records that others delete in each step; `stealth`: the most that one malicious
    request may change test accuracy, kept by halving the request.
    """

    steps: int = 3
    horizon: int = 2
    futures: int = 2
    honest: int = 5
    stealth: float = 0.01

    def __post_init__(self) -> None:
        if min(self.steps, self.horizon, self.futures) < 1 or self.honest < 0 or self.stealth < 0:
            raise ProgrammerError(
                "bad-hyperparameter", "steps, horizon and futures are positive, the rest not negative"
            )

    def describe(self) -> Description:
        """The attack in words."""
        return Description("sequential", "Small requests, planned ahead, in a stream of honest ones.", "NeurIPS 2023")

    def run(self, task: Task) -> Crafted:
        """All malicious requests of the stream taken together."""
        played = self.play(task)
        return Crafted(frozenset().union(*played.actions), None, 0.0, played.evaluations)

    def play(self, task: Task) -> Played:
        """Play the stream against the true unlearner."""
        actions, honest, changes, work = list[frozenset[str]](), list[frozenset[str]](), list[float](), 0
        current = task
        for step in range(self.steps):
            count = task.budget * (step + 1) // self.steps - task.budget * step // self.steps
            others = _drawn(current, self.honest, f"stream/{step}")
            scores, spent = self._plan(current, count, step)
            action, change = self._hidden(current, scores, count)
            work += spent
            done = current.carried_out(Crafted(action | others)) if action | others else None
            actions.append(action)
            honest.append(others)
            changes.append(change)
            if done is not None:
                current = replace(current, trained=done.trained, records=done.records)
        return Played(tuple(actions), tuple(honest), tuple(changes), current.trained, work)

    def _plan(self, task: Task, count: int, step: int) -> tuple[Float[Tensor, " records"], int]:
        """Mean over futures of the scores at the end of the horizon, dynamics by the one-step update."""
        view, size = View(task, task.known), len(task.records.train)
        total = torch.zeros(size)
        start = -view.pulls(view.solved(view.slope())) / size
        for number in range(self.futures):
            weights = torch.zeros(size)
            weights[task.best(start, max(1, count * (self.horizon - 1)))] = float(self.horizon > 1)
            weights[task.records.train.rows(_drawn(task, self.honest, f"future/{step}/{number}"))] = 1.0
            moved = view.point + view.solved(view.weighted(weights)) / size if bool(weights.any()) else view.point
            total += -view.pulls(view.solved(view.slope(moved))) / size
        return total / self.futures, view.evaluations

    def _hidden(self, task: Task, scores: Tensor, count: int) -> tuple[frozenset[str], float]:
        """The strongest request that stays below the bound; none where even one record shows."""
        before = accuracy_on_test(task.trained.model, task.records)
        while count:
            action = task.ids(task.best(scores, count))
            change = accuracy_on_test(task.carried_out(Crafted(action)).trained.model, task.records) - before
            if abs(change) <= self.stealth:
                return action, change
            count //= 2
        return frozenset(), 0.0


def _drawn(task: Task, count: int, name: str) -> frozenset[str]:
    ids = task.records.train.ids
    order = torch.randperm(len(ids), generator=torch_generator(task.seed, f"requesters/{name}"))
    return frozenset(ids[row] for row in order[:count].tolist())
