"""Screens against naive references and closed forms; the gate's order; what is refused; screens by contrast."""

from dataclasses import replace

import pytest
import torch

from expunge.errors import ExpungeError
from expunge.networks import MLP, layout
from expunge.records import Records, commitments, new_salts
from expunge.screening import (
    Budgets,
    Calibration,
    Canaries,
    Committed,
    ExactMatch,
    Ground,
    Level,
    Matched,
    Past,
    RandomOrder,
    Screen,
    ShardDisagreement,
    Submission,
    Verdict,
    calibrate,
    forecast,
    screen,
)
from expunge.screening.combined import Combined
from expunge.screening.gate import EVIDENCE, GATES
from expunge.screening.ground import drops, margins
from expunge.screening.medoids import isolated, medoids
from expunge.screening.rehearsal import ATTACKS, HONEST, attacks, honest
from expunge.training import SGD, Recipe, Sharding, Trained, train
from expunge.training.curvature import Curvature, CurvatureKind


@pytest.fixture(scope="module")
def ground(plain_model: Trained, few: Records) -> Ground:
    return Ground(plain_model.model, few, damping=1e-2)


def asked(ground: Ground, rows: list[int]) -> Submission:
    return Submission(ground, tuple(ground.records.train.ids[row] for row in rows))


def test_the_forecast_is_the_newton_step_of_the_last_layer(ground: Ground) -> None:
    """Oracle: the Gauss-Newton matrix of training.curvature, formed and solved, on the last layer as a linear model."""
    (head,) = ground.heads
    inner, outputs = head.features[:, :-1].double(), head.outputs
    linear = torch.nn.Linear(inner.shape[1], outputs.shape[1]).double()
    weight, bias = head.weights[:, :-1].double(), head.weights[:, -1].double()
    point = layout(linear).flatten({"weight": weight, "bias": bias})
    curvature = Curvature(linear, point, inner, head.targets, kind=CurvatureKind.GAUSS_NEWTON, damping=1e-2)
    rows = torch.tensor([3, 5, 8])
    removed = curvature.on(rows).gradient * len(rows) / len(head.targets)
    move = layout(linear).unflatten(curvature.solve(removed))
    expected = torch.cat([move["weight"], move["bias"][:, None]], 1)
    found = head.moves(rows).sum(0)
    assert torch.allclose(found.double(), expected, atol=1e-3 * float(expected.norm()))
    moved = head.probes @ (head.weights + found).T
    targets = ground.records.test.targets
    drops = margins(head.probes @ head.weights.T, targets) - margins(moved, targets)
    assert torch.allclose(forecast(ground, rows).drops, drops, atol=1e-6)


def test_shortcuts_are_what_they_shorten(ground: Ground) -> None:
    (head,), rows = ground.heads, torch.arange(12)
    gradients = head.gradients(rows)
    assert torch.allclose(head.distances(rows), torch.cdist(gradients, gradients), atol=1e-3)
    batches = [rows[:5], rows[3:], rows[:1]]
    assert torch.allclose(drops(ground, batches), torch.stack([forecast(ground, b).drops for b in batches]), atol=1e-5)


def test_a_forecast_over_shards_is_the_mean_over_their_networks(few: Records) -> None:
    recipe = Recipe(network=MLP((8,)), optimiser=SGD(lr=0.1), epochs=2, sharding=Sharding(3))
    ground = Ground(train(recipe, few).model, few)
    rows = torch.arange(6)
    parts = [forecast(ground, rows[torch.isin(rows, head.rows)]).drops for head in ground.heads]
    assert torch.allclose(forecast(ground, rows).drops, torch.stack(parts).sum(0), atol=1e-5)
    assert sum(len(head.rows) for head in ground.heads) == ground.size


def test_medoids_are_the_greedy_ones_and_outliers_are_isolated() -> None:
    """Oracle: greedy by trying every candidate."""
    points = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    distances, chosen = torch.cdist(points, points), []
    for _ in range(4):
        costs = {p: float(distances[[*chosen, p]].min(0).values.sum()) for p in range(12) if p not in chosen}
        chosen.append(min(costs, key=lambda p: costs[p]))
    assert medoids(distances, 4).tolist() == chosen
    lonely = torch.cat([torch.zeros(9, 2) + torch.arange(9)[:, None] * 1e-3, torch.tensor([[9.0, 9.0]])])
    assert isolated(torch.cdist(lonely, lonely), 2).tolist() == [False] * 9 + [True]


@pytest.mark.parametrize("each", [*GATES, *EVIDENCE, Combined(), Canaries()], ids=lambda each: each.describe().name)
def test_every_screen_keeps_the_contract(each: Screen, ground: Ground) -> None:
    assert isinstance(each, Screen)
    words = each.describe()
    assert words.catches
    assert words.misses
    found = each.judge(asked(ground, [0, 1, 2]))
    assert found.verdict is Verdict.PASSED
    assert found.screen == words.name
    assert not any(record in str(found.to_json()) for record in ground.records.train.ids[:3])
    if found.statistic is not None:
        assert each.judge(asked(ground, [0, 1, 2]), found.score - 1).verdict is Verdict.HELD
        assert each.judge(asked(ground, [0, 1, 2]), found.score).verdict is Verdict.PASSED


def test_record_matching_accepts_the_true_records_alone(ground: Ground) -> None:
    records = ground.records
    salts = dict(zip(records.ids, new_salts(len(records)), strict=True))
    leaves = dict(zip(records.ids, commitments(records, list(salts.values())), strict=True))
    own = records.select(list(range(10)))
    plain = Submission(ground, own.ids, committed=Committed(leaves, salts))
    assert ExactMatch().judge(plain).verdict is Verdict.PASSED
    assert ExactMatch().judge(replace(plain, copies=own)).verdict is Verdict.PASSED
    accepted = 0
    for shift in (8 / 255, 1 / 255, 1e-6):
        noisy = own.features + shift * torch.randn(own.features.shape, generator=torch.Generator().manual_seed(1))
        found = ExactMatch().judge(replace(plain, copies=replace(own, features=noisy, raw=None)))
        accepted += found.verdict is not Verdict.REFUSED
        assert found.code == "altered-copy"
    assert accepted == 0
    relabelled = replace(own, targets=(own.targets + 1) % records.classes, raw=None)
    assert ExactMatch().judge(replace(plain, copies=relabelled, committed=None)).code == "altered-copy"
    assert ExactMatch().judge(Submission(ground, ("never",))).code == "unknown-record"
    assert ExactMatch().judge(replace(plain, owner="nobody")).code == "not-owner"
    with pytest.raises(ExpungeError):
        screen(Submission(ground, ("never",))).demand()


def test_budgets_add_up_the_window(ground: Ground) -> None:
    tenth = ground.size // 10
    past = (Past("a", 0.0, 3 * tenth), Past("a", 50.0, tenth), Past("b", 55.0, tenth))
    request = replace(asked(ground, list(range(tenth))), pseudonym="a", history=past, day=60.0)
    found = Budgets(days=30, owner=0.25).judge(request)
    assert found.scores["owner_share"] == pytest.approx(2 * tenth / ground.size)
    assert found.scores["window_share"] == pytest.approx(3 * tenth / ground.size)
    assert found.verdict is Verdict.PASSED
    assert Budgets(days=70, owner=0.25).judge(request).verdict is Verdict.HELD


def test_rehearsed_batches_are_what_they_are_called(ground: Ground) -> None:
    for kind in HONEST:
        assert all(len(set(batch.tolist())) == 5 for batch in honest(ground, kind, 5, 4, "x"))
    hard = torch.cat(honest(ground, "hard", 5, 4, "x"))
    assert float(ground.losses[hard].min()) >= float(ground.losses.quantile(0.85))
    capped = torch.cat(attacks(ground, "capped", 5, 4, "x"))
    assert float(ground.gradient_norms[capped].max()) <= float(ground.gradient_norms.quantile(0.8))
    # Oracle: forecast every record alone; the attack is the five that pull some probe down most.
    pulls = forecast(ground, torch.arange(ground.size)).pulls
    best = [frozenset(column.topk(5).indices.tolist()) for column in pulls.T]
    assert all(frozenset(batch.tolist()) in best for batch in attacks(ground, "influence", 5, 4, "x"))
    assert all(attacks(ground, kind, 5, 2, "x")[0].equal(attacks(ground, kind, 5, 2, "x")[0]) for kind in ATTACKS)


def test_calibration_tells_rehearsed_attacks_from_honest_owners(ground: Ground) -> None:
    found = calibrate(ground, sizes=(10,), batches=40)
    (level,) = found.levels
    assert max(level.false_positives.values()) <= 0.05
    assert level.caught["influence"] >= 0.5
    assert Calibration.from_json(found.to_json()) == found


def test_between_two_sizes_the_higher_threshold_holds() -> None:
    levels = tuple(Level(size, at, {}, {}, 0) for size, at in ((5, 2.0), (20, 1.0)))
    found = Calibration("", Combined(), levels)
    assert [found.threshold(size) for size in (1, 5, 9, 20, 99)] == [2.0, 2.0, 2.0, 1.0, 1.0]


def test_disagreement_is_the_deviation_of_heads_that_never_saw_the_record(ground: Ground) -> None:
    """Oracle: the same fit by lstsq on augmented rows, record by record."""
    (head,) = ground.heads
    way = ShardDisagreement(shards=3)
    row, shard = 4, torch.arange(len(head.targets)) % 3
    onehot = torch.nn.functional.one_hot(head.targets, len(head.weights)).float()
    votes = []
    for number in {0, 1, 2} - {int(shard[row])}:
        own = shard == number
        ridge = (way.ridge * int(own.sum())) ** 0.5 * torch.eye(head.features.shape[1])
        left = torch.cat([head.features[own], ridge]).double()
        right_ = torch.cat([onehot[own], torch.zeros(len(ridge), onehot.shape[1])]).double()
        votes.append(head.features[row].double() @ torch.linalg.lstsq(left, right_).solution[:, head.targets[row]])
    expected = float(torch.stack(votes).std(correction=0))
    assert way.judge(asked(ground, [row])).score == pytest.approx(expected, rel=1e-2)


def test_halves_agree_where_all_records_are_one_and_matched_batches_show_an_aim(ground: Ground) -> None:
    order, matched = RandomOrder(), Matched(draws=10)
    aimed = [asked(ground, batch.tolist()) for batch in attacks(ground, "influence", 10, 6, "aim")]
    plain = [asked(ground, batch.tolist()) for batch in honest(ground, "random", 10, 6, "aim")]
    for each in (order, matched):
        bad, good = ([each.judge(request).score for request in some] for some in (aimed, plain))
        assert sum(bad) / len(bad) > sum(good) / len(good)
    assert all(-1 <= order.judge(request).score <= 1 for request in aimed)
    assert order.judge(asked(ground, [3])).score == 0.0


def test_canaries_find_a_class_that_was_lost_and_nothing_where_nothing_changed(ground: Ground) -> None:
    request = asked(ground, [0])
    assert Canaries().judge(replace(request, after=ground.model)).scores == {"worst_class_fall": 0.0, "flips": 0.0}
    state = dict(ground.model.constituents[0] or {})
    name = [each for each in state if each.endswith("bias")][-1]
    silenced = state[name].clone()
    silenced[3] = -100.0
    broken = replace(ground.model, constituents=({**state, name: silenced},))
    found = Canaries().judge(replace(request, after=broken))
    test = ground.records.test
    right = ground.model.predict(test.features) == test.targets
    assert found.verdict is Verdict.HELD
    assert found.scores["worst_class_fall"] == pytest.approx(float(right[test.targets == 3].float().mean()))
