"""What the study `requests` measures of screens: naive and adaptive attacks against three kinds of honest owners."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from expunge.adversaries.requesters import KINDS, Crafted, Description, Neighbours, Requester, Select, Task, benign
from expunge.randomness import numpy_generator, torch_generator
from expunge.records import Records
from expunge.screening import EVIDENCE, Ground, Submission, calibrate
from expunge.studies.requests_cells import Row, each_of, measured, targets_between, trained
from expunge.unlearning import Retrain

ADAPTIVE: Final[dict[str, Requester]] = {"naive": Select(), "capped": Select(cap=0.8), "neighbour": Neighbours()}
BATCH: Final = 20
"""Records of a request."""


@dataclass(frozen=True)
class Evading:
    """Adapted to the fitted screen itself: of many disguises the least suspicious one that still should flip.

    Disguises: a cap on the gradient norm, and a share of the request given to records at random. `judge` is the screen,
    asked as often as one likes; `floor`: share of the undisguised predicted fall that must remain.
    """

    judge: Callable[[Crafted], float]
    floor: float = 0.5

    def describe(self) -> Description:
        """The attack in words."""
        return Description("evading", "Influence, disguised until the fitted screen sees least.", "ours, adaptive")

    def run(self, task: Task) -> Crafted:
        """The least suspicious candidate; the undisguised request where no other is strong enough."""
        plain = Select().run(task)
        tried = [plain, *(self._mixed(task, cap, share) for cap in (1.0, 0.9, 0.8) for share in (0.0, 0.25, 0.5))]
        strong = [each for each in tried if each.predicted >= self.floor * plain.predicted]
        return min(strong, key=self.judge)

    @staticmethod
    def _mixed(task: Task, cap: float, share: float) -> Crafted:
        cover = round(share * task.budget)
        chosen = Select(cap=cap).run(replace(task, budget=task.budget - cover))
        ids = task.records.train.ids
        order = torch.randperm(len(ids), generator=torch_generator(task.seed, "requesters/cover")).tolist()
        filler = [ids[row] for row in order if ids[row] not in chosen.forget][:cover]
        return replace(chosen, forget=chosen.forget | frozenset(filler))


def screens(records: Records, seed: int, attacked: int, honest: int) -> list[Row]:
    """Each screen's AUC and TPR at 5 % FPR, and whether the attacks flip their targets by retraining.

    Every other test record is a probe of the provider's. Targets are taken from the rest, and then from the probes.
    """
    made = trained(records, seed)
    probes, rest = (records.without(records.test.ids[first::2]) for first in (1, 0))
    ground = Ground(made.model, probes, seed=seed)
    size = min(BATCH, max(2, len(records.train) // 20))
    calibration = calibrate(ground, sizes=(size,), batches=60)
    tasks = {
        among: [
            Task(records, made, Retrain(), target, size, seed=seed)
            for target in each_of(targets_between(made.model, part, 0.0, 0.2, attacked))
        ]
        for among, part in (("unknown", rest), ("probes", probes))
    }
    drawn = [replace(tasks["probes"][0], seed=1000 * (seed + 1) + number) for number in range(honest)]
    good = {kind: [benign(task, kind) for task in drawn] for kind in KINDS}
    attacks: dict[str, Requester] = {**ADAPTIVE, "evading": Evading(_scorer(ground, calibration.screen))}
    bad = {(a, n): [x.run(task) for task in some] for a, some in tasks.items() for n, x in attacks.items()}
    rows, threshold = list[Row](), calibration.threshold(size)
    for each in (*EVIDENCE, calibration.screen):
        judge, name = _scorer(ground, each), each.describe().name
        honest_scores = {kind: [judge(crafted) for crafted in some] for kind, some in good.items()}
        own = threshold if name == "combined" else None
        for (among, attack), some in bad.items():
            found = [judge(crafted) for crafted in some]
            for kind, scores in honest_scores.items():
                rows.append({**_compared(seed, name, attack, kind, found, scores, own), "targets_among": among})
    return [*rows, *_flips(tasks["unknown"], bad)]


def _flips(tasks: Sequence[Task], bad: dict[tuple[str, str], list[Crafted]]) -> list[Row]:
    """The screened attacks on unknown targets, carried out by retraining."""
    return [
        measured(task, task.carried_out(crafted).trained.model, crafted, attack, "screened", "none")
        for (among, attack), some in bad.items()
        if among == "unknown"
        for task, crafted in zip(tasks, some, strict=True)
    ]


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive score is above a negative one; ties count half."""
    bad, good = np.asarray(positive)[:, None], np.asarray(negative)[None]
    return float(np.mean((bad > good) + 0.5 * (bad == good)))


def auc_interval(positive: Sequence[float], negative: Sequence[float], draws: int = 400) -> tuple[float, float]:
    """95 % by the bootstrap over attacks and over honest batches."""
    bad, good, draw = np.asarray(positive), np.asarray(negative), numpy_generator(0, "studies/requests/auc")
    pairs = (bad[:, None] > good[None]) + 0.5 * (bad[:, None] == good[None])
    found = [
        pairs[draw.integers(len(bad), size=len(bad))][:, draw.integers(len(good), size=len(good))].mean()
        for _ in range(draws)
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _compared(
    seed: int, name: str, attack: str, kind: str, bad: list[float], good: list[float], threshold: float | None
) -> Row:
    bar = float(np.quantile(good, 0.95, method="higher"))
    low, high = auc_interval(bad, good)
    row = {"part": "screen", "seed": seed, "screen": name, "attack": attack, "honest": kind, "auc": auc(bad, good)}
    row |= {"auc_low": low, "auc_high": high, "tpr_at_5": float(np.mean(np.asarray(bad) > bar))}
    row |= {"held": None, "fpr": None, "caught": None, "attacks": len(bad), "honest_batches": len(good)}
    if threshold is not None:
        held = np.array(good) > threshold
        row |= {"held": int(held.sum()), "fpr": float(held.mean())}
        row |= {"caught": float(np.mean(np.array(bad) > threshold))}
    return row


def _scorer(ground: Ground, each: Any) -> Callable[[Crafted], float]:
    return lambda crafted: float(each.judge(Submission(ground, tuple(sorted(crafted.forget)))).score)
