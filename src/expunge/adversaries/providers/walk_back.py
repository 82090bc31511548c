"""Walking back: the weights are drawn to the original model's over many segments, none of which stands out."""

from dataclasses import dataclass

import torch

from expunge.adversaries.providers.contract import Case, Description, Handed, trained_on
from expunge.networks import State
from expunge.training import BatchStream, Snapshot
from expunge.verification.proof import distance
from expunge.verification.segments import rates


@dataclass(frozen=True)
class WalkBack:
    """Follow the drawn schedule, but after a while move straight towards the original weights until they are met.

    Each faked segment moves, for its learning rates, a little less than the honest segment that moved furthest, so that
    no ranking leads to it, and keeps the optimiser's state; honest steps follow, the last segment among them. What is
    deployed is the original model after some honest steps. One faked jump in as few pieces as hide it.

    **Arguments:**

    - `under`: the honest displacement, from the largest, that a faked segment stays below.
    - `begin`: share of the run that is honest before: the first tenth is looked at by itself.
    """

    under: int = 1
    begin: float = 0.25

    def describe(self) -> Description:
        """The attack in words."""
        words = "Walk to the original weights in segments of ordinary size, then follow the schedule again."
        return Description("walk-back", words, "spec of Expunge")

    def run(self, case: Case) -> Handed:
        """A run whose weights come back to the original's, as near as its length allows."""
        drawn = BatchStream(case.stage, case.recipe.batch_size, case.recipe.seed).block(0, case.steps)
        honest = trained_on(case, case.retained, lambda module: drawn)
        goal, strides = case.model.constituents[0] or {}, self._strides(case, honest)
        snapshots = list(honest[: int(self.begin * len(strides)) + 1])
        while len(snapshots) < len(strides) and distance(snapshots[-1].state, goal) > 0:
            before, place = snapshots[-1], len(snapshots)
            state = _towards(before.state, goal, strides[place - 1])
            snapshots.append(Snapshot(honest[place].step, state, before.optimiser))
        last = snapshots[-1]
        snapshots += trained_on(case, case.retained, lambda module: drawn, snapshot=last)[1:]
        return case.handed(case.proof(tuple(snapshots), drawn), evaluations=2 * drawn.numel())

    def _strides(self, case: Case, honest: tuple[Snapshot, ...]) -> list[float]:
        """How far each segment may move: what hides it is the honest beginning."""
        proof = case.proof(honest)
        reach = {place: rates(proof, case.recipe, place) for place in proof.segments}
        begun = proof.segments[: max(1, int(self.begin * len(reach)))]
        fast = sorted((proof.displacements[place] / reach[place] for place in begun), reverse=True)
        return [0.99 * fast[min(self.under, len(fast)) - 1] * each for each in reach.values()]


def _towards(state: State, goal: State, stride: float) -> State:
    """The weights `stride` nearer to the goal, or the goal."""
    share = min(1.0, stride / max(distance(state, goal), 1e-12))
    return {name: torch.lerp(state[name], goal[name], share) if share < 1 else goal[name] for name in state}
