"""Walking back: the weights are drawn to the original model's over many segments, none of which stands out."""

from dataclasses import dataclass
from itertools import pairwise

import torch

from expunge.adversaries.providers.contract import Case, Description, Handed, trained_on
from expunge.networks import State
from expunge.training import BatchStream, Snapshot
from expunge.verification.proof import distance


@dataclass(frozen=True)
class WalkBack:
    """Follow the drawn schedule, but after a while move straight towards the original weights until they are met.

    Each faked segment moves a little less than the honest segments that moved furthest, so that no ranking leads to
    it, and keeps the optimiser's state; honest steps follow, the last segment among them. What is deployed is the
    original model after some honest steps. One faked jump in as few pieces as hide it: replay alone finds them.

    **Arguments:**

    - `under`: the honest displacement, from the largest, that a faked segment stays below.
    - `begin`: share of the run that is honest before.
    """

    under: int = 4
    begin: float = 0.5

    def describe(self) -> Description:
        """The attack in words."""
        words = "Walk to the original weights in segments of ordinary size, then follow the schedule again."
        return Description("walk-back", words, "spec of Expunge")

    def run(self, case: Case) -> Handed:
        """A run whose weights come back to the original's, as near as its length allows."""
        drawn = BatchStream(case.stage, case.recipe.batch_size, case.recipe.seed).block(0, case.steps)
        honest = trained_on(case, case.retained, lambda module: drawn)
        moved = sorted((distance(a.state, b.state) for a, b in pairwise(honest)), reverse=True)
        stride, goal = 0.99 * moved[min(self.under, len(moved)) - 1], case.model.constituents[0] or {}
        first = int(self.begin * (len(honest) - 1))
        snapshots = list(honest[: first + 1])
        while len(snapshots) < len(honest) - 1 and distance(snapshots[-1].state, goal) > 0:
            before = snapshots[-1]
            state = _towards(before.state, goal, stride)
            snapshots.append(Snapshot(honest[len(snapshots)].step, state, before.optimiser))
        last = snapshots[-1]
        snapshots += trained_on(case, case.retained, lambda module: drawn, snapshot=last)[1:]
        return case.handed(case.proof(tuple(snapshots), drawn), evaluations=2 * drawn.numel())


def _towards(state: State, goal: State, stride: float) -> State:
    """The weights `stride` nearer to the goal, or the goal."""
    share = min(1.0, stride / max(distance(state, goal), 1e-12))
    return {name: torch.lerp(state[name], goal[name], share) if share < 1 else goal[name] for name in state}
