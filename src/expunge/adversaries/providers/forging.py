"""Forging: no retraining at all; the original trajectory is said to follow from batches without the forget set.

Source: Zhang et al., ICML 2024, section 4 (Adv-F); Thudi et al., USENIX Security 2022. The public code adds a step of
rate 0.001 on one record wherever nothing was replaced; here such steps are published as they were.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from expunge.adversaries.providers.contract import Case, Description, Handed
from expunge.adversaries.providers.neighbours import Space, random_substitutes, substitutes
from expunge.networks import initialise, state_of
from expunge.training import Snapshot, Stage, deterministic
from expunge.training.engine import run_stage
from expunge.verification import Track
from expunge.verification.replay import NOBODY, Narrowed

Substitution = Literal["nearest", "same-class", "uniform", "dropped", "unrelated"]
"""What takes a forgotten record's place; all but the first are controls."""


@dataclass(frozen=True)
class Forge:
    """Publish, for each step with forgotten records, one real step from the original checkpoint on a forged batch.

    **Arguments:**

    - `substitution`: the attack's is `nearest`; `same-class` and `uniform` take random retained records, `dropped`
      leaves its place empty, `unrelated` replaces the whole batch.
    - `space`: of the nearest neighbours.
    - `publish`: `"step"` as Zhang et al.; `"original"` leaves the checkpoints as they were (Thudi et al.).
    - `seed`: of the controls' choices.
    """

    substitution: Substitution = "nearest"
    space: Space = "pixels"
    publish: Literal["step", "original"] = "step"
    seed: int = 0

    def describe(self) -> Description:
        """The attack in words."""
        words = "Present the original training as if it had followed from batches without D_f."
        return Description(
            "forge" if self.substitution == "nearest" else f"control: {self.substitution}", words, SOURCE
        )

    def run(self, case: Case) -> Handed:
        """The original model, with a proof whose steps err a little."""
        (track,) = case.original.tracks
        assert track.batches is not None
        forged = self._forged(case, track.batches)
        hit = self.altered(case)
        snapshots = track.snapshots
        if self.publish == "step":
            snapshots = self._published(case, track, forged, hit)
        stage = Stage("train", tuple(range(len(case.retained))), _epochs(case, len(forged)))
        claimed = Track(stage, case.recipe.seed, snapshots, forged)
        proof = replace(case.original, ids=case.retained.ids, tracks=(claimed,))
        return case.handed(proof.thinned(case.every), evaluations=int(hit.sum()) * forged.shape[1])

    def altered(self, case: Case) -> Bool[Tensor, " steps"]:
        """Steps whose batch is another than the original one."""
        rows = case.original.tracks[0].batches
        assert rows is not None
        gone = torch.tensor([record in case.forget for record in case.records.ids])
        return gone[rows].any(1) | torch.tensor(self.substitution == "unrelated")

    def _forged(self, case: Case, batches: Int[Tensor, "steps width"]) -> Int[Tensor, "steps width"]:
        generator = torch.Generator().manual_seed(self.seed)
        count = len(case.retained)
        if self.substitution == "unrelated":
            return torch.randint(count, tuple(batches.shape), generator=generator)
        if self.substitution == "nearest":
            return substitutes(case, self.space)[batches]
        rows = random_substitutes(case, self.seed)[batches]
        gone = torch.tensor([record in case.forget for record in case.records.ids])[batches]
        if self.substitution == "uniform":
            return torch.where(gone, torch.randint(count, tuple(rows.shape), generator=generator), rows)
        if self.substitution == "dropped":  # where somebody is left in the batch
            return torch.where(gone & ~gone.all(1, keepdim=True), NOBODY, rows)
        return rows

    def _published(self, case: Case, track: Track, forged: Tensor, hit: Tensor) -> tuple[Snapshot, ...]:
        """One real step on the forged batch from each original checkpoint whose batch was altered."""
        found, records = list(track.snapshots), case.retained
        module = initialise(case.recipe.network, records.shape, records.classes, seed=0, name="forge")
        with deterministic(1):
            for step in hit.nonzero()[:, 0].tolist():
                kept: list[Snapshot] = []
                run_stage(
                    module,
                    case.original.recipe,
                    track.stage,
                    track.seed,
                    records.features,
                    records.targets,
                    snapshot=track.snapshots[step],
                    every=1,
                    keep=kept.append,
                    batches=Narrowed(forged),
                    until=step + 1,
                )
                found[step + 1] = kept[-1] if kept else Snapshot(step + 1, state_of(module), {})
        return tuple(found)


def _epochs(case: Case, steps: int) -> float:
    """Epochs over the retained records that make just as many steps as the original training had."""
    width = min(case.recipe.batch_size, len(case.retained))
    return (steps - 0.5) * width / len(case.retained)


SOURCE = "Zhang et al., ICML 2024; Thudi et al., USENIX Security 2022"
