"""Batches to calibrate on: three kinds of honest owners, and rehearsed attacks on the provider's own probes."""

from typing import Final

import torch
from jaxtyping import Int
from torch import Tensor

from expunge.randomness import torch_generator
from expunge.screening.ground import Ground, right

Batches = list[Int[Tensor, " requested"]]

HONEST: Final = ("random", "coherent", "hard")
"""Anybody's records; records that resemble each other; records that the model finds hard."""

ATTACKS: Final = ("influence", "capped", "neighbour")
"""Chosen by influence on a target; the same below a cap on the gradient norm; the target's nearest records."""

CAP: Final = 0.8
"""Quantile of the gradient norm that the capped attack stays under."""


def honest(ground: Ground, kind: str, size: int, count: int, name: str) -> Batches:
    """Batches of one kind of honest owner; `name` names the stream that they are drawn from."""
    draw = torch_generator(ground.seed, f"screening/{name}/{kind}/{size}")
    if kind == "coherent":
        seeds = torch.randint(ground.size, (count,), generator=draw)
        part = ground.records.train
        return [_nearest(ground, part.features[seed], int(part.targets[seed]), size) for seed in seeds]
    pool = torch.arange(ground.size)
    if kind == "hard":
        pool = ground.losses.topk(max(size, ground.size // 10)).indices
    return [pool[torch.randperm(len(pool), generator=draw)[:size]] for _ in range(count)]


def attacks(ground: Ground, kind: str, size: int, count: int, name: str) -> Batches:
    """Attacks of one kind on probes whose margins are in the lowest fifth; fewer where there are fewer such probes."""
    return [rows for _, rows in aimed(ground, kind, size, count, name)]


def aimed(ground: Ground, kind: str, size: int, count: int, name: str) -> list[tuple[int, Int[Tensor, " requested"]]]:
    """The same, each with the probe that it is aimed at."""
    draw = torch_generator(ground.seed, f"screening/{name}/{kind}/{size}")
    good = right(ground).nonzero()[:, 0]
    ordered = good[ground.probe_margins[good].argsort()]
    pool = ordered[: max(1, len(ordered) // 5)]
    targets = pool[torch.randperm(len(pool), generator=draw)[:count]].tolist()
    test = ground.records.test
    if kind == "neighbour":
        return [(each, _nearest(ground, test.features[each], int(test.targets[each]), size)) for each in targets]
    allowed = torch.ones(ground.size, dtype=torch.bool)
    if kind == "capped":
        allowed = ground.gradient_norms <= ground.gradient_norms.quantile(CAP)
    return [(each, _influential(ground, each, size, allowed)) for each in targets]


def _nearest(ground: Ground, point: Tensor, label: int, size: int) -> Tensor:
    part = ground.records.train
    far = (part.features - point).flatten(1).norm(dim=1)
    far[part.targets != label] = float("inf")
    found: Tensor = far.topk(min(size, int((part.targets == label).sum())), largest=False).indices
    return found


def _influential(ground: Ground, probe: int, size: int, allowed: Tensor) -> Tensor:
    """The records whose deletion lowers this probe's margin most, to first order in the last layer."""
    scores = torch.full((ground.size,), -float("inf"))
    target = int(ground.records.test.targets[probe])
    for head in ground.heads:
        outputs = head.probes[probe] @ head.weights.T
        rival = int(outputs.scatter(0, torch.tensor([target]), -1e9).argmax())
        slope = torch.zeros_like(head.weights)
        slope[target], slope[rival] = head.probes[probe], -head.probes[probe]
        solved = torch.cholesky_solve(slope.reshape(-1, 1), head.factor).reshape(head.weights.shape)
        scores[head.rows] = -torch.einsum("nc,cd,nd->n", head.errors, solved, head.features) / len(head.rows)
    return scores.masked_fill(~allowed, -float("inf")).topk(min(size, int(allowed.sum()))).indices
