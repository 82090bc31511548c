"""What the study `requests` measures of screens: naive and adaptive attacks against three kinds of honest owners."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Final

import numpy as np
import torch
from torch import Tensor

from expunge.adversaries.requesters import KINDS, Crafted, Neighbours, Select, Task, benign
from expunge.adversaries.requesters.selection import predicted_falls
from expunge.adversaries.requesters.view import View
from expunge.randomness import numpy_generator, torch_generator
from expunge.records import Records
from expunge.screening import EVIDENCE, Ground, Screen, Submission, calibrate
from expunge.studies.requests_cells import Row, each_of, measured, targets_between, trained
from expunge.unlearning import Retrain

ATTACKS: Final = ("naive", "capped", "neighbour", "evading")
BATCH: Final = 20
"""Records of a request."""


Scores = dict[str, list[float]]
"""Screen -> its scores of some requests."""

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
    blank = Task(records, made, Retrain(), records.test, size, seed=seed)
    tasks = {
        among: [replace(blank, targets=each) for each in each_of(targets_between(made.model, part, 0.0, 0.2, attacked))]
        for among, part in (("unknown", rest), ("probes", probes))
    }
    drawn = [replace(blank, seed=1000 * (seed + 1) + number) for number in range(honest)]
    looks: tuple[Screen, ...] = (*EVIDENCE, calibration.screen)
    good = {kind: _scored(looks, [_asked(ground, benign(task, kind)) for task in drawn]) for kind in KINDS}

    def suspicion(crafted: Crafted) -> float:
        return calibration.screen.judge(_asked(ground, crafted)).score

    found = {among: [attacked_by(task, suspicion) for task in some] for among, some in tasks.items()}
    rows = list[Row]()
    for among, attack in product(found, ATTACKS):
        bad = _scored(looks, [_asked(ground, each[attack]) for each in found[among]])
        table = _table(seed, attack, bad, good, calibration.threshold(size))
        rows += [{**row, "targets_among": among} for row in table]
    return [*rows, *_flips(tasks["unknown"], found["unknown"])]


def _asked(ground: Ground, crafted: Crafted) -> Submission:
    return Submission(ground, tuple(sorted(crafted.forget)))


def _scored(looks: Sequence[Screen], some: Sequence[Submission]) -> Scores:
    return {each.describe().name: [each.judge(submission).score for submission in some] for each in looks}


def _table(seed: int, attack: str, bad: Scores, good: Mapping[str, Scores], threshold: float) -> list[Row]:
    """One attack: every screen against every kind of honest owner."""
    return [
        _compared(seed, name, attack, kind, seen, good[kind][name], threshold if name == "combined" else None)
        for name, seen in bad.items()
        for kind in good
    ]


def _flips(tasks: Sequence[Task], found: Sequence[Mapping[str, Crafted]]) -> list[Row]:
    """The screened attacks on every other unknown target, carried out by retraining."""
    return [
        measured(task, task.carried_out(each[attack]).trained.model, each[attack], attack, "screened", "none")
        for attack in ATTACKS
        for task, each in zip(tasks[::2], found[::2], strict=True)
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
