from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from expunge.adversaries.requesters import (
    AlteredCopies,
    Backdoor,
    Blended,
    BoundaryCopies,
    Camouflage,
    Crafted,
    Exhaust,
    FirstOrder,
    Greedy,
    Matching,
    Neighbours,
    NeverTrained,
    Polish,
    Relaxed,
    Requester,
    Select,
    Sequential,
    Task,
    Usability,
    benign,
    capped_simplex,
    grey_box,
    margins,
)
from expunge.adversaries.requesters.matching import loss_slope
from expunge.adversaries.requesters.selection import predicted_falls
from expunge.adversaries.requesters.view import View
from expunge.networks import MLP
from expunge.records import Records
from expunge.training import SGD, Recipe, Sharding, Trained, train
from expunge.unlearning import Retrain

RECIPE = Recipe(network=MLP((32,)), optimiser=SGD(lr=0.1), epochs=15, batch_size=64)
DECAY = 5e-3
CONVEX = Recipe(network=MLP(()), optimiser=SGD(lr=0.5, weight_decay=DECAY), epochs=60, batch_size=600)


@pytest.fixture(scope="module")
def network(records: Records) -> Trained:
    return train(RECIPE, records)


@pytest.fixture(scope="module")
def pair(records: Records) -> Records:
    rows = [row for row, target in enumerate(records.targets.tolist()) if target in (4, 9)]
    part = records.select(rows)
    return replace(part, targets=(part.targets == 9).long(), classes=2)


@pytest.fixture(scope="module")
def convex(pair: Records) -> Trained:
    return train(CONVEX, pair)


def targets_at(trained: Trained, records: Records, low: float, high: float) -> Records:
    """Test records that are right, between two quantiles of their margin."""
    found = margins(trained.model.logits(records.test.features), records.test.targets)
    right = (found > 0).nonzero()[:, 0]
    order = right[found[right].argsort()]
    return records.test.select(order[int(low * len(order)) : max(int(high * len(order)), 1)])


def flip_rate(task: Task, attack: Requester, each: int) -> float:
    """Flips over single targets, attacked one by one."""
    alone = [replace(task, targets=task.targets.select([row])) for row in range(min(each, len(task.targets)))]
    return float(np.mean([one.outcome(attack.run(one)).flips for one in alone]))


@pytest.mark.parametrize("seed", range(4))
def test_projection_is_the_nearest_point(seed: int):
    """Against a general-purpose solver on the same quadratic programme."""
    values = torch.randn(7, generator=torch.Generator().manual_seed(seed)) * 2
    wide = values.double().numpy()
    found = minimize(
        lambda w: ((w - wide) ** 2).sum(),
        np.full(7, 3 / 7),
        bounds=[(0, 1)] * 7,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 3},
        options={"ftol": 1e-14},
    )
    assert capped_simplex(values, 3.0).numpy() == pytest.approx(found.x, abs=1e-4)


def test_pulls_are_the_gradients_of_single_records(few: Records, plain_model: Trained):
    task = Task(few, plain_model, Retrain(), few.test.select([0]), 5)
    view = View(task, task.known)
    direction = torch.randn(len(view.point), generator=torch.Generator().manual_seed(1))
    pulls = view.pulls(direction)
    for row in (0, 7, len(view.train) - 1):
        one = torch.zeros(len(view.train))
        one[row] = 1
        assert pulls[row] == pytest.approx(float(view.weighted(one) @ direction), rel=1e-3, abs=1e-5)


def test_the_predicted_fall_is_the_one_of_retraining(pair: Records, convex: Trained):
    """Convex and trained to the end: single deletions, retrained in truth, fall as predicted."""
    task = Task(pair, convex, Retrain(), targets_at(convex, pair, 0, 1).select([0]), 8, damping=DECAY, products=100)
    scores = predicted_falls(View(task, task.known), "influence")
    rows = [*task.best(scores, 6), *task.best(-scores, 6)]
    fell = [task.outcome(Crafted(task.ids([row]))).fell for row in rows]
    assert np.corrcoef(scores[rows].numpy(), fell)[0, 1] >= 0.9
    assert 0.7 <= np.polyfit(scores[rows].numpy(), fell, 1)[0] <= 2.6


def test_influence_flips_where_chance_does_not_convex(pair: Records, convex: Trained):
    task = Task(pair, convex, Retrain(), targets_at(convex, pair, 0, 0.1), 6, damping=DECAY)
    influence, crafted = flip_rate(task, Select(), 4), benign(task, "random")
    assert influence >= 0.5
    assert task.outcome(crafted).flips <= 1


def test_influence_beats_chance_against_exact_retraining(records: Records, network: Trained):
    task = Task(records, network, Retrain(), targets_at(network, records, 0, 0.05), 14)
    assert flip_rate(task, Select(), 2) >= 0.5
    assert (
        task.outcome(benign(task, "random")).accuracy_after
        >= task.outcome(Crafted(task.ids([0]))).accuracy_after - 0.02
    )


def test_greedy_relaxed_and_polish_push_at_least_as_far(pair: Records, convex: Trained):
    one = targets_at(convex, pair, 0.3, 0.6).select([0])
    task = Task(pair, convex, Retrain(), one, 15, damping=DECAY)
    fell = {
        attack: task.outcome(attack.run(task)).fell for attack in (Select(), Greedy(3), Relaxed(4), Polish(swaps=2))
    }
    assert fell[Greedy(3)] > fell[Select()] * 0.98
    assert fell[Polish(swaps=2)] >= fell[Select()]
    assert fell[Relaxed(4)] >= 0.9 * fell[Select()]


def test_adaptive_selections_keep_to_their_disguise(records: Records, network: Trained):
    task = Task(records, network, Retrain(), targets_at(network, records, 0, 0.05).select([0]), 10)
    norms = View(task, task.known).gradient_norms()
    rows = records.train.rows(Select(cap=0.8).run(task).forget)
    assert float(norms[rows].max()) <= float(norms.quantile(0.8))
    near = records.train.select(records.train.rows(Neighbours().run(task).forget))
    assert set(near.targets.tolist()) == {int(task.targets.targets[0])}


def test_only_owned_records_are_named_and_never_more_than_the_budget(records: Records, network: Trained):
    owned = frozenset(records.train.ids[:50])
    task = Task(records, network, Retrain(), targets_at(network, records, 0, 0.05), 7, pool=owned)
    for attack in (Select(), Select("first-order"), Neighbours(), Relaxed(2)):
        named = attack.run(task).forget
        assert named <= owned
        assert len(named) == 7


def test_a_sharded_model_is_attacked_through_a_surrogate(few: Records):
    recipe = Recipe(network=MLP((16,)), optimiser=SGD(lr=0.1), epochs=4, batch_size=16, sharding=Sharding(2, 1))
    sharded = train(recipe, few)
    task = Task(few, sharded, Retrain(), few.test.select([0, 1]), 4)
    assert task.known.is_single
    assert len(Select().run(task).forget) == 4


def test_altered_copies_flip_and_noise_does_not(records: Records, network: Trained):
    low = targets_at(network, records, 0.25, 0.3).select([0])
    wanted = network.model.logits(low.features).topk(2).indices[:, 1]
    task = Task(records, network, FirstOrder(0.02), low, 10, wanted=wanted)
    attack = AlteredCopies(32 / 255, steps=20)
    crafted = attack.run(task)
    assert task.outcome(crafted).flips == 1
    assert task.outcome(replace(attack, noise=True).run(task)).flips == 0
    originals = records.train.select([records.train.row_of[each] for each in crafted.copies.ids])
    assert float((crafted.copies.features - originals.features).abs().max()) <= 32 / 255 + 1e-6
    assert replace(task, method=Retrain()).outcome(crafted).fell != 0  # deleted by id, the copies never train


def test_match_the_score_to_the_unlearner(records: Records, network: Trained):
    """Against a server that climbs the loss the plain gradient is the better order."""
    one = targets_at(network, records, 0.25, 0.3).select([0])
    task = Task(records, network, FirstOrder(0.01), one, 5)
    plain, solved = (task.outcome(Select(order).run(task)).fell for order in ("first-order", "influence"))
    assert plain > solved


def test_the_server_without_a_gate_unlearns_what_was_submitted(few: Records, plain_model: Trained):
    task = Task(few, plain_model, FirstOrder(0.05), few.test.select([0]), 3)
    crafted = AlteredCopies(0.2, steps=2).run(task)
    seen = crafted.submitted(few)
    rows = few.rows(crafted.forget)
    assert not seen.features[rows].equal(few.features[rows])
    others = [row for row in range(len(few)) if row not in rows]
    assert seen.features[others].equal(few.features[others])


def test_a_stream_stays_below_its_bound_and_names_records_once(few: Records, plain_model: Trained):
    """One action a step; the bound is the true unlearner's, not a prediction's."""
    task = Task(few, plain_model, FirstOrder(0.003), few.test.select([0, 1]), 6, products=10)
    attack = Sequential(steps=2, honest=2, stealth=0.02)
    played = attack.play(task)
    assert len(played.actions) == 2
    assert max(abs(change) for change in played.changes) <= 0.02
    assert not played.actions[0] & (played.actions[1] | played.honest[1])
    assert frozenset().union(*played.actions) == attack.run(task).forget
    assert all(
        not action
        for action in replace(attack, stealth=0.0, steps=1).play(replace(task, method=FirstOrder(5.0))).actions
    )


def test_foreign_requests_look_like_own_ids_and_are_not_the_records(few: Records, plain_model: Trained):
    task = Task(few, plain_model, FirstOrder(), few.test.select([0]), 4)
    for attack in (Blended(), NeverTrained()):
        crafted = attack.run(task)
        rows = [few.row_of[each] for each in crafted.copies.ids]
        assert set(crafted.copies.ids) == crafted.forget <= set(few.train.ids)
        assert not any(copy.equal(few.features[row]) for copy, row in zip(crafted.copies.features, rows, strict=True))


def test_a_patch_is_put_on_the_targets_and_their_class_left_out(few: Records, plain_model: Trained):
    task = Task(few, plain_model, Retrain(), few.test, 4)
    patched = Backdoor(wanted=3).prepared(task)
    assert 3 not in patched.targets.targets.tolist()
    assert patched.targets.features[..., -2:, -2:].eq(1).all()
    assert len(Backdoor(wanted=3).run(task).forget) == 4


def test_exhaustion_names_the_largest_gradients(few: Records, plain_model: Trained):
    task = Task(few, plain_model, Retrain(), few.test.select([0]), 3)
    view, found = View(task, task.known), Exhaust().run(task).forget
    norms = torch.stack([view.weighted(row).norm() for row in torch.eye(len(view.train))])
    assert found == task.ids(norms.topk(3).indices.tolist())


def test_boundary_copies_are_pushed_to_the_boundary_by_labels_alone(few: Records, plain_model: Trained):
    task = Task(few, plain_model, FirstOrder(0.02), few.test.select([0]), 8)
    for across in (False, True):
        attack = BoundaryCopies(across=across)
        crafted = attack.run(task)
        own = few.select([few.row_of[each] for each in crafted.copies.ids])
        before, after = (plain_model.model.predict(each.features) for each in (own, crafted.copies))
        assert set(own.targets.tolist()) == {int(task.targets.targets[0])}
        assert bool((before == after).all()) is not across
        assert bool((before != after).all()) is across
        assert crafted.copies.targets.equal(after)
        assert crafted.evaluations == len(few.train) + 8 * (2 + 12 + attack.steps * (12 + 1))
        straight = replace(attack, steps=0).run(task)
        far = [(each.copies.features - own.features).flatten(1).norm(dim=1) for each in (crafted, straight)]
        assert bool((far[0] <= far[1] + 1e-6).all())
        found = plain_model.model.logits(straight.copies.features).topk(2).values
        assert float((found[:, 0] - found[:, 1]).max()) < 0.05  # after 12 bisections


def test_boundary_copies_take_away_more_than_the_records_themselves(few: Records, plain_model: Trained):
    task = Task(few, plain_model, FirstOrder(0.02), few.test.select([0]), 8)
    crafted = BoundaryCopies().run(task)
    plain, pushed = (task.outcome(each).accuracy_after for each in (replace(crafted, copies=None), crafted))
    assert pushed < plain - 0.1


def test_matching_turns_the_gradient_towards_the_wanted_one(few: Records, plain_model: Trained):
    task = Task(few, plain_model, Retrain(), few.test.select([0]), 4)
    view, part = View(task, task.known), few.train.select([3, 9, 12])
    wanted = loss_slope(view, few.test.features[:5], few.test.targets[:5])
    found = Matching(eps=0.2, steps=15, restarts=1).run(view, part.features, part.targets, wanted, 0)
    apart = [
        1 - float(torch.cosine_similarity(loss_slope(view, each, part.targets), wanted, dim=0))
        for each in (part.features, found)
    ]
    assert apart[1] < apart[0] - 0.05
    assert float((found - part.features).abs().max()) <= 0.2 + 1e-6
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


@pytest.mark.parametrize("attack", [Camouflage(Matching(steps=5)), Usability(Matching(steps=5))])
def test_what_was_planted_is_trained_on_and_what_is_asked_for_are_true_records(
    few: Records, plain_model: Trained, attack: Camouflage | Usability
):
    task = Task(few, plain_model, Retrain(), few.test.select([0]), 6)
    ready = attack.prepared(task)
    crafted = attack.run(ready)
    changed = {
        record
        for record, one, other in zip(few.ids, few.features, ready.records.features, strict=True)
        if not one.equal(other)
    }
    assert crafted.copies is None
    assert crafted.forget <= changed
    assert len(changed) == 6
    assert ready.records.targets.equal(few.targets)
    assert len(crafted.forget) == (3 if isinstance(attack, Camouflage) else 6)
    assert ready.trained.model.digest == train(plain_model.model.recipe, ready.records).model.digest


def test_a_grey_box_never_looks_at_the_model_or_half_of_the_records(few: Records, plain_model: Trained):
    task = Task(few, plain_model, Retrain(), few.test.select([0]), 5)
    blind = grey_box(task)
    state = {name: torch.zeros_like(part) for name, part in (plain_model.model.constituents[0] or {}).items()}
    silent = replace(plain_model, model=replace(plain_model.model, constituents=(state,)))
    assert blind.known.digest != plain_model.model.digest
    assert grey_box(replace(task, trained=silent)).known.digest == blind.known.digest
    assert Select().run(grey_box(replace(task, trained=silent))).forget == Select().run(blind).forget
