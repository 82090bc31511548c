"""Lies about the optimiser: momentum that no gradient made carries the weights to where the provider wants them."""

from dataclasses import dataclass

import torch

from expunge.adversaries.providers.contract import Case, Description, Handed, trained_on
from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.training import SGD, BatchStream, Snapshot


@dataclass(frozen=True)
class StartingMomentum:
    """Put momentum into the very first checkpoint: every segment then replays to the byte."""

    def describe(self) -> Description:
        """The attack in words."""
        return Description("starting-momentum", "Begin with momentum towards the original model.", "spec of Expunge")

    def run(self, case: Case) -> Handed:
        """A run that begins with a push."""
        rows = BatchStream(case.stage, case.recipe.batch_size, case.recipe.seed).block(0, case.steps)
        first = Snapshot(0, case.start, _push(case, case.start, 0))
        snapshots = trained_on(case, case.retained, lambda module: rows, snapshot=first)
        return case.handed(case.proof(snapshots, rows), evaluations=rows.numel())


@dataclass(frozen=True)
class LateMomentum:
    """Follow the schedule, and near the end write momentum down that leads to the original model.

    The segment that jumps replays to the byte; the lie is at the end of the quiet one before it.

    **Arguments:** `left`: segments that are still to come.
    """

    left: int = 6

    def describe(self) -> Description:
        """The attack in words."""
        return Description("late-momentum", "Write down momentum that leads to the original model.", "spec of Expunge")

    def run(self, case: Case) -> Handed:
        """An honest run with one lie in it."""
        rows = BatchStream(case.stage, case.recipe.batch_size, case.recipe.seed).block(0, case.steps)
        segments = -(-case.steps // case.every)
        at = max(1, segments - self.left) * case.every
        honest = trained_on(case, case.retained, lambda module: rows, until=at + 1)
        before = next(each for each in honest if each.step == at)
        lie = Snapshot(at, before.state, _push(case, before.state, at))
        kept = [each for each in honest if each.step < at]
        rest = trained_on(case, case.retained, lambda module: rows, snapshot=lie)
        return case.handed(case.proof((*kept, *rest), rows), evaluations=rows.numel())


def _push(case: Case, state: State, step: int) -> State:
    """Momentum that carries `state` to the original weights in all the steps that are left."""
    optimiser = case.recipe.optimiser
    if not isinstance(optimiser, SGD) or optimiser.momentum <= 0:
        raise ProgrammerError("method-unfit", "the attack wants SGD with momentum")
    goal = case.model.constituents[0] or {}
    rate = optimiser.lr * case.recipe.schedule.factor(step, case.steps)
    reach = rate * optimiser.momentum / (1 - optimiser.momentum) or 1e-12
    module = case.module()
    found: State = {}
    for number, name in enumerate(dict(module.named_parameters())):
        found[f"{number}/momentum_buffer"] = ((state[name] - goal[name]) / reach).to(torch.float32)
    return found
