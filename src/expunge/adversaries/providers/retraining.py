"""Retraining-based adversarial unlearning: every step is real, but the batches were chosen to mimic the forget set.

Source: Zhang et al., ICML 2024, section 4 (Adv-R). Two differences from the public code, on purpose: the number of
steps is that of honest retraining, and the last batch is never short.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from expunge.adversaries.providers.contract import Case, Description, Handed, trained_on
from expunge.adversaries.providers.neighbours import Space, random_substitutes, substitutes
from expunge.randomness import torch_generator
from expunge.training import Batches, BatchStream, Stage


@dataclass(frozen=True)
class RetrainNearest:
    """Draw batches from all records; put the nearest retained record of its class in each forgotten one's place.

    **Arguments:** `space`: where nearness is measured; the public code's is cosine on raw pixels.
    """

    space: Space = "pixels"

    def describe(self) -> Description:
        """The attack in words."""
        return Description("retrain-nearest", "Retrain on neighbours of D_f in its place.", "Zhang et al., ICML 2024")

    def run(self, case: Case) -> Handed:
        """Every step of the proof is real; no batch meets D_f."""
        return _substituted(case, substitutes(case, self.space))


@dataclass(frozen=True)
class RetrainSameClass:
    """The control: a random retained record of the same class in each forgotten one's place, at equal steps.

    **Arguments:** `seed`: of the choice.
    """

    seed: int = 0

    def describe(self) -> Description:
        """The attack in words."""
        return Description("control: same class", "As retrain-nearest, with random records of the class.", "control")

    def run(self, case: Case) -> Handed:
        """As `RetrainNearest`."""
        return _substituted(case, random_substitutes(case, self.seed))


@dataclass(frozen=True)
class RetrainRandom:
    """Draw batches from all records; of `candidates` random retained sets take the one whose gradient is nearest.

    The distance is the public code's: per-tensor L2 norms of the difference of mean gradients over the forgotten
    records of the batch, summed over tensors, with the network in evaluation mode.

    **Arguments:** `candidates`: M, 50 in the paper; `seed`: of the candidates.
    """

    candidates: int = 50
    seed: int = 0

    def describe(self) -> Description:
        """The attack in words."""
        return Description("retrain-random", "Retrain on gradients that mimic D_f's.", "Zhang et al., ICML 2024")

    def run(self, case: Case) -> Handed:
        """Every step of the proof is real; no batch meets D_f."""
        chooser: list[_Mimicked] = []

        def batches(module: nn.Module) -> Batches:
            chooser.append(_Mimicked(case, module, self.candidates, self.seed))
            return chooser[-1]

        snapshots = trained_on(case, case.retained, batches)
        (found,) = chooser
        rows = torch.stack(found.rows)
        return case.handed(case.proof(snapshots, rows), evaluations=rows.numel() + found.evaluations)


class _Mimicked:
    """Batches of the whole data with the forgotten records replaced by the best of M random retained sets."""

    def __init__(self, case: Case, module: nn.Module, candidates: int, seed: int) -> None:
        self._case, self._module, self._candidates = case, module, candidates
        self._whole = _whole_stream(case)
        self._table = torch.tensor([case.retained.row_of.get(record, -1) for record in case.records.ids])
        self._generator = torch_generator(seed, "adversaries/retrain-random")
        self.rows: list[Tensor] = []
        self.evaluations = 0
        self.gains: list[tuple[float, float]] = []

    def __getitem__(self, step: int) -> Int[Tensor, " width"]:
        drawn = self._whole[step]
        rows = self._table[drawn].clone()
        gone = drawn[rows < 0]
        if len(gone):
            rows[rows < 0] = self._best(gone, rows)
        self.rows.append(rows)
        return rows

    def _best(self, gone: Tensor, used: Tensor) -> Int[Tensor, " k"]:
        records, retained = self._case.records, self._case.retained
        free = torch.ones(len(retained), dtype=torch.bool)
        free[used[used >= 0]] = False
        pool = free.nonzero()[:, 0]
        pool = pool if len(pool) >= len(gone) else torch.arange(len(retained))
        self._module.eval()
        wanted = self._gradient(records.features[gone], records.targets[gone])
        best, distances = pool[: len(gone)], list[float]()
        for _ in range(self._candidates):
            tried = pool[torch.randperm(len(pool), generator=self._generator)[: len(gone)]]
            found = self._gradient(retained.features[tried], retained.targets[tried])
            distances.append(float(sum((a - b).norm() for a, b in zip(wanted, found, strict=True))))
            if distances[-1] == min(distances):
                best = tried
        self._module.train()
        self.evaluations += (1 + self._candidates) * len(gone)
        self.gains.append((distances[0], min(distances)))
        return best

    def _gradient(self, features: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        weights = [parameter for parameter in self._module.parameters() if parameter.requires_grad]
        return torch.autograd.grad(self._case.recipe.loss.mean(self._module(features), targets), weights)


def _substituted(case: Case, table: Int[Tensor, " records"]) -> Handed:
    """Train on batches of the whole data, each record replaced as the table says."""
    rows = table[_whole_stream(case).block(0, case.steps)]
    snapshots = trained_on(case, case.retained, lambda module: rows)
    return case.handed(case.proof(snapshots, rows), evaluations=rows.numel())


def _whole_stream(case: Case) -> BatchStream:
    """Batches from all records, forgotten ones among them, of the width that honest retraining has."""
    stage = Stage("train", tuple(range(len(case.records))), case.recipe.epochs)
    width = min(case.recipe.batch_size, len(case.retained))
    return BatchStream(stage, width, case.recipe.seed)
