"""Screens by contrast: shards that never saw a record, random halves of the request, batches matched to it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.randomness import torch_generator
from expunge.screening.ground import Ground, Head, drops, right
from expunge.screening.submission import Description, Finding, Submission, compared


@dataclass(frozen=True)
class ShardDisagreement:
    """How far least-squares heads trained on disjoint shards disagree about the requested records' own labels.

    **Arguments:** `shards`: of the training records, by position; `ridge`: of each head's fit.
    """

    shards: int = 5
    ridge: float = 1e-2

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "shard-disagreement",
            "Records on whose labels parts of the data disagree: poison, camouflage, mislabelled records.",
            "Typical records, however they were chosen, and records that all parts of the data get wrong alike.",
            "std of shard predictions: arXiv 2310.10659",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """The mean deviation over the requested records."""
        found = [self._spread(head, head.of(submission.rows)) for head in submission.ground.heads]
        spread = torch.cat(found) if found else torch.zeros(0)
        scores = {"disagreement": float(spread.mean()) if len(spread) else 0.0}
        return compared(self.describe().name, scores, "disagreement", threshold, "Disagreement of shards")

    def _spread(self, head: Head, places: Int[Tensor, " here"]) -> Float[Tensor, " here"]:
        onehot = nn.functional.one_hot(head.targets, len(head.weights)).float()
        shard = torch.arange(len(head.targets)) % self.shards
        votes = []
        for number in range(self.shards):
            own = head.features[shard == number]
            square = own.T @ own / max(1, len(own)) + self.ridge * torch.eye(own.shape[1])
            fitted = torch.linalg.solve(square, own.T @ onehot[shard == number] / max(1, len(own)))
            vote = (head.features[places] @ fitted).gather(1, head.targets[places][:, None])[:, 0]
            votes.append(torch.where(shard[places] == number, torch.nan, vote))
        stacked = torch.stack(votes)
        mean = stacked.nanmean(0)
        return (stacked - mean).square().nanmean(0).sqrt()


@dataclass(frozen=True)
class RandomOrder:
    """Whether random halves of the request, deleted one after the other, hurt the same probes.

    **Arguments:** `orders`: random orders that are tried.
    """

    orders: int = 8

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "random-order",
            "Batches with one aim: whichever half goes first, the second pulls the same probes down.",
            "Clusters: their halves resemble each other without any design.",
            "randomised deletion order, ours",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """Mean correlation between the forecasts of two halves, over probes that are right."""
        ground = submission.ground
        pulls = submission.forecast.pulls[:, right(ground)]
        draw, found = torch_generator(ground.seed, "screening/order"), list[float]()
        for _ in range(self.orders if len(pulls) > 1 and pulls.shape[1] > 1 else 0):
            first, second = torch.randperm(len(pulls), generator=draw).tensor_split(2)
            both = torch.stack([pulls[first].sum(0), pulls[second].sum(0)])
            found.append(float(torch.nan_to_num(torch.corrcoef(both)[0, 1])))
        scores = {"agreement_of_halves": sum(found) / len(found) if found else 0.0}
        return compared(self.describe().name, scores, "agreement_of_halves", threshold, "Agreement of halves")


@dataclass(frozen=True)
class Matched:
    """The worst predicted fall beside that of random batches of the same classes and gradient norms.

    **Arguments:** `draws`: matched batches; `bins`: quantiles of the gradient norm that records are matched within.
    """

    draws: int = 20
    bins: int = 5

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "matched",
            "Batches that hurt a probe more than others of the same classes and gradient norms: capped ones too.",
            "Clusters; owners of few records, for whom everything is rare.",
            "matched controls, ours",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """Deviations above the mean of the matched batches."""
        ground, rows = submission.ground, submission.rows
        worst = drops(ground, [rows, *self._twins(ground, rows)])[:, right(ground)].amax(1)
        own, others = float(worst[0]), worst[1:]
        deviation = float(others.std().clamp_min(1e-9)) if len(others) > 1 else 1.0
        scores = {"matched_excess": (own - float(others.mean())) / deviation if len(rows) else 0.0}
        return compared(self.describe().name, scores, "matched_excess", threshold, "Deviations above matched batches")

    def _twins(self, ground: Ground, rows: Int[Tensor, " requested"]) -> list[Int[Tensor, " requested"]]:
        norms, draw = ground.gradient_norms, torch_generator(ground.seed, "screening/matched")
        edges = norms.quantile(torch.linspace(0, 1, self.bins + 1)[1:-1])
        cell = torch.bucketize(norms, edges) + self.bins * ground.records.train.targets
        pools = {int(each): (cell == each).nonzero()[:, 0] for each in cell[rows].unique()}
        picks = [pools[int(each)] for each in cell[rows]]
        return [
            torch.stack([pool[torch.randint(len(pool), (1,), generator=draw)][0] for pool in picks]).unique()
            for _ in range(self.draws if len(picks) else 1)
        ]
