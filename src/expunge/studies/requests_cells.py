"""What the study `requests` measures: attacks against unlearners, screens against attacks, repair, streams."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch

from expunge.adversaries.requesters import (
    KINDS,
    AlteredCopies,
    Blended,
    Crafted,
    FirstOrder,
    Greedy,
    Neighbours,
    NeverTrained,
    Requester,
    Select,
    Sequential,
    Task,
    benign,
    margins,
)
from expunge.networks import MLP
from expunge.records import Records
from expunge.screening import EVIDENCE, Ground, Repair, Submission, Verdict, calibrate, screen
from expunge.training import SGD, Model, Recipe, Trained, accuracy_on_test, train
from expunge.unlearning import FineTune, GradientAscent, Method, Retrain

Row = dict[str, Any]

RECIPE: Final = Recipe(network=MLP((64,)), optimiser=SGD(lr=0.1), epochs=15, batch_size=64)
SELECTIONS: Final[tuple[Requester, ...]] = (Select(), Select("first-order"), Select(cap=0.8), Neighbours())
UNLEARNERS: Final[tuple[Method, ...]] = (Retrain(), FineTune(), GradientAscent(), FirstOrder(0.01))
GROUPS: Final = {"lowest 5 %": (0.0, 0.05), "5-20 %": (0.05, 0.2)}
ADAPTIVE: Final[dict[str, Requester]] = {"naive": Select(), "capped": Select(cap=0.8), "neighbour": Neighbours()}
BATCH: Final = 20
"""Records of a request in the screens' table."""


def trained(records: Records, seed: int) -> Trained:
    """The model under attack."""
    return train(replace(RECIPE, seed=seed), records)


def targets_between(model: Model, records: Records, low: float, high: float, count: int) -> Records:
    """Test records that are right, evenly over a range of quantiles of the margin, the lowest first."""
    found = margins(model.logits(records.test.features), records.test.targets)
    right = (found > 0).nonzero()[:, 0]
    order = right[found[right].argsort()]
    first, last = int(low * len(order)), max(int(high * len(order)), int(low * len(order)) + 1)
    rows = np.unique(np.linspace(first, last - 1, count).round().astype(int))
    return records.test.select(order[torch.as_tensor(rows)])


def selection(records: Records, seed: int, count: int) -> list[Row]:
    """Every static selection against every unlearner, target by target, and repair after each exact deletion."""
    made, rows = trained(records, seed), list[Row]()
    budget = max(5, round(0.005 * len(records.train)))
    for group, (low, high) in GROUPS.items():
        for target in _each(targets_between(made.model, records, low, high, count)):
            task = Task(records, made, Retrain(), target, budget, seed=seed)
            requests = {attack.describe().name: attack.run(task) for attack in SELECTIONS}
            requests["random"] = benign(task, "random")
            for name, crafted in requests.items():
                for method in UNLEARNERS:
                    rows += _carried_out(replace(task, method=method), crafted, name, group)
    return rows


def greedy(records: Records, seed: int, count: int) -> list[Row]:
    """Targets far from the boundary at 2 % deleted: one selection against selection in rounds, by retraining."""
    made, rows = trained(records, seed), list[Row]()
    for target in _each(targets_between(made.model, records, 0.2, 0.4, count)):
        task = Task(records, made, Retrain(), target, max(10, round(0.02 * len(records.train))), seed=seed)
        attacks: tuple[Requester, ...] = (Select(), Greedy(3))
        for attack in attacks:
            rows.append(_row(task, attack.run(task), attack.describe().name, "20-40 %, 2 % deleted", "none"))
    return rows


def modification(records: Records, seed: int, count: int) -> list[Row]:
    """Altered copies against a server of the literature: without a gate, and with record matching."""
    made, rows = trained(records, seed), list[Row]()
    ground, low, high = Ground(made.model, records), records.train.features.min(), records.train.features.max()
    copies = AlteredCopies(low=float(low), high=float(high))
    for target in _each(targets_between(made.model, records, 0.05, 0.4, count)):
        wanted = made.model.logits(target.features).topk(2).indices[:, 1]
        task = Task(records, made, FirstOrder(0.02), target, 10, wanted=wanted, seed=seed)
        attacks: tuple[Requester, ...] = (copies, replace(copies, noise=True), Blended(), NeverTrained())
        for attack in attacks:
            name, crafted = attack.describe().name, attack.run(task)
            rows.append(_row(task, crafted, name, "5-40 %", "none"))
            verdict = screen(Submission(ground, tuple(sorted(crafted.forget)), copies=crafted.copies)).verdict
            gone = verdict is Verdict.REFUSED
            gated = {"refused": gone, "flips": 0 if gone else rows[-1]["flips"]}
            after = rows[-1]["accuracy_before"] if gone else rows[-1]["accuracy_after"]
            rows.append({**rows[-1], **gated, "defence": "record matching", "accuracy_after": after})
    return rows


def screens(records: Records, seed: int, attacked: int, honest: int) -> list[Row]:
    """Each screen's AUC and TPR at 5 % FPR: naive and adaptive attacks against three kinds of honest owners.

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
            for target in _each(targets_between(made.model, part, 0.0, 0.2, attacked))
        ]
        for among, part in (("unknown", rest), ("probes", probes))
    }
    drawn = [replace(tasks["probes"][0], seed=1000 * (seed + 1) + number) for number in range(honest)]
    good = {kind: [benign(task, kind) for task in drawn] for kind in KINDS}
    bad = {(a, n): [x.run(task) for task in some] for a, some in tasks.items() for n, x in ADAPTIVE.items()}
    rows, threshold = list[Row](), calibration.threshold(size)
    for each in (*EVIDENCE, calibration.screen):
        judge, name = _scorer(ground, each), each.describe().name
        honest_scores = {kind: [judge(crafted) for crafted in some] for kind, some in good.items()}
        own = threshold if name == "combined" else None
        for (among, attack), some in bad.items():
            found = [judge(crafted) for crafted in some]
            pairs = honest_scores.items()
            rows += [{**_compared(seed, name, attack, k, found, s, own), "targets_among": among} for k, s in pairs]
    return rows


def sequential(records: Records, seed: int) -> list[Row]:
    """A stream against exact retraining, honest requests among it."""
    made = trained(records, seed)
    target = targets_between(made.model, records, 0.0, 0.1, 3).select([0])
    task = Task(records, made, Retrain(), target, max(6, round(0.01 * len(records.train))), seed=seed)
    played = Sequential(futures=1).play(task)
    after = played.trained.model
    row = _told(task, after, "sequential", "lowest 10 %", "none", played.evaluations)
    return [{**row, "stealth": max(abs(change) for change in played.changes), "steps": len(played.actions)}]


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive score is above a negative one; ties count half."""
    bad, good = np.asarray(positive)[:, None], np.asarray(negative)[None]
    return float(np.mean((bad > good) + 0.5 * (bad == good)))


def _compared(
    seed: int, name: str, attack: str, kind: str, bad: list[float], good: list[float], threshold: float | None
) -> Row:
    bar = float(np.quantile(good, 0.95, method="higher"))
    row = {"part": "screen", "seed": seed, "screen": name, "attack": attack, "honest": kind, "auc": auc(bad, good)}
    shares = {"tpr_at_5": float(np.mean(np.asarray(bad) > bar)), "fpr": None, "caught": None}
    if threshold is not None:
        shares |= {
            "fpr": float(np.mean(np.array(good) > threshold)),
            "caught": float(np.mean(np.array(bad) > threshold)),
        }
    return {**row, **shares, "attacks": len(bad), "honest_batches": len(good)}


def _scorer(ground: Ground, each: Any) -> Callable[[Crafted], float]:
    return lambda crafted: float(each.judge(Submission(ground, tuple(sorted(crafted.forget)))).score)


def _carried_out(task: Task, crafted: Crafted, attack: str, group: str) -> list[Row]:
    """The deletion by itself, and repaired where it was exact."""
    done = task.carried_out(crafted)
    rows = [_told(task, done.trained.model, attack, group, "none", crafted.evaluations)]
    if isinstance(task.method, Retrain):
        deleted = task.records.train.select(task.records.train.rows(crafted.forget))
        repaired = Repair().run(done.trained.model, deleted, done.records.train, seed=task.seed)
        again = _told(task, repaired, attack, group, "repair", crafted.evaluations)
        rows.append({**again, "gap_to_retraining": rows[0]["accuracy_after"] - again["accuracy_after"]})
    rows[0]["fell"] = task.goal(task.trained.model) - task.goal(done.trained.model)
    rows[0]["predicted"] = crafted.predicted
    return rows


def _row(task: Task, crafted: Crafted, attack: str, group: str, defence: str) -> Row:
    return _told(task, task.carried_out(crafted).trained.model, attack, group, defence, crafted.evaluations)


def _told(task: Task, after: Model, attack: str, group: str, defence: str, evaluations: int) -> Row:
    found = after.predict(task.targets.features)
    wrong = found != task.targets.targets if task.wanted is None else found == task.wanted
    return {
        "part": "attack",
        "seed": task.trained.model.recipe.seed,
        "attack": attack,
        "unlearner": task.method.describe().name,
        "kind": str(task.method.describe().kind),
        "group": group,
        "defence": defence,
        "records": task.budget,
        "flips": int(wrong.sum()),
        "targets": len(task.targets),
        "accuracy_before": accuracy_on_test(task.trained.model, task.records),
        "accuracy_after": accuracy_on_test(after, task.records),
        "attack_evaluations": evaluations,
    }


def _each(targets: Records) -> list[Records]:
    return [targets.select([row]) for row in range(len(targets))]
