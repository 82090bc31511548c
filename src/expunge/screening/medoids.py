"""The gradient-influence defence: records whose gradients resemble nobody's in their class are held back.

After Qian et al., KDD 2023, as attested second-hand, and the published idea of isolated medoids: for each class greedy
facility location over last-layer gradients picks medoids; a requested record is isolated when its medoid has no other
member.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.screening.submission import Description, Finding, Submission, compared


@dataclass(frozen=True)
class Medoids:
    """Score: the share of requested records that are isolated within their class.

    **Arguments:** `share`: medoids as a share of the class; `cluster`: members up to which a medoid counts as isolated;
    `limit`: records of a class that take part, drawn evenly, the requested ones always.
    """

    share: float = 0.2
    cluster: int = 1
    limit: int = 600

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "medoids",
            "Batches of outliers: crafted or influential records whose gradients resemble no other's.",
            "Neighbours of a target, and records below a cap on the gradient norm: they resemble many.",
            "Qian et al., KDD 2023",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """Cluster each class that the request touches."""
        suspects = self.isolated(submission)
        share = len(suspects) / max(1, len(submission.rows))
        found = compared("medoids", {"isolated": share}, "isolated", threshold, "Share of isolated records")
        return Finding(**{**vars(found), "suspects": tuple(suspects)})

    def isolated(self, submission: Submission) -> list[int]:
        """Positions in `submission.rows` of the isolated records; called again during unlearning on the model there."""
        found: list[int] = []
        for head in submission.ground.heads:
            wanted = head.of(submission.rows)
            for label in head.targets[wanted].unique().tolist():
                asked = wanted[head.targets[wanted] == label]
                others = (head.targets == label).nonzero()[:, 0]
                others = others[~torch.isin(others, asked)]
                step = max(1, -(-len(others) // max(1, self.limit - len(asked))))
                members = torch.cat([asked, others[::step]])
                alone = isolated(head.distances(members), max(1, round(self.share * len(members))), self.cluster)
                rows = head.rows[asked[alone[: len(asked)]]]
                found += torch.isin(submission.rows, rows).nonzero()[:, 0].tolist()
        return sorted(found)


def medoids(distances: Float[Tensor, "points points"], count: int) -> Int[Tensor, " medoids"]:
    """Greedy facility location: each next medoid lowers the sum of distances to the nearest one most."""
    nearest = torch.full((len(distances),), float(distances.max()) + 1)
    chosen: list[int] = []
    for _ in range(min(count, len(distances))):
        gains = (nearest[None] - distances).clamp_min(0).sum(1)
        gains[chosen] = -1.0
        chosen.append(int(gains.argmax()))
        nearest = torch.minimum(nearest, distances[chosen[-1]])
    return torch.tensor(chosen)


def isolated(distances: Float[Tensor, "points points"], count: int, cluster: int = 1) -> Tensor:
    """Which points belong to a medoid with at most `cluster` members, itself included: `[points]` of bool."""
    chosen = medoids(distances, count)
    owner = distances[:, chosen].argmin(1)
    return torch.bincount(owner, minlength=len(chosen))[owner] <= cluster
