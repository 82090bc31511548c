"""What the study `requests` measures: selections against unlearners, the noise floor, repair, streams."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from expunge.adversaries.requesters import (
    Crafted,
    FirstOrder,
    Greedy,
    Neighbours,
    Requester,
    Select,
    Sequential,
    Task,
    benign,
    grey_box,
    margins,
)
from expunge.auditing import LiRA, Subject, retrain_references
from expunge.networks import MLP
from expunge.records import Records
from expunge.training import SGD, Model, Recipe, Trained, accuracy_on_test, train
from expunge.unlearning import FineTune, GradientAscent, Method, Repair, Retrain, unlearn

Row = dict[str, Any]

RECIPE: Final = Recipe(network=MLP((64,)), optimiser=SGD(lr=0.1), epochs=15, batch_size=64)
SELECTIONS: Final[tuple[Requester, ...]] = (Select(), Select("first-order"), Select(cap=0.8), Neighbours())
ATTACKS: Final[tuple[Requester, ...]] = (Select(), Select(cap=0.8), Neighbours())
SERVERS: Final[tuple[Method, ...]] = (FineTune(), GradientAscent(), FirstOrder(0.01))
GROUPS: Final = {"lowest 5 %": (0.0, 0.05), "5-20 %": (0.05, 0.2)}


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


def selection(records: Records, seed: int, count: int, others: int) -> list[Row]:
    """Every static selection against exact retraining, target by target; the first `others` against other servers."""
    made, rows = trained(records, seed), list[Row]()
    grey = grey_box(Task(records, made, Retrain(), records.test, budget(records), seed=seed))
    for group, (low, high) in GROUPS.items():
        for number, target in enumerate(each_of(targets_between(made.model, records, low, high, count))):
            task = replace(grey, targets=target, surrogate=None)
            requests = {attack.describe().name: attack.run(task) for attack in SELECTIONS}
            requests["grey-box influence"] = Select().run(replace(grey, targets=target))
            for name, crafted in requests.items():
                rows.append(_exact(task, crafted, name, group))
                for method in SERVERS if number < others else ():
                    rows.append(told(replace(task, method=method), crafted, name, group))
    return rows


def floor(records: Records, seed: int, requests: int, repairs: int) -> list[Row]:
    """The noise floor: random requests, each looked at on every target of a group, and some of them repaired."""
    made, rows = trained(records, seed), list[Row]()
    groups = {name: targets_between(made.model, records, *ends, len(records.test)) for name, ends in GROUPS.items()}
    for number in range(requests):
        task = Task(records, made, Retrain(), records.test, budget(records), seed=1000 * (seed + 1) + number)
        crafted = benign(task, "random")
        methods: tuple[Method, ...] = (Retrain(), Repair()) if number < repairs else (Retrain(),)
        for method in methods:
            after = replace(task, method=method).carried_out(crafted).trained.model
            for name, targets in groups.items():
                looked = replace(task, targets=targets)
                rows.append(measured(looked, after, crafted, "random", name, _defence(method)))
    return rows


SHADOWS: Final = 16
"""Shadow models of the augmented recipe, each 36 times as long in training as one of the plain recipe."""

UNITED: Final = 6
"""Targets whose selections one request unites, so that they share a retrained and a repaired network."""


def repair(records: Records, seed: int, count: int) -> list[Row]:
    """Delete, then repair: the same requests carried out by retraining, and by repair."""
    made, rows = trained(records, seed), list[Row]()
    for group, some in _together(made.model, records, count):
        task = Task(records, made, Retrain(), some, budget(records), seed=seed)
        for attack in ATTACKS:
            rows.append(_repaired(task, attack, group))
    return rows


def audited(records: Records, seed: int, most: int) -> list[Row]:
    """One request deleted and repaired, and audited; of at most so many training records, for the shadow models."""
    some = records.without(records.train.ids[most:])
    made = trained(some, seed)
    task = Task(some, made, Repair(), targets_between(made.model, some, 0.0, 0.2, UNITED), budget(some), seed=seed)
    crafted = united(task, Select())
    after = task.carried_out(crafted).trained.model
    row = measured(task, after, crafted, "influence", "audited", "repair")
    row["trained_on"] = len(some.train)
    return [{**row, "moved_by_forgotten": _moved(task, crafted, after), **_lira(task, crafted, after)}]


def against_repair(records: Records, seed: int, count: int) -> list[Row]:
    """The attacker who expects repair: influence on a repaired model, for the targets that lie lowest in that one."""
    made, rows = trained(records, seed), list[Row]()
    strong = _strong(made.model.recipe, records)
    for group, some in _together(strong, records, count):
        task = Task(records, made, Repair(), some, budget(records), surrogate=strong, seed=seed)
        crafted = united(task, Select())
        row = {**told(task, crafted, "influence on repair", group), "records": len(crafted.forget)}
        rows.append({**row, "unlearner": "retrain", "defence": "repair"})
    return rows


def _together(model: Model, records: Records, count: int) -> Iterator[tuple[str, Records]]:
    """The targets of each group, so many at a time."""
    for group, ends in GROUPS.items():
        targets = targets_between(model, records, *ends, count)
        for rows in torch.arange(len(targets)).split(UNITED):
            yield group, targets.select(rows)


def united(task: Task, attack: Requester) -> Crafted:
    """One request with everything that the attack selects for each of the targets alone, the task's budget each."""
    made = [attack.run(replace(task, targets=target)) for target in each_of(task.targets)]
    forget = frozenset[str]().union(*(each.forget for each in made))
    return Crafted(forget, None, sum(each.predicted for each in made), sum(each.evaluations for each in made))


def _repaired(task: Task, attack: Requester, group: str) -> Row:
    """One request both ways, and what another learner makes of the records that repair has."""
    name, crafted = attack.describe().name, united(task, attack)
    plain = told(task, crafted, name, group)
    after = replace(task, method=Repair()).carried_out(crafted).trained.model
    again = measured(task, after, crafted, name, group, "repair")
    gap = plain["accuracy_after"] - again["accuracy_after"]
    row = {**again, "gap_to_retraining": gap, "unrepaired_flips": plain["flips"], "records": len(crafted.forget)}
    return {**row, **_by_nearest(task, crafted, after)}


def _by_nearest(task: Task, crafted: Crafted, after: Model) -> Row:
    """What a learner without weights makes of the records and eight moved copies: what it gets wrong as well."""
    known = Repair(copies=8).augmented(task.records.without(crafted.forget), task.trained.model.recipe.seed)
    targets, test = task.targets, task.records.test
    wrong = nearest(known, targets) != targets.targets
    both = wrong & (after.predict(targets.features) != targets.targets)
    right = nearest(known, test) == test.targets
    return {"nearest_flips": int(wrong.sum()), "both": int(both.sum()), "nearest_accuracy": float(right.float().mean())}


def nearest(known: Records, asked: Records, count: int = 3) -> Int[Tensor, " asked"]:
    """What the nearest training records vote for; a tie goes to the lowest class."""
    far = torch.cdist(asked.features.flatten(1), known.train.features.flatten(1))
    return known.train.targets[far.topk(count, largest=False).indices].mode(1).values


def _lira(task: Task, crafted: Crafted, after: Model) -> Row:
    """The primary audit of a repaired model, as a receipt has it: everything beside it is of the repair's recipe."""
    records, retained, recipe = task.records, task.records.without(crafted.forget), task.trained.model.recipe
    forgotten = records.train.select([records.train.row_of[record] for record in sorted(crafted.forget)])
    longer = Repair().lengthened(recipe, retained)
    references = retrain_references(longer, Repair().augmented(retained, recipe.seed), seed=task.seed)
    subject = Subject(
        longer,
        _strong(recipe, records),
        after,
        forgotten,
        retained.train,
        retained.test,
        references,
        task.seed,
        augment=lambda found, near: Repair().augmented(found, recipe.seed, near),
    )
    found = next(each for each in LiRA(SHADOWS).run(subject).readings if each.name == "LiRA AUC")
    low, high = found.after.interval or (None, None)
    shown = {"lira_auc": found.after.value, "lira_low": low, "lira_high": high, "lira_before": found.before.value}
    return {**shown, "lira_finding": str(found.finding), "lira_floor": list(found.floor or ())}


def _strong(recipe: Recipe, records: Records) -> Model:
    """What repair would make of all the records: the model of an attacker who expects it, and of an audit's before."""
    return train(Repair().lengthened(recipe, records), Repair().augmented(records, recipe.seed)).model


def _moved(task: Task, crafted: Crafted, after: Model) -> bool:
    """Whether repair ends elsewhere where the forgotten records, and the old model, were others: the audit of bytes."""
    rows = task.records.rows(crafted.forget)
    features = task.records.features.clone()
    features[rows] = 1 - features[rows].flip(0)
    others = replace(task.records, features=features, raw=None)
    shuffled = replace(task.trained, model=train(replace(task.trained.model.recipe, epochs=1), others).model)
    old = replace(shuffled, model=replace(shuffled.model, recipe=task.trained.model.recipe))
    return unlearn(old, others, crafted.forget, Repair()).trained.model.digest != after.digest


def greedy(records: Records, seed: int, count: int) -> list[Row]:
    """Targets far from the boundary at 2 % deleted: one selection against selection in rounds, by retraining."""
    made, rows = trained(records, seed), list[Row]()
    for target in each_of(targets_between(made.model, records, 0.2, 0.4, count)):
        task = Task(records, made, Retrain(), target, max(10, round(0.02 * len(records.train))), seed=seed)
        attacks: tuple[Requester, ...] = (Select(), Greedy(3))
        for attack in attacks:
            rows.append(told(task, attack.run(task), attack.describe().name, "20-40 %, 2 % deleted"))
    return rows


def sequential(records: Records, seed: int, count: int) -> list[Row]:
    """Streams against exact retraining, one a target, honest requests among them."""
    made, rows = trained(records, seed), list[Row]()
    for target in each_of(targets_between(made.model, records, 0.0, 0.1, count)):
        task = Task(records, made, Retrain(), target, max(6, round(0.01 * len(records.train))), seed=seed)
        played = Sequential(futures=1).play(task)
        row = measured(task, played.trained.model, None, "sequential", "lowest 10 %", "none")
        stealth = max(abs(change) for change in played.changes)
        rows.append({**row, "stealth": stealth, "steps": len(played.actions), "attack_evaluations": played.evaluations})
    return rows


def told(task: Task, crafted: Crafted, attack: str, group: str, defence: str = "none") -> Row:
    """A request carried out without a gate, as one row."""
    return measured(task, task.carried_out(crafted).trained.model, crafted, attack, group, defence)


def each_of(targets: Records) -> list[Records]:
    """The targets one by one."""
    return [targets.select([row]) for row in range(len(targets))]


def budget(records: Records) -> int:
    """Records that a request for one target names: 0.5 % of those of training, five at least."""
    return max(5, round(0.005 * len(records.train)))


def _defence(method: Method) -> str:
    return "repair" if isinstance(method, Repair) else "none"


def _exact(task: Task, crafted: Crafted, attack: str, group: str) -> Row:
    """By retraining, with the prediction beside what came."""
    after = task.carried_out(crafted).trained.model
    row = measured(task, after, crafted, attack, group, "none")
    return {**row, "predicted": crafted.predicted, "fell": task.goal(task.trained.model) - task.goal(after)}


def measured(task: Task, after: Model, crafted: Crafted | None, attack: str, group: str, defence: str) -> Row:
    """What a model after a request does to the targets."""
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
        "attack_evaluations": 0 if crafted is None else crafted.evaluations,
    }
