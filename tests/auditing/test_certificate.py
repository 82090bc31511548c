"""The game against closed forms, honest claims and broken ones; the poison against models that saw it and did not."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.auditing import GaussianPoisoning, epsilon_lower_bound, play
from expunge.errors import ExpungeError
from expunge.networks import MLP, RandomFeatures
from expunge.records import Records
from expunge.training import SGD, HeadSolver, Recipe, train
from expunge.training.head import Head, solve_head
from expunge.unlearning import CertifiedHead
from expunge.unlearning.accounting import epsilon_of


def test_an_honest_gaussian_is_never_refuted_and_a_broken_one_is() -> None:
    generator = np.random.default_rng(0)
    refuted = 0
    for _ in range(60):
        scores, others = generator.normal(0.268, 1, 500), generator.normal(0, 1, 500)
        refuted += epsilon_lower_bound(scores, others, 1e-5).refutes(1.0)
    assert refuted <= 3
    broken = epsilon_lower_bound(generator.normal(2.68, 1, 1000), generator.normal(0, 1, 1000), 1e-5)
    assert 1.0 < broken.epsilon < epsilon_of(2.68, 1e-5)


def test_the_bound_covers_as_often_as_it_says() -> None:
    """Randomised response at a known epsilon: the bound is above the truth in at most five of a hundred games."""
    truth, generator, above = 1.0, np.random.default_rng(1), 0
    right = math.exp(truth) / (1 + math.exp(truth))
    for _ in range(300):
        scores = (generator.random(600) < right).astype(float) + 1e-9 * generator.normal(size=600)
        others = (generator.random(600) < 1 - right).astype(float) + 1e-9 * generator.normal(size=600)
        above += epsilon_lower_bound(scores, others, 0.0).epsilon > truth
    assert above <= 15 + 3 * math.sqrt(300 * 0.05 * 0.95)


@pytest.mark.parametrize(("shrink", "refuted"), [(1, False), (10, True)])
def test_the_heads_certificate_survives_the_game_and_a_broken_one_does_not(shrink: int, refuted: bool) -> None:
    """The worst residual that the certificate allows, on a small convex problem, 600 pairs."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(80, 3, generator=generator, dtype=torch.float64)
    head = Head(features, torch.randint(2, (80,), generator=generator), 2, 0.01)
    optimum = solve_head(head, gradient_norm=1e-12).weights
    method = CertifiedHead(requests=1, noise=0.05)
    direction = torch.linalg.eigh(features.T @ features)[1][:, :1] @ torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    moved = optimum + direction / direction.norm() * method.noise * method.privacy.share
    assert (moved - optimum).norm() <= head.distance_bound(moved) + 1e-12

    def publish(at: torch.Tensor, seed: int) -> np.ndarray:
        noise = torch.randn(at.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return (at + method.noise / shrink * noise).reshape(-1).numpy()

    shown = play(lambda seed: publish(moved, seed), lambda seed: publish(optimum, seed), 600, method.delta)
    assert shown.refutes(method.epsilon) is refuted


def test_too_few_runs_are_refused() -> None:
    with pytest.raises(ExpungeError):
        epsilon_lower_bound(np.zeros(10), np.zeros(10), 1e-5)


def test_poison_is_found_where_it_was_learnt_and_nowhere_else(records: Records) -> None:
    audit = GaussianPoisoning()
    ids = records.train.ids[:120]
    marked = audit.mark(records, ids, seed=5)
    recipe = Recipe(network=MLP((64,)), optimiser=SGD(lr=0.1), epochs=30)
    saw, never = train(recipe, marked.records).model, train(recipe, records.without(ids)).model
    assert audit.score(saw, marked).z < -3
    assert audit.score(never, marked).consistent_with_removal
    nulls = [audit.score(never, audit.mark(records, ids, seed=100 + seed)).z for seed in range(200)]
    assert abs(float(np.mean(nulls))) < 3 / math.sqrt(200)
    assert float(np.std(nulls)) == pytest.approx(1.0, abs=0.16)


def test_the_certified_head_passes_the_poison_test(records: Records) -> None:
    from expunge.unlearning import unlearn

    audit, ids = GaussianPoisoning(), records.train.ids[:120]
    marked = audit.mark(records, ids, seed=6)
    recipe = Recipe(network=RandomFeatures(400), optimiser=HeadSolver(l2=1e-4), epochs=200)
    before = train(recipe, marked.records)
    after = unlearn(before, marked.records, ids, replace(CertifiedHead(), noise=0.02))
    assert audit.score(after.trained.model, marked).consistent_with_removal
    assert audit.score(before.model, marked).z < audit.score(after.trained.model, marked).z
