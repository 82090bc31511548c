"""What certified methods may claim, against brute force; what they must refuse."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.errors import ExpungeError
from expunge.networks import MLP, InPython, RandomFeatures, initialise
from expunge.records import Records
from expunge.training import HeadSolver, Recipe, Trained, train
from expunge.training.head import Head, fixed_features, read_head, solve_head
from expunge.unlearning import (
    Certified,
    CertifiedHead,
    ClaimKind,
    Newton,
    NoisyFineTuning,
    OutputPerturbation,
    Retrain,
    prepare,
    unlearn,
)
from expunge.unlearning.accounting import epsilon_of, mu_of
from expunge.unlearning.method import EXCLUDES_NOTHING, NOISE_OF_SYSTEM
from expunge.unlearning.release import gaussian, noised

KEY = bytes(range(32))
CERTIFIABLE = Recipe(network=RandomFeatures(60), optimiser=HeadSolver(l2=1e-3), epochs=300)


@pytest.fixture(scope="module")
def head_model(few: Records) -> Trained:
    return train(CERTIFIABLE, few)


@pytest.fixture(scope="module")
def forget(few: Records) -> tuple[str, ...]:
    return few.owned_by(few.train.owners[0])


def _optimum(records: Records, trained: Trained) -> tuple[Head, torch.Tensor]:
    """The last layer's optimum by plain second-order steps on the full matrix: slow and independent."""
    part = records.train
    head = Head(fixed_features(trained.model.module(), part.features), part.targets, part.classes, 1e-3)
    weights = torch.zeros(head.features.shape[1], part.classes, dtype=torch.float64)
    eye = torch.eye(part.classes, dtype=torch.float64)
    for _ in range(30):
        shares = (head.features @ weights).softmax(1)
        middle = torch.diag_embed(shares) - shares[:, :, None] * shares[:, None, :]
        hessian = torch.einsum("ni,nj,nkl->ikjl", head.features, head.features, middle) / len(part)
        size = weights.numel()
        matrix = hessian.reshape(size, size) + 1e-3 * torch.eye(size, dtype=torch.float64)
        slope = head.features.T @ (shares - eye[part.targets]) / len(part) + 1e-3 * weights
        step = torch.linalg.solve(matrix, slope.reshape(-1)).view_as(weights)
        weights = weights - step
        if step.norm() < 1e-12:
            break
    return head, weights


def test_where_single_precision_gives_up_on_the_features_the_head_is_solved_all_the_same(
    head_model: Trained, few: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = torch.linalg.eigh

    def strict(matrix: torch.Tensor) -> object:
        if matrix.dtype == torch.float32:
            raise RuntimeError("did not converge")
        return plain(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", strict)
    head = Head(fixed_features(head_model.model.module(), few.train.features), few.train.targets, few.classes, 1e-3)
    assert solve_head(head, gradient_norm=1e-6).gradient_norm <= 1e-6


def test_the_solver_finds_the_optimum_and_its_bound_holds(few: Records, head_model: Trained) -> None:
    small = few.select([*range(200)]) if len(few) > 200 else few
    recipe = replace(CERTIFIABLE, network=RandomFeatures(12))
    trained = train(recipe, small)
    head, optimum = _optimum(small, trained)
    for goal in (1e-2, 1e-4, 1e-9):
        found = solve_head(head, gradient_norm=goal)
        assert found.gradient_norm <= goal
        assert (found.weights - optimum).norm() <= head.distance_bound(found.weights) + 1e-11
    assert head.distance_bound(optimum) < 1e-9
    assert trained.log.checkpoints


def test_training_of_a_head_is_deterministic_and_good(few: Records, head_model: Trained) -> None:
    assert train(CERTIFIABLE, few).model.digest == head_model.model.digest
    right = (head_model.model.predict(few.test.features) == few.test.targets).float().mean()
    assert right > 0.8


def test_the_release_is_the_optimum_plus_the_stated_noise(
    few: Records, head_model: Trained, forget: tuple[str, ...]
) -> None:
    """Over many seeds: mean at the retained optimum, spread as stated, distance before noise within the certificate."""
    method = CertifiedHead(noise=0.01, requests=4)
    retained = few.without(forget).train
    head = Head(fixed_features(head_model.model.module(), retained.features), retained.targets, few.classes, 1e-3)
    optimum = solve_head(head, gradient_norm=1e-11).weights
    gaps = []
    for _ in range(8):
        result = unlearn(head_model, few, forget, method)
        gaps.append(read_head(result.trained.model.constituents[0], "1") - optimum)
    stacked = torch.stack(gaps)
    assert float(stacked.std()) == pytest.approx(0.01, rel=0.03)
    assert abs(float(stacked.mean())) < 5 * 0.01 / math.sqrt(stacked.numel())
    claim = result.claim
    assert claim.kind is ClaimKind.CERTIFIED
    assert claim.epsilon == pytest.approx(epsilon_of(mu_of(1.0, 1e-5) / 2, 1e-5), rel=1e-6)
    assert claim.budget_left == pytest.approx(1 - claim.epsilon)
    assert not result.degraded


def test_ten_deletions_use_the_budget_up(few: Records, head_model: Trained) -> None:
    owners, trained, records, spent = sorted(set(few.train.owners)), head_model, few, 0.0
    sizes = []
    for owner in owners[:3]:
        result = unlearn(trained, records, records.owned_by(owner), CertifiedHead(requests=3, spent=spent))
        trained, records, spent = result.trained, result.records, result.claim.epsilon
        sizes.append(len(trained.model.file))
    assert spent == pytest.approx(1.0, rel=1e-6)
    assert len(set(sizes)) == 1
    with pytest.raises(ExpungeError) as caught:
        unlearn(trained, records, records.owned_by(owners[3]), CertifiedHead(requests=3, spent=spent))
    assert caught.value.code == "budget-spent"
    assert unlearn(trained, records, records.owned_by(owners[3]), Retrain()).claim.kind is ClaimKind.EXACT


def test_an_epsilon_that_excludes_nothing_says_so(few: Records, head_model: Trained, forget: tuple[str, ...]) -> None:
    result = unlearn(head_model, few, forget, CertifiedHead(epsilon=1e9))
    assert result.degraded == (EXCLUDES_NOTHING,)
    assert not unlearn(head_model, few, forget, CertifiedHead(epsilon=10.0)).degraded


def test_the_wish_takes_the_way_of_fewest_passes(few: Records, head_model: Trained, forget: tuple[str, ...]) -> None:
    """From the present weights to the certificate, beside solving as far from nothing."""
    deletion = prepare(head_model, few, forget)
    assert isinstance(Certified().choose(deletion), CertifiedHead)
    done, left = Certified().run(deletion), few.without(forget).train
    head = Head(fixed_features(head_model.model.module(), left.features), left.targets, few.classes, 1e-3)
    anew = solve_head(head, gradient_norm=CertifiedHead().noise * CertifiedHead().privacy.share * 1e-3)
    assert done.cost.gradient_evaluations < 0.9 * anew.passes * len(left)
    assert done.cost.gradient_evaluations < unlearn(head_model, few, forget, Retrain()).cost.gradient_evaluations


def test_features_that_saw_the_records_are_refused(few: Records, head_model: Trained, forget: tuple[str, ...]) -> None:
    state = dict(head_model.model.constituents[0])
    state["0.phases"] = state["0.phases"] + few.train.features.mean()
    spoilt = replace(head_model, model=replace(head_model.model, constituents=(state,)))
    with pytest.raises(ExpungeError) as caught:
        unlearn(spoilt, few, forget, CertifiedHead())
    assert caught.value.code == "features-saw-data"


def test_whole_networks_and_unpenalised_heads_are_refused(
    few: Records, plain_model: Trained, forget: tuple[str, ...]
) -> None:
    with pytest.raises(ExpungeError) as caught:
        unlearn(plain_model, few, forget, CertifiedHead())
    assert caught.value.code == "method-unfit"
    assert "certifiable" in caught.value.hint


def test_too_few_passes_fall_back_and_then_refuse(few: Records, head_model: Trained, forget: tuple[str, ...]) -> None:
    with pytest.raises(ExpungeError) as caught:
        unlearn(head_model, few, forget, CertifiedHead(passes=3))
    assert caught.value.code == "residual-too-large"


@pytest.mark.parametrize("method", [NoisyFineTuning(epochs=4), OutputPerturbation(epochs=4)])
def test_noise_for_whole_networks(
    few: Records, plain_model: Trained, forget: tuple[str, ...], method: NoisyFineTuning | OutputPerturbation
) -> None:
    result = unlearn(plain_model, few, forget, method)
    assert (result.claim.kind, result.claim.delta) == (ClaimKind.CERTIFIED, 1e-5)
    assert result.claim.epsilon == pytest.approx(1.0, rel=1e-6)
    assert NOISE_OF_SYSTEM in result.claim.assumptions
    assert not result.degraded
    again = unlearn(plain_model, few, forget, method)
    assert again.trained.model.digest != result.trained.model.digest


def test_the_noisy_part_forgets_where_it_began(few: Records, plain_model: Trained, forget: tuple[str, ...]) -> None:
    """Two starts as far apart as the ball allows, the same noise: the means differ by less than mu noises."""
    method = NoisyFineTuning(epochs=0)
    state = plain_model.model.constituents[0]
    mirrored = {name: -value for name, value in state.items()}
    other = replace(plain_model, model=replace(plain_model.model, constituents=(mirrored,)))
    ends = [
        method.run(replace(prepare(each, few, forget), noise_key=KEY)).trained.model.constituents[0]
        for each in (plain_model, other)
    ]
    gap = torch.cat([(ends[0][name] - ends[1][name]).reshape(-1) for name in state]).norm()
    shrink = 1 - method.lr * method.decay
    spread = method.sigma * math.sqrt(sum(shrink ** (2 * step) for step in range(method.steps)))
    assert 0 < float(gap) / spread <= mu_of(1.0, 1e-5)


def test_the_ball_lies_around_the_fresh_network(few: Records, plain_model: Trained, forget: tuple[str, ...]) -> None:
    """With nothing of the model left and next to no noise, what comes out is the recipe's own beginning."""
    recipe, before = plain_model.model.recipe, plain_model.model.constituents[0]
    start = initialise(recipe.network, few.shape, few.classes, seed=recipe.seed, name="network").state_dict()
    for method in (
        NoisyFineTuning(radius=1e-9, clip=1e-11, epochs=0),
        OutputPerturbation(radius=1e-9, epochs=0),
    ):
        result = unlearn(plain_model, few, forget, method)
        assert any("around the fresh network" in assumption for assumption in result.claim.assumptions)
        for name, after in result.trained.model.constituents[0].items():
            torch.testing.assert_close(after, start[name], rtol=0, atol=1e-6)
            assert not torch.allclose(after, before[name], atol=1e-3)


def test_the_lowest_bits_do_not_tell_what_lies_under_the_noise() -> None:
    """Where noise nearly cancels a weight, a sum in single precision has only the coarse bits of both."""

    def coarse(released: torch.Tensor) -> float:
        small = released[(released.abs() < 2**-7)].double() * 2**28
        return float((small == small.round()).double().mean())

    for weight in (0.0, 0.4):
        point = torch.full((200_000,), weight)
        assert coarse(noised(point, 0.5, KEY, "bits")) < 0.2
    assert coarse(point + gaussian(point, 0.5, KEY, "bits")) > 0.9


def test_batch_statistics_are_refused(few: Records, forget: tuple[str, ...]) -> None:
    trained = train(Recipe(network=MLP((8,), batch_norm=True), epochs=1, batch_size=16), few)
    with pytest.raises(ExpungeError) as caught:
        unlearn(trained, few, forget, OutputPerturbation())
    assert caught.value.code == "method-unfit"


def test_the_ball_holds_at_every_step(few: Records) -> None:
    recipe = Recipe(network=MLP((8,)), epochs=2, batch_size=16, radius=1.5)
    seen: list[float] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(float(torch.cat([p.detach().reshape(-1) for p in self.parameters()]).norm()))
            return self.body(x)

    train(replace(recipe, network=InPython(Spy)), few)
    assert len(seen) > 20
    assert max(seen[1:]) <= 1.5
    assert max(seen[1:]) > 1.49


@pytest.mark.parametrize("solver", ["cg", "exact"])
def test_newton_lands_on_the_retained_optimum(few: Records, forget: tuple[str, ...], solver: str) -> None:
    trained = train(replace(CERTIFIABLE, network=RandomFeatures(20)), few)
    method = Newton(damping=0.0, solver=solver, noise=40.0, tolerance=1e-6)
    result = unlearn(trained, few, forget, method)
    assert result.claim.kind is ClaimKind.CERTIFIED
    bare = unlearn(trained, few, forget, replace(method, noise=0.0))
    assert bare.claim.kind is ClaimKind.EMPIRICAL
    retained = few.without(forget).train
    head = Head(fixed_features(trained.model.module(), retained.features), retained.targets, few.classes, 1e-3)
    optimum = solve_head(head, gradient_norm=1e-11).weights
    before, after = (read_head(each.model.constituents[0], "1") for each in (trained, bare.trained))
    assert (after - optimum).norm() <= 0.5 * (before - optimum).norm()
    assert (after - optimum).norm() <= head.distance_bound(after) + 1e-9


def test_newton_on_a_network_is_empirical_and_says_why(
    few: Records, plain_model: Trained, forget: tuple[str, ...]
) -> None:
    result = unlearn(plain_model, few, forget, Newton(damping=1.0))
    assert result.claim.kind is ClaimKind.EMPIRICAL
    assert any("2C" in reason for reason in result.claim.assumptions)
    assert result.claim.epsilon is None
    with pytest.raises(ExpungeError) as caught:
        unlearn(plain_model, few, forget, Newton(damping=0.0))
    assert caught.value.code == "indefinite-curvature"


def test_the_computed_bound_holds_in_a_hundred_strongly_convex_trials() -> None:
    """Softmax regression, random data, one Newton step: |w - w*| <= |grad| / l2, and the step beats doing nothing."""
    for trial in range(100):
        generator = torch.Generator().manual_seed(trial)
        features = torch.randn(120, 6, generator=generator, dtype=torch.float64)
        targets = torch.randint(3, (120,), generator=generator)
        l2 = 10 ** (-3 + 2 * torch.rand(1, generator=generator).item())
        full, kept = Head(features, targets, 3, l2), Head(features[6:], targets[6:], 3, l2)
        start = solve_head(full, gradient_norm=1e-6).weights
        step = solve_head(kept, start, gradient_norm=1e-7, steps=1).weights
        optimum = solve_head(kept, step, gradient_norm=1e-12).weights
        assert (step - optimum).norm() <= kept.distance_bound(step) + 1e-9
        assert (step - optimum).norm() <= 0.5 * (start - optimum).norm()
