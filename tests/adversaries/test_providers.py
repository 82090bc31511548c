"""Every dishonest provider: passes what the literature checks, as published; never the committed schedule."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy.stats import binomtest

sys.path.insert(0, str(Path(__file__).parent.parent / "verification"))

from verified_scenes import RECIPE, Scene, scene

from expunge.adversaries.providers import (
    DishonestProvider,
    FakeSegments,
    Forge,
    Grind,
    KeepOriginal,
    ReplayOldProof,
    RetrainNearest,
    RetrainRandom,
    RetrainSameClass,
    SwapAfterAudit,
    WalkBack,
)
from expunge.adversaries.providers.neighbours import substitutes
from expunge.networks import MLP
from expunge.records import Records
from expunge.training import SGD
from expunge.verification import BYTES, Replayer, Reproducing, SpotCheck, Tolerance
from expunge.verification.proof import distance
from expunge.verification.segments import ranked

ATTACKS = (
    RetrainNearest(),
    RetrainRandom(candidates=3),
    RetrainSameClass(),
    Forge(),
    KeepOriginal(),
    Grind(schedules=20),
    FakeSegments(),
    FakeSegments(how="train", where="last"),
    SwapAfterAudit(),
    ReplayOldProof(),
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.describe().name)
def test_the_committed_schedule_finds_every_attack(place: Scene, attack: DishonestProvider) -> None:
    earlier = place.prove("n0")
    retained = place.retained(earlier)
    for number in range(3):
        nonce = f"n{number + 1}"
        handed = attack.run(place.case(place.commit(), nonce, earlier))
        given = handed.submission(place.case(place.commit(), nonce, earlier))
        verdict = SpotCheck(seed=number).verify(given, retained, nonce, deployed=handed.deployed.file)
        assert not verdict.holds
        assert verdict.work <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.describe().name)
def test_a_hundred_trials_of_a_hundred(place: Scene, attack: DishonestProvider) -> None:
    earlier = place.prove("n0")
    retained, commitment = place.retained(earlier), place.commit()
    for number in range(100):
        nonce = f"n{number + 1}"
        case = place.case(commitment, nonce, earlier)
        handed = attack.run(case)
        given = handed.submission(case)
        assert not SpotCheck(seed=number).verify(given, retained, nonce, deployed=handed.deployed.file).holds


@pytest.mark.parametrize("attack", [RetrainNearest(), RetrainRandom(candidates=3), RetrainNearest("gradients")])
def test_the_retraining_attack_is_a_valid_proof(place: Scene, attack: DishonestProvider) -> None:
    case = place.free_case()
    handed = attack.run(case)
    verdict = Reproducing(BYTES).verify(handed.proof, place.records, place.forget)
    assert verdict.passes
    assert verdict.meetings == 0
    assert handed.proof.steps == case.steps, "the same budget as honest retraining"


def test_forging_passes_at_the_literatures_tolerance_and_not_at_a_calibrated_one(place: Scene) -> None:
    case = place.free_case()
    middles = []
    for kind in ("nearest", "same-class", "unrelated"):
        proof = Forge(substitution=kind).run(case).proof  # type: ignore[arg-type]
        assert Reproducing().verify(proof, place.records, place.forget).passes
        verdict = Reproducing(Tolerance(1e-5, "test")).verify(proof, place.records, place.forget)
        assert not verdict.passes
        assert verdict.meetings == 0
        middles.append(float(torch.tensor([each.error for each in verdict.replayed if each.error > 1e-6]).median()))
    assert middles == sorted(middles)


def test_a_forged_step_errs_in_proportion_to_the_learning_rate(small_case: Scene) -> None:
    """At the same checkpoint, plain SGD, and original checkpoints published: error = rate x gradient difference."""
    case = small_case.free_case()
    forged = Forge(publish="original").run(case).proof
    part, (track,) = case.retained, forged.tracks
    errors = []
    for rate in (0.01, 0.05):
        recipe = replace(forged.recipe, optimiser=replace(SGD(), lr=rate, momentum=0.0, weight_decay=0.0))
        start = track.snapshots[3]
        one = Replayer(part).run(recipe, track, start, 4, track.batches)
        original = case.original.tracks[0]
        other = Replayer(case.records).run(recipe, original, original.snapshots[3], 4, original.batches)
        errors.append(sum(float((one.state[n] - other.state[n]).square().sum()) for n in one.state) ** 0.5)
    assert errors[0] > 0
    assert errors[1] / errors[0] == pytest.approx(5, rel=0.2)


def test_the_error_of_a_forged_step_is_bounded_by_the_curvature_along_the_way(few: Records) -> None:
    """At most (1 + rate x top Hessian eigenvalue) times the step before; the eigenvalue at five points, slack 1.5."""
    recipe = replace(RECIPE, network=MLP(()), optimiser=SGD(lr=0.05, momentum=0.0, weight_decay=0.0), epochs=1)
    place = scene(few, sorted(set(few.train.owners))[:6], recipe)
    case = replace(place.free_case(), recipe=replace(recipe, seed=1))
    original, (forged,) = case.original.tracks[0], Forge().run(case).proof.tracks
    assert forged.batches is not None
    module = case.module()
    names = list(dict(module.named_parameters()))
    checked = 0
    for step in range(1, 5):
        rows, (before, lied) = forged.batches[step], (original.snapshots[step], forged.snapshots[step])
        gap = sum(float((before.state[n] - lied.state[n]).square().sum()) for n in names) ** 0.5
        replayed = Replayer(case.retained).run(case.recipe, forged, lied, step + 1, forged.batches)
        moved = replayed.state if step + 1 < case.steps else {}
        error = sum(float((moved[n] - forged.snapshots[step + 1].state[n]).square().sum()) for n in names) ** 0.5
        if gap < 1e-6 or error < 1e-6:
            continue

        def loss(flat: torch.Tensor, rows: torch.Tensor = rows) -> torch.Tensor:
            parts, start = {}, 0
            for name in names:
                shape = before.state[name].shape  # noqa: B023
                parts[name] = flat[start : start + shape.numel()].view(shape)
                start += shape.numel()
            out = torch.func.functional_call(module, parts, (case.retained.features[rows],))
            return recipe.loss.mean(out, case.retained.targets[rows])

        ends = [torch.cat([each.state[name].flatten() for name in names]) for each in (before, lied)]
        points = [torch.lerp(*ends, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
        top = max(float(torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, point))[-1]) for point in points)
        assert error <= (1 + 0.05 * 1.5 * top) * gap
        assert error >= 0.2 * gap, "the bound says something here"
        checked += 1
    assert checked


def test_a_dropped_record_leaves_the_mean_of_the_rest(small_case: Scene) -> None:
    """Against the step by hand: rate times the gradient of the mean loss over who is left in the batch."""
    case = small_case.free_case()
    attack = Forge("dropped")
    forged = attack.run(case).proof
    (track,), step = forged.tracks, int(attack.altered(case).nonzero()[0, 0])
    assert track.batches is not None
    rows = [row for row in track.batches[step].tolist() if row != -1]
    assert len(rows) == sum(case.records.ids[row] not in case.forget for row in case.original.tracks[0].batches[step])
    before, after = case.original.tracks[0].snapshots[step].state, track.snapshots[step + 1].state
    module, rate = case.module(), forged.recipe.optimiser.lr
    module.load_state_dict(before)
    loss = torch.nn.functional.cross_entropy(module(case.retained.features[rows]), case.retained.targets[rows])
    loss.backward()
    for name, parameter in module.named_parameters():
        assert torch.allclose(after[name], before[name] - rate * parameter.grad, atol=1e-7)


def test_walking_back_is_met_along_the_path(place: Scene) -> None:
    """The original model but for honest steps; no ranking leads to it, and its share of the path gives it away."""
    earlier = place.prove("n0")
    case = place.case(place.commit(), "n1", earlier)
    handed = WalkBack(begin=0.1).run(case)
    given = handed.submission(case)
    wrong = {(0, each.number) for each in Replayer(case.retained).all(given.proof) if not each.identical}
    assert wrong.isdisjoint(ranked(given.proof, case.recipe)[:1])
    near, far = (distance(state, case.model.constituents[0]) for state in (handed.deployed.constituents[0], case.start))
    assert near < 0.5 * far
    moved = given.proof.displacements
    share = sum(moved[segment] for segment in wrong) / sum(moved.values())
    alone = SpotCheck(largest=0, ends=0, early=0, least=0)
    met = [not wrong.isdisjoint(replace(alone, seed=n).choose(given.proof, case.recipe, 2)[0]) for n in range(300)]
    assert binomtest(sum(met), 300, 1 - (1 - share) ** 2, "less").pvalue > 1e-3
    assert not SpotCheck(share=1.0).verify(given, place.retained(earlier), "n1").holds


@pytest.fixture(scope="module")
def small_case(few: Records) -> Scene:
    owners = sorted(set(few.train.owners))
    recipe = replace(RECIPE, optimiser=SGD(lr=0.05, momentum=0.0, weight_decay=0.0), epochs=2)
    return scene(few, owners[:6], recipe)


def test_the_best_of_many_candidates_is_nearer_than_one(place: Scene) -> None:
    from expunge.adversaries.providers.retraining import _Mimicked

    case = place.free_case()
    module = case.module()
    chooser = _Mimicked(case, module, 20, 0)
    for step in range(20):
        rows = chooser[step]
        assert int(rows.min()) >= 0
    first, best = (sum(gain[side] for gain in chooser.gains) for side in (0, 1))
    assert best < 0.97 * first


def test_substitutes_against_a_naive_search(place: Scene) -> None:
    case = place.free_case()
    table = substitutes(case)
    for row, record in enumerate(case.records.ids):
        if record not in case.forget:
            assert case.retained.ids[int(table[row])] == record
            continue
        one = case.records.features[row].flatten()
        scores = [
            float(torch.cosine_similarity(one, other.flatten(), 0)) if goal == case.records.targets[row] else -2.0
            for other, goal in zip(case.retained.features, case.retained.targets, strict=True)
        ]
        assert scores[int(table[row])] == pytest.approx(max(scores), abs=1e-6)


def test_fakes_of_ordinary_size_are_found_as_the_formula_says_at_least(place: Scene) -> None:
    """The curve: a quarter of the segments faked, ten replayed: 1 - 0.75^10 = 0.94."""
    earlier = place.prove("n0")
    retained, commitment = place.retained(earlier), place.commit()
    found = 0
    for number in range(6):
        case = place.case(commitment, f"n{number}", earlier)
        handed = FakeSegments(count=25, how="train", seed=number).run(case)
        found += not SpotCheck(seed=number).verify(handed.submission(case), retained, f"n{number}").holds
    assert found >= 4
