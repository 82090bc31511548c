"""Repair: a function of the retained records alone, whatever was forgotten; what it costs; what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.auditing.shadows import plan_shadows, with_copies
from expunge.errors import ExpungeError
from expunge.networks import MLP
from expunge.records import Records
from expunge.training import Recipe, Trained
from expunge.unlearning import ClaimKind, Repair, Unlearned, prepare, repair, unlearn
from expunge.unlearning.repair import OTHER_RECIPE

WAY = Repair(copies=2, work=3)


@pytest.fixture(scope="module")
def forget(few: Records) -> tuple[str, ...]:
    return few.owned_by(few.train.owners[0])


@pytest.fixture(scope="module")
def repaired(plain_model: Trained, few: Records, forget: tuple[str, ...]) -> Unlearned:
    return unlearn(plain_model, few, forget, WAY)


def test_neither_the_forgotten_records_nor_the_old_model_move_a_byte(
    plain_model: Trained, few: Records, forget: tuple[str, ...], repaired: Unlearned
) -> None:
    features = few.features.clone()
    features[few.rows(forget)] = torch.rand(len(forget), *few.shape, generator=torch.Generator().manual_seed(1))
    others = replace(few, features=features, raw=None)
    state = {name: torch.zeros_like(part) for name, part in (plain_model.model.constituents[0] or {}).items()}
    old = replace(plain_model, model=replace(plain_model.model, constituents=(state,)))
    assert unlearn(old, others, forget, WAY).trained.model.digest == repaired.trained.model.digest
    assert repaired.trained.model.digest != plain_model.model.digest


def test_the_run_is_recorded_as_what_it_is(
    plain_model: Trained, few: Records, forget: tuple[str, ...], repaired: Unlearned
) -> None:
    plan = WAY.plan(prepare(plain_model, few, forget))
    assert plan.gradient_evaluations == repaired.cost.gradient_evaluations
    assert 2.5 < plan.gradient_evaluations / plan.retraining_evaluations < 3.5
    assert repaired.claim.kind is ClaimKind.EXACT
    assert repaired.claim.reference.startswith("an augmented recipe from scratch on the retained records")
    assert any("another than the one the model was trained by" in each for each in repaired.claim.assumptions)
    assert repaired.degraded == (OTHER_RECIPE,)
    assert repaired.trained.log.records == len(repaired.records.train) == len(few.without(forget).train)
    assert not repaired.trained.log.checkpoints
    assert not set(forget) & set(repaired.records.ids)


def test_the_work_is_the_same_however_many_copies_there_are(
    plain_model: Trained, few: Records, forget: tuple[str, ...]
) -> None:
    deletion = prepare(plain_model, few, forget)
    plans = [Repair(copies=copies, work=6).plan(deletion) for copies in (1, 5, 40)]
    for plan in plans:
        assert 5.5 < plan.gradient_evaluations / plan.retraining_evaluations < 6.5


def test_fewer_copies_than_asked_for_are_no_secret(
    plain_model: Trained, few: Records, forget: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = few.without(forget)
    monkeypatch.setattr(repair, "MOST_NUMBERS", 3 * left.train.features.numel())
    way = replace(WAY, copies=9)
    assert way.held(left) == 2
    assert len(way.augmented(left, 0)) == 3 * len(left.train)
    plan, done = way.plan(prepare(plain_model, few, forget)), unlearn(plain_model, few, forget, way)
    assert plan.gradient_evaluations == done.cost.gradient_evaluations
    assert any("room for 2" in note for note in plan.notes)
    assert any("room for 2" in note for note in done.degraded)


def test_copies_keep_class_and_range_and_stay_near(few: Records) -> None:
    found = replace(WAY, turn=0.0, stretch=0.0, shift=0.0).augmented(few, 0)
    count = len(few.train)
    assert torch.allclose(found.features[count : 2 * count], few.train.features, atol=1e-5)
    moved = WAY.augmented(few, 0)
    assert moved.targets.equal(few.train.targets.repeat(3))
    assert 0 <= float(moved.features.min()) <= float(moved.features.max()) <= 1 + 1e-5
    assert moved.features[:count].equal(few.train.features)
    assert not moved.features[count : 2 * count].equal(moved.features[2 * count :])


def test_other_records_move_towards_one_of_the_nearest_of_their_class() -> None:
    draw = torch.Generator().manual_seed(0)
    features, targets = torch.randn(60, 4, generator=draw), torch.arange(60) % 3
    ids = tuple(str(number) for number in range(60))
    moved = Repair(copies=1, near=2).augmented(Records(features, targets, ids, ids, ("train",) * 60, 3), 0)
    for row in range(60):
        same = [other for other in range(60) if targets[other] == targets[row] and other != row]
        near = sorted(same, key=lambda other: float((features[other] - features[row]).norm()))[:2]
        step = moved.features[60 + row] - features[row]
        gaps = [features[other] - features[row] for other in near]
        shares = [float(step @ gap / (gap @ gap)) for gap in gaps]
        assert any(
            -1e-5 <= share <= 0.5 + 1e-5 and torch.allclose(step, share * gap, atol=1e-5)
            for share, gap in zip(shares, gaps, strict=True)
        )


def test_shards_and_nonsense_are_refused(sharded_model: Trained, few: Records, forget: tuple[str, ...]) -> None:
    with pytest.raises(ExpungeError, match="one network"):
        unlearn(sharded_model, few, forget, WAY)
    for wrong in ({"copies": 0}, {"turn": -1.0}, {"stretch": 1.0}, {"work": 0.0}, {"work": float("inf")}):
        with pytest.raises(ExpungeError):
            Repair(**wrong)


def test_no_shadow_model_of_an_audit_learns_from_a_copy_of_what_it_lacks(few: Records) -> None:
    """Neither a copy of an absent record, nor a copy of another that an absent record steered."""
    part = few.train.select(list(range(30)))
    flat = replace(part, features=part.features.flatten(1), raw=None)
    held, included = flat.select(list(range(20))), np.arange(20).reshape(2, 10) % 3 == 0
    plan = plan_shadows(Recipe(network=MLP(())), [(0, 0)] * 30, (0,), included, 0)

    def augment(found: Records, near: Records) -> Records:
        return WAY.augmented(found, 0, near)

    whole, courses = with_copies(augment, flat, held, plan)
    for course, row in zip(courses, included, strict=True):
        taken = [*range(20), *(20 + np.flatnonzero(row)).tolist()]
        assert sorted(course.stages[0].rows) == sorted(copy * 30 + place for copy in range(3) for place in taken)
    others = replace(flat, features=torch.cat([flat.features[:20], torch.rand(10, flat.features.shape[1])]))
    again, _ = with_copies(augment, others, held, plan)
    kept = torch.arange(90) % 30 < 20
    assert again.features[kept].equal(whole.features[kept])
    assert whole.targets.equal(flat.targets.repeat(3))
