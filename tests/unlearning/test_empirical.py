"""What empirical methods owe: second order that is second order, guards that guard, and none of the known defects."""

from dataclasses import replace

import pytest
import torch

from expunge.errors import ProgrammerError
from expunge.networks import MLP, layout
from expunge.records import Records
from expunge.training import SGD, Magnitude, Recipe, Trained, train
from expunge.training.pruning import sparsity_of
from expunge.unlearning import (
    AMUN,
    SCRUB,
    SSD,
    BadTeacher,
    BoundaryShrink,
    FineTune,
    FisherForgetting,
    GradientAscent,
    Influence,
    L1Sparse,
    Method,
    NegGradPlus,
    RandomLabels,
    SalUn,
    prepare,
    unlearn,
)
from expunge.unlearning.empirical import Ground, grounds
from expunge.unlearning.fisher import FisherForgetting as Fisher
from expunge.unlearning.influence import _difference, record_slopes, single_gradients, woodbury_inverse
from expunge.unlearning.random_labels import wrong_labels

RECIPE = Recipe(network=MLP((16,)), optimiser=SGD(lr=0.1), epochs=4, batch_size=16)
METHODS: tuple[Method, ...] = (
    FineTune(epochs=1),
    L1Sparse(epochs=1),
    GradientAscent(epochs=1, lr=1e-3),
    NegGradPlus(epochs=1),
    RandomLabels(rounds=1),
    SalUn(rounds=1),
    SCRUB(),
    BadTeacher(lr=3e-3, bad=0.1),
    BoundaryShrink(),
    AMUN(),
    SSD(alpha=3.0, lam=2.9),
    Influence(scale=1.0, records=100),
    Influence(scale=0.2, damping=0.1, solver="woodbury", rank=20),
    FisherForgetting(),
)


@pytest.fixture(scope="module")
def forget(few: Records) -> tuple[str, ...]:
    return few.owned_by(few.train.owners[0])


@pytest.fixture(scope="module")
def ground(plain_model: Trained, few: Records, forget: tuple[str, ...]) -> Ground:
    (found,) = grounds(prepare(plain_model, few, forget))
    assert isinstance(found, Ground)
    return found


@pytest.fixture(scope="module")
def sparse(few: Records) -> Trained:
    return train(replace(RECIPE, pruning=Magnitude(sparsity=0.9)), few)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.describe().name)
def test_a_pruned_network_stays_as_sparse(
    method: Method, sparse: Trained, few: Records, forget: tuple[str, ...]
) -> None:
    zeros = {name: value == 0 for name, value in (sparse.model.constituents[0] or {}).items() if value.dim() > 1}
    result = unlearn(sparse, few, forget, method)
    assert result.trained.model.digest != sparse.model.digest
    after = result.trained.model.constituents[0] or {}
    for name, zero in zeros.items():
        assert bool((after[name][zero] == 0).all()), name
    assert sparsity_of(result.trained.model.module()) >= sparsity_of(sparse.model.module()) - 1e-9


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.describe().name)
def test_in_a_sharded_model_only_the_shards_concerned_change(
    method: Method, sharded_model: Trained, few: Records, forget: tuple[str, ...]
) -> None:
    deletion = prepare(sharded_model, few, forget)
    touched = [isinstance(each, Ground) for each in grounds(deletion)]
    assert 0 < sum(touched) < len(touched)
    after = unlearn(sharded_model, few, forget, method).trained.model.constituents
    for was, now, seen in zip(sharded_model.model.constituents, after, touched, strict=True):
        same = all(torch.equal(value, (now or {})[name]) for name, value in (was or {}).items())
        assert same or seen


def test_the_recursion_is_the_explicit_inverse_and_not_a_scaled_gradient(ground: Ground) -> None:
    """Defects 1 and 2 of the published code: one recycled vector, and a cap at 1,000 gradients."""
    rows = single_gradients(ground, ground.retained.on(torch.arange(60))).double()
    rhs = torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    matrix = rows.T @ rows / len(rows) + 1e-2 * torch.eye(rows.shape[1], dtype=torch.float64)
    found, exact = woodbury_inverse(rows, 1e-2, rhs), torch.linalg.solve(matrix, rhs)
    assert float((found - exact).norm() / exact.norm()) < 1e-4
    first = woodbury_inverse(rows, 1e-2, rows[0])
    assert abs(float(torch.nn.functional.cosine_similarity(first, rows[0], dim=0))) < 0.99


def test_single_gradients_meet_the_loop(ground: Ground) -> None:
    module = ground.module()
    part = ground.retained.on(torch.arange(5))
    rows = single_gradients(ground, part)
    for number in range(5):
        loss = ground.recipe.loss.mean(module(part.features[number : number + 1]), part.targets[number : number + 1])
        slopes = torch.autograd.grad(loss, list(module.parameters()))
        torch.testing.assert_close(rows[number], torch.cat([slope.reshape(-1) for slope in slopes]))


def test_slopes_along_a_direction_are_gradients_times_it(ground: Ground) -> None:
    part = ground.retained.on(torch.arange(7))
    rows = single_gradients(ground, part)
    direction = torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(2))
    found = record_slopes(ground.module(), part.features, part.targets, ground.recipe.loss, direction)
    torch.testing.assert_close(found, rows @ direction, rtol=1e-4, atol=1e-5)


def test_the_difference_has_the_weights_of_the_definition(ground: Ground) -> None:
    gone, left = (single_gradients(ground, part) for part in (ground.forgotten, ground.retained))
    count, own = len(gone) + len(left), len(gone)
    expected = gone.sum(0) / count - own / (count * len(left)) * left.sum(0)
    torch.testing.assert_close(_difference(ground), expected, rtol=1e-4, atol=1e-7)


def test_the_sign_is_plus(few: Records) -> None:
    """On a convex problem the step leads towards the retrained model, and its opposite away from it."""
    recipe = Recipe(network=MLP(()), optimiser=SGD(lr=0.5, weight_decay=1e-2), epochs=200, batch_size=10_000)
    trained = train(recipe, few)
    forget = few.train.ids[:10]
    target = train(recipe, few.without(forget)).model
    plan = layout(target.module())

    def distance(scale: float) -> float:
        moved = unlearn(trained, few, forget, Influence(scale=1.0, products=60)).trained.model.constituents[0] or {}
        start = plan.flatten(trained.model.constituents[0] or {})
        at = start + scale * (plan.flatten(moved) - start)
        goal = plan.flatten(target.constituents[0] or {})
        return float((at - goal).norm() / (start - goal).norm())

    assert distance(1.0) <= 0.35
    assert distance(-1.0) >= 1.3


def test_fisher_noise_wipes_a_class_only_where_the_whole_class_leaves(
    plain_model: Trained, few: Records, forget: tuple[str, ...]
) -> None:
    """Defect 5 of the published code: requests of a certain size, or without a class, wiped a row."""
    method = Fisher(alpha=1e-12)
    last = "3.weight"
    before = (plain_model.model.constituents[0] or {})[last]
    some = unlearn(plain_model, few, forget, method).trained.model.constituents[0] or {}
    assert float((some[last] - before).abs().max()) < 1e-3
    of_class = tuple(i for i, t in zip(few.train.ids, few.train.targets.tolist(), strict=True) if t == 3)
    deletion = prepare(plain_model, few, of_class)
    (found,) = grounds(deletion)
    assert isinstance(found, Ground)
    (state,) = method._states(found)
    assert float(state[last][3].abs().max()) < 0.06
    rest = [label for label in range(10) if label != 3]
    assert float((state[last][rest] - before[rest]).abs().max()) < 1e-3


def test_wrong_labels_are_wrong_and_of_classes_that_are_left(ground: Ground) -> None:
    drawn = torch.stack([wrong_labels(ground, f"labels/{number}") for number in range(40)])
    assert not bool((drawn == ground.forgotten.targets).any())
    assert set(drawn.unique().tolist()) <= set(ground.retained.targets.unique().tolist())
    assert len(drawn[:, 0].unique()) > 5


def test_ascent_that_destroys_is_rolled_back_and_said(
    plain_model: Trained, few: Records, forget: tuple[str, ...]
) -> None:
    gentle = unlearn(plain_model, few, forget, GradientAscent(epochs=2, lr=1e-5))
    assert not gentle.degraded
    wild = unlearn(plain_model, few, forget, GradientAscent(epochs=20, lr=1.0))
    assert "Collapse" in wild.degraded[0]
    right = (wild.trained.model.predict(few.train.features) == few.train.targets).float().mean()
    before = (plain_model.model.predict(few.train.features) == few.train.targets).float().mean()
    assert float(before - right) < 0.12


def test_methods_for_classes_refuse_numbers(few: Records) -> None:
    numbers = replace(few, targets=few.targets.float(), classes=0)
    from expunge.training import SquaredError

    trained = train(replace(RECIPE, loss=SquaredError(), optimiser=SGD(lr=1e-3)), numbers)
    forget = numbers.owned_by(numbers.train.owners[0])
    for method in (RandomLabels(), SalUn(), SCRUB(), BadTeacher(), BoundaryShrink(), AMUN(), FisherForgetting()):
        with pytest.raises(ProgrammerError) as caught:
            unlearn(trained, numbers, forget, method)
        assert caught.value.code == "method-unfit"
    for fit in (L1Sparse(epochs=1), SSD(8.0, 7.0), Influence(records=100), NegGradPlus(epochs=1)):
        assert unlearn(trained, numbers, forget, fit).claim.kind == "empirical"


def test_hyper_parameters_that_make_no_sense_are_refused() -> None:
    for make in (
        lambda: L1Sparse(gamma=-1.0),
        lambda: GradientAscent(lr=0.0),
        lambda: NegGradPlus(alpha=2.0),
        lambda: SalUn(share=0.0),
        lambda: SCRUB(rounds=1, ascents=2),
        lambda: SSD(alpha=-1.0),
        lambda: Influence(damping=0.0),
        lambda: FisherForgetting(alpha=float("nan")),
    ):
        with pytest.raises(ProgrammerError) as caught:
            make()
        assert caught.value.code == "bad-hyperparameter"
