"""Bounds against the runs that they bound, and what falls outside of them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from expunge.errors import ExpungeError
from expunge.networks import MLP, RandomFeatures
from expunge.noise import normal
from expunge.records import Records, load
from expunge.training import SGD, Constant, Recipe, train
from expunge.training.head import read_head
from expunge.unlearning import (
    ClaimKind,
    Langevin,
    RewindAndDescend,
    prepare,
    train_noisily,
    train_with_checkpoint,
    unlearn,
)
from expunge.unlearning.accounting import epsilon_of, mu_of

KEY = bytes(range(32))
DESCENT = Recipe(
    network=RandomFeatures(30),
    optimiser=SGD(lr=0.01, momentum=0.0, weight_decay=0.01),
    schedule=Constant(),
    epochs=120,
    batch_size=10_000,
)


def test_the_rewound_model_is_as_near_as_the_theorem_says(few: Records) -> None:
    forget = few.train.ids[:5]
    retrained = train(DESCENT, few.without(forget)).model
    gaps = []
    for rewound in (20, 60, 119):
        trained = train_with_checkpoint(DESCENT, few, rewound)
        method = RewindAndDescend(rewound=rewound)
        result = unlearn(trained, few, forget, method)
        ends = [read_head(each.constituents[0], "1") for each in (result.trained.model, retrained)]
        gaps.append(float((ends[0] - ends[1]).norm()))
        assert 0 < gaps[-1] <= method.bound(prepare(trained, few, forget)).distance
        assert result.claim.kind is ClaimKind.EMPIRICAL
        assert result.cost.gradient_evaluations == rewound * len(few.without(forget).train)
    assert gaps == sorted(gaps, reverse=True)


def test_enough_noise_makes_it_certified_and_a_network_never_is(few: Records) -> None:
    forget = few.train.ids[:5]
    trained = train_with_checkpoint(DESCENT, few, 60)
    method = RewindAndDescend(rewound=60)
    needed = method.bound(prepare(trained, few, forget)).distance / mu_of(1.0, 1e-5)
    result = unlearn(trained, few, forget, replace(method, noise=1.01 * needed))
    assert (result.claim.kind, result.claim.epsilon) == (ClaimKind.CERTIFIED, pytest.approx(1.0))
    assert unlearn(trained, few, forget, replace(method, noise=0.99 * needed)).claim.kind is ClaimKind.EMPIRICAL
    network = train_with_checkpoint(replace(DESCENT, network=MLP((8,)), epochs=20), few, 10)
    assert unlearn(network, few, forget, RewindAndDescend(10, noise=100.0)).claim.kind is ClaimKind.EMPIRICAL
    with pytest.raises(ExpungeError) as caught:
        unlearn(train(DESCENT, few), few, forget, method)
    assert caught.value.code == "method-unfit"


def test_another_number_of_steps_than_were_kept_is_refused(few: Records) -> None:
    """The bound counts the steps taken again: from an earlier checkpoint it would say too little."""
    trained = train_with_checkpoint(replace(DESCENT, epochs=20), few, 15)
    with pytest.raises(ExpungeError) as caught:
        unlearn(trained, few, few.train.ids[:5], RewindAndDescend(rewound=19, noise=1e6))
    assert caught.value.code == "method-unfit"


def test_a_preparation_that_moves_takes_the_theorem_away(tmp_path: Path) -> None:
    """Columns are standardised by the records that are left: without an outlier all features are others."""
    lines = [f"p{row},{row % 7},{1000 if row < 2 else row % 5},{'yes' if row % 2 else 'no'}" for row in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(["who,a,b,y", *lines]))
    table = load(tmp_path / "table.csv", target="y", owner="who")
    forget = table.owned_by("p0") if "p0" in table.train.owners else table.owned_by("p1")
    trained = train_with_checkpoint(replace(DESCENT, epochs=20), table, 10)
    result = unlearn(trained, table, forget, RewindAndDescend(rewound=10, noise=1e6))
    assert result.claim.kind is ClaimKind.EMPIRICAL
    assert "preparation" in result.claim.assumptions[0]


def test_noise_from_the_start_covers_a_few_records_and_no_more(few: Records) -> None:
    langevin = Langevin(covered=4, steps=20, lr=0.1)
    trained = train_noisily(DESCENT, few, langevin)
    ids = few.train.ids
    first = unlearn(trained, few, ids[:1], langevin)
    assert first.claim.epsilon == pytest.approx(epsilon_of(mu_of(1.0, 1e-5) / 4, 1e-5), rel=1e-6)
    second = unlearn(first.trained, first.records, ids[1:4], langevin)
    assert second.claim.epsilon == pytest.approx(1.0, rel=1e-6)
    with pytest.raises(ExpungeError) as caught:
        unlearn(second.trained, second.records, ids[4:5], langevin)
    assert caught.value.code == "budget-spent"
    with pytest.raises(ExpungeError) as caught:
        unlearn(train(DESCENT, few), few, ids[:1], langevin)
    assert caught.value.code == "method-unfit"


def test_one_noisy_step_moves_as_little_as_the_accountant_says(few: Records) -> None:
    """The same noise on both sides: what is left is the step's sensitivity."""
    langevin = Langevin(covered=6, steps=1, lr=0.3, clip=0.5)
    total = len(few.train)
    runs = [
        train_noisily(DESCENT, each, langevin, noise_key=KEY).model for each in (few, few.without(few.train.ids[:6]))
    ]
    noises = [langevin.sigma(total), langevin.sigma(total - 6)]
    points = [
        torch.cat([part.double().reshape(-1) for n, part in run.constituents[0].items() if n.startswith("1.")])
        for run in runs
    ]
    start = train_noisily(DESCENT, few, replace(langevin, lr=1e-12), noise_key=KEY).model.constituents[0]
    origin = torch.cat([part.double().reshape(-1) for name, part in start.items() if name.startswith("1.")])
    drawn = torch.from_numpy(normal(len(origin), KEY, "training/langevin/0"))
    moved = [point - origin - noise * drawn for point, noise in zip(points, noises, strict=True)]
    assert (moved[0] - moved[1]).norm() <= 2 * 0.3 * 0.5 * 6 / total + 1e-5
    assert math.isclose(noises[0] * mu_of(1.0, 1e-5), 2 * 0.3 * 0.5 * 6 / total, rel_tol=1e-9)
