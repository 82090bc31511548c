"""What the study `requests` measures of screens: naive and adaptive attacks against three kinds of honest owners."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from expunge.adversaries.requesters import KINDS, Crafted, Neighbours, Select, Task, benign
from expunge.adversaries.requesters.selection import predicted_falls
from expunge.adversaries.requesters.view import View
from expunge.randomness import numpy_generator, torch_generator
from expunge.records import Records
from expunge.screening import EVIDENCE, Ground, Submission, calibrate
from expunge.studies.requests_cells import Row, each_of, measured, targets_between, trained
from expunge.unlearning import Retrain

ATTACKS: Final = ("naive", "capped", "neighbour", "evading")
BATCH: Final = 20
"""Records of a request."""


KEPT: Final = 0.5
"""Share of the undisguised request's predicted fall that a disguise must keep."""


def attacked_by(task: Task, judge: Callable[[Crafted], float]) -> dict[str, Crafted]:
    """The naive attack and the adaptive ones for a target; one linear system serves all that go by influence.

    `evading` is adapted to the fitted screen itself (`judge`, asked as often as one likes): of many disguises the least
    suspicious one that still should flip. Disguises: a cap on the gradient norm, and a share of records at random.
    """
    view = View(task, task.known)
    falls = predicted_falls(view, "influence")
    naive = Select().among(task, view, falls)
    tried = [naive, *_disguised(task, view, falls)]
    strong = [each for each in tried if each.predicted >= KEPT * naive.predicted]
    capped = Select(cap=0.8).among(task, view, falls)
    return {"naive": naive, "capped": capped, "neighbour": Neighbours().run(task), "evading": min(strong, key=judge)}


def _disguised(task: Task, view: View, falls: Tensor) -> Iterator[Crafted]:
    ids = task.records.train.ids
    order = torch.randperm(len(ids), generator=torch_generator(task.seed, "requesters/cover")).tolist()
    for cap, share in product((1.0, 0.9, 0.8), (0.0, 0.25, 0.5)):
        cover = round(share * task.budget)
        chosen = Select(cap=cap).among(replace(task, budget=task.budget - cover), view, falls)
        filler = [ids[row] for row in order if ids[row] not in chosen.forget][:cover]
        yield replace(chosen, forget=chosen.forget | frozenset(filler))


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
    suspicion = _scorer(ground, calibration.screen)
    found = {among: [attacked_by(task, suspicion) for task in some] for among, some in tasks.items()}
    bad = {(among, name): [each[name] for each in some] for among, some in found.items() for name in ATTACKS}
    rows, threshold = list[Row](), calibration.threshold(size)
    for each in (*EVIDENCE, calibration.screen):
        judge, name = _scorer(ground, each), each.describe().name
        honest_scores = {kind: [judge(crafted) for crafted in some] for kind, some in good.items()}
        own = threshold if name == "combined" else None
        for (among, attack), some in bad.items():
            seen = [judge(crafted) for crafted in some]
            for kind, scores in honest_scores.items():
                rows.append({**_compared(seed, name, attack, kind, seen, scores, own), "targets_among": among})
    return [*rows, *_flips(tasks["unknown"], bad)]


def _flips(tasks: Sequence[Task], bad: dict[tuple[str, str], list[Crafted]]) -> list[Row]:
    """The screened attacks on every other unknown target, carried out by retraining."""
    return [
        measured(task, task.carried_out(crafted).trained.model, crafted, attack, "screened", "none")
        for (among, attack), some in bad.items()
        if among == "unknown"
        for task, crafted in zip(tasks[::2], some[::2], strict=True)
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
