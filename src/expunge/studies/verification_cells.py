"""Cells of the study `verification`, part one: the literature's verifiers and the two published attacks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from expunge.adversaries.providers import (
    Case,
    DishonestProvider,
    Forge,
    Handed,
    RetrainNearest,
    RetrainRandom,
    RetrainSameClass,
)
from expunge.auditing.intervals import auc
from expunge.networks import MLP
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.studies.frame import Row
from expunge.training import SGD, Constant, Model, Recipe, courses, train
from expunge.verification import (
    BYTES,
    POL_DEFAULT,
    BackdoorTest,
    Marked,
    Proof,
    Replayed,
    Tolerance,
    calibrate,
    hits,
    mark,
    prove_courses,
)
from expunge.verification.replay import Replayer

EPOCHS = {"small": 10, "full": 30}
CANDIDATES = {"small": 5, "full": 50}
DELETED = 0.2
"""Share of the owners who leave; the published attack's is 10,000 of 48,000 records."""

FEW = 4000
OWNERS = 80
MARKED = 8
REFERENCES = 3
QUERIES = 30
ALPHA = 1e-3


def adversarial_recipe(records: int, scale: str, seed: int) -> Recipe:
    """The published setting: three-layer MLP, SGD 0.01 with momentum 0.9 and decay 5e-4, batches of 128.

    On fewer than 4,000 training records batches of 32, and in a short run rate 0.05: at the published ones no trigger
    would be learned.
    """
    width, rate = 128 if records >= FEW else 32, 0.01 if scale == "full" and records >= FEW else 0.05
    return Recipe(MLP((32, 32)), SGD(rate, 0.9, 5e-4), Constant(), epochs=EPOCHS[scale], batch_size=width, seed=seed)


def forging_recipe(records: int, scale: str, seed: int) -> Recipe:
    """Plain SGD, as the published forging."""
    recipe = adversarial_recipe(records, scale, seed)
    return replace(recipe, optimiser=SGD(recipe.stepwise.lr, 0.0, 0.0))


def grouped(records: Records, seed: int) -> Records:
    """The records under owners of equal size: about 100 training records each, between 20 and 80 owners."""
    count = min(OWNERS, max(20, len(records.train) // 100))
    order = numpy_generator(seed, "study/verification/owners").permutation(len(records))
    owners = np.empty(len(records), dtype=object)
    owners[order] = [f"owner-{place % count:03d}" for place in range(len(records))]
    return replace(records, owners=tuple(owners.tolist()), raw=None)


@dataclass(frozen=True, eq=False)
class Field:
    """Everything that the attacks of one seed are measured on.

    Half of the owners who marked records leave, with others up to `DELETED` of all.
    """

    records: Records
    scale: str
    seed: int

    @cached_property
    def marked(self) -> Marked:
        """Records after some owners marked half of theirs."""
        whole = grouped(self.records, self.seed)
        return mark(whole, sorted(set(whole.owners))[:MARKED], seed=self.seed)

    @cached_property
    def leaving(self) -> tuple[str, ...]:
        """Owners who leave; the first of them marked records."""
        owners = sorted(set(self.marked.records.owners))
        count = max(MARKED // 2, round(DELETED * len(owners)))
        return (*owners[: MARKED // 2], *owners[MARKED : MARKED + count - MARKED // 2])

    @cached_property
    def forget(self) -> frozenset[str]:
        """Training records that go."""
        part = self.marked.records.train
        gone = set(self.leaving)
        return frozenset(name for name, owner in zip(part.ids, part.owners, strict=True) if owner in gone)

    @cached_property
    def case(self) -> Case:
        """What the provider has: a checkpoint of every step where steps are few, else every tenth."""
        part = self.marked.records.train
        recipe = adversarial_recipe(len(part), self.scale, self.seed)
        return case_of(part, self.forget, recipe, every=10)

    @cached_property
    def tests(self) -> dict[str, BackdoorTest]:
        """Each leaving owner's test: p from queries before the deletion, q from models of the owner's own.

        q is the largest rate among them, and one over the number of classes at least.
        """
        found = {}
        for owner in self.leaving[: MARKED // 2]:
            seen = self.hits(self.case.model, owner, "before")
            p = float(np.mean(seen)) if seen else 0.0
            clean = [float(np.mean([0.0, *self.hits(model, owner, "before")])) for model in self.references]
            q = max(1 / self.records.classes, *clean)
            if p > q:
                found[owner] = BackdoorTest(p, q, min(QUERIES, max(1, len(seen))), ALPHA)
        return found

    @cached_property
    def references(self) -> tuple[Model, ...]:
        """Models that never saw what is to go, under seeds that nobody else uses."""
        left = self.marked.records.without(self.forget)
        seeds = (self.seed + 20_000 + number for number in range(REFERENCES))
        return tuple(train(replace(self.case.recipe, seed=seed), left).model for seed in seeds)

    def hits(self, model: Model, owner: str, when: str) -> list[bool]:
        """Hits of test records with the owner's trigger; one half of them before the deletion, the other after."""
        test = self.marked.records.test
        order = numpy_generator(self.seed, f"study/verification/{owner}").permutation(len(test)).tolist()
        half = order[: len(order) // 2] if when == "before" else order[len(order) // 2 :]
        return hits(model, self.marked.triggers[owner], test.select(half))


def case_of(part: Records, forget: frozenset[str], recipe: Recipe, every: int) -> Case:
    """The original training on `part`, and retraining under a seed of the provider's own."""
    original, result, _ = prove_courses(recipe, part, courses(recipe, part), every=every, batches=True)
    model = Model(recipe, part.shape, part.classes, tuple(result.states))
    return Case(part, forget, replace(recipe, seed=recipe.seed + 10_000), original, model, every)


def literature(records: Records, scale: str, seed: int) -> list[Row]:
    """Each provider against both of the literature's verifiers, and what its model knows of D_f."""
    field = Field(records, scale, seed)
    case, rows = field.case, []
    tolerance = calibrate(case.original, case.records, most=8)
    for name, handed in _handed(case, scale, seed):
        found = Replayer(case.retained).all(handed.proof) if name != "original" else []
        row = {"part": "literature", "seed": seed, "provider": name, **_backdoor(field, handed.deployed)}
        row |= _replays(found, tolerance, handed.proof if found else None, case)
        row |= {**_exposure(field, handed.deployed), "cost": handed.evaluations / _retraining(case)}
        rows.append(row)
    return rows


def _handed(case: Case, scale: str, seed: int) -> Iterator[tuple[str, Handed]]:
    """What each provider hands over; `original` did nothing and shows nothing."""
    part = case.retained
    yield "original", Handed(case.original, case.model, case.model)
    proof, result, _ = prove_courses(case.recipe, part, courses(case.recipe, part), every=case.every, batches=True)
    honest = Model(case.recipe, part.shape, part.classes, tuple(result.states))
    yield "honest", Handed(proof, honest, honest, result.cost.gradient_evaluations)
    attacks: tuple[DishonestProvider, ...] = (
        RetrainNearest(),
        RetrainRandom(CANDIDATES[scale], seed),
        RetrainSameClass(seed),
    )
    for attack in attacks:
        yield attack.describe().name, attack.run(case)
    finer = replace(case, original=_every_step(case), every=1)
    yield "forge", Forge().run(finer)


def _every_step(case: Case) -> Proof:
    """The original proof again, with a checkpoint for each step: what a forger needs."""
    recipe = case.original.recipe
    plan = courses(recipe, case.records)
    return prove_courses(recipe, case.records, plan, every=1, batches=True)[0]


def _backdoor(field: Field, model: Model) -> dict[str, Any]:
    """How many of the leaving owners' tests read the model as deleted, and how often a trigger was met."""
    passed, seen, tests = [], list[bool](), list[list[float]]()
    for owner, test in field.tests.items():
        everything = field.hits(model, owner, "after")
        tests.append([test.p, test.q, sum(everything), len(everything)])
        found = everything[:QUERIES]
        seen += found
        passed.append(replace(test, queries=len(found)).deleted(sum(found)))
    p = float(np.mean([test.p for test in field.tests.values()])) if passed else None
    return {
        "backdoor_owners": len(passed),
        "backdoor_passed": sum(passed),
        "trigger_rate": float(np.mean(seen)) if seen else None,
        "trigger_rate_before": p,
        "tests": tests,
    }


def _replays(found: list[Replayed], tolerance: Tolerance, proof: Proof | None, case: Case) -> dict[str, Any]:
    """Shares of segments that pass, at three tolerances, and the errors."""
    if proof is None:
        return {}
    errors = np.array([each.error for each in found])
    rows = proof.tracks[0].batches
    assert rows is not None
    return {
        "replay_pass_literature": float(np.mean([each.passes(POL_DEFAULT) for each in found])),
        "replay_pass_calibrated": float(np.mean([each.passes(tolerance) for each in found])),
        "replay_pass_bytes": float(np.mean([each.passes(BYTES) for each in found])),
        "calibrated_tolerance": tolerance.value,
        "error_median": float(np.median(errors)),
        "error_max": float(errors.max()),
        "batches_with_forgotten": sum(case.retained.ids[row] in case.forget for row in set(rows.flatten().tolist())),
    }


def _exposure(field: Field, model: Model) -> dict[str, float]:
    """Accuracy on unmarked forgotten, on retained and on test records, and the loss test's AUC, D_f against test."""
    records, touched = field.marked.records, {n for names in field.marked.marked.values() for n in names}
    part = records.train
    gone = [r for r, name in enumerate(part.ids) if name in field.forget and name not in touched]
    kept = [r for r, name in enumerate(part.ids) if name not in field.forget and name not in touched]
    forgotten, retained, test = part.select(gone), part.select(kept), records.test
    return {
        "accuracy_forgotten": _accuracy(model, forgotten),
        "accuracy_retained": _accuracy(model, retained),
        "accuracy_test": _accuracy(model, test),
        "membership_auc": auc(-_losses(model, forgotten), -_losses(model, test)).value or 0.5,
    }


def _accuracy(model: Model, part: Records) -> float:
    return float((model.predict(part.features) == part.targets).double().mean())


@torch.no_grad()
def _losses(model: Model, part: Records) -> "np.ndarray[Any, Any]":
    losses = model.recipe.loss.per_record(model.logits(part.features), part.targets)
    return np.asarray(losses.double().numpy())


def _retraining(case: Case) -> int:
    return case.stage.evaluations(case.recipe.batch_size)
