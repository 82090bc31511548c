"""What every method must do, whatever it is. A new method adds one line to METHODS."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from expunge.errors import ExpungeError
from expunge.networks import RandomFeatures
from expunge.plain import decode, encode
from expunge.records import Records
from expunge.training import LeastSquares, Model, Recipe, Trained, train
from expunge.unlearning import (
    AMUN,
    SCRUB,
    SSD,
    BadTeacher,
    BoundaryShrink,
    ClaimKind,
    Deletion,
    Downdate,
    FineTune,
    FisherForgetting,
    GradientAscent,
    Influence,
    L1Sparse,
    Method,
    NegGradPlus,
    NoisyFineTuning,
    OutputPerturbation,
    RandomLabels,
    Repair,
    Retrain,
    SalUn,
    Sharded,
    Unlearned,
    prepare,
    unlearn,
)
from expunge.unlearning.repair import OTHER_RECIPE

SEED = 3
KEY = bytes(range(32))  # noise that a guarantee rests on comes from no seed
METHODS = [
    Retrain(),
    Sharded(),
    Downdate(),
    FineTune(epochs=1),
    NoisyFineTuning(epochs=4),
    OutputPerturbation(epochs=4),
    L1Sparse(epochs=1),
    GradientAscent(epochs=1, lr=1e-3),
    NegGradPlus(epochs=1),
    RandomLabels(rounds=1),
    SalUn(rounds=1),
    SCRUB(),
    BadTeacher(lr=3e-3, bad=0.1),
    BoundaryShrink(),
    AMUN(),
    SSD(alpha=8.0, lam=7.0),
    Influence(records=100),
    Influence(solver="woodbury", rank=40, scale=0.2, damping=0.1),
    FisherForgetting(),
    Repair(copies=1, work=2),
]
# Repair is exact for a pipeline of its own: tests/unlearning/test_repair.py.
EXACT = [each for each in METHODS if each.describe().kind is ClaimKind.EXACT and not isinstance(each, Repair)]
names = [method.describe().name for method in METHODS]


def carried_out(method: Method, trained: Trained, few: Records, forget: tuple[str, ...]) -> Unlearned:
    return method.run(replace(prepare(trained, few, forget, seed=SEED), noise_key=KEY))


def fitting(method: Method, plain: Trained, sharded: Trained, few: Records) -> Trained:
    if isinstance(method, Downdate):
        return train(Recipe(network=RandomFeatures(30), optimiser=LeastSquares(), epochs=1), few)
    return sharded if isinstance(method, Sharded) else plain


@pytest.fixture(scope="module", params=METHODS, ids=names)
def method(request: pytest.FixtureRequest) -> Method:
    return request.param


@pytest.fixture(scope="module")
def trained(method: Method, plain_model: Trained, sharded_model: Trained, few: Records) -> Trained:
    return fitting(method, plain_model, sharded_model, few)


@pytest.fixture(scope="module")
def forget(few: Records) -> tuple[str, ...]:
    return few.owned_by(few.train.owners[0])


@pytest.fixture(scope="module")
def result(method: Method, trained: Trained, few: Records, forget: tuple[str, ...]) -> Unlearned:
    return carried_out(method, trained, few, forget)


def test_same_seed_same_bytes(
    method: Method, trained: Trained, few: Records, forget: tuple[str, ...], result: Unlearned
):
    assert carried_out(method, trained, few, forget).trained.model.digest == result.trained.model.digest


def test_nothing_given_is_changed(method: Method, trained: Trained, few: Records, forget: tuple[str, ...]):
    before = trained.model.digest, few.features.clone(), dict(trained.log.checkpoints)
    unlearn(trained, few, forget, method)
    after = Model(trained.model.recipe, trained.model.shape, trained.model.classes, trained.model.constituents)
    assert after.digest == before[0]
    assert few.features.equal(before[1])
    assert trained.log.checkpoints == before[2]


def test_model_changes_and_still_predicts(trained: Trained, few: Records, result: Unlearned):
    model = result.trained.model
    assert model.digest != trained.model.digest
    accuracy = (model.predict(few.test.features) == few.test.targets).float().mean()
    before = (trained.model.predict(few.test.features) == few.test.targets).float().mean()
    assert accuracy > before - 0.15


def test_the_record_of_the_run_is_complete(method: Method, result: Unlearned):
    assert result.claim.kind is method.describe().kind
    assert result.claim.reference
    assert result.cost.gradient_evaluations > 0
    assert result.cost.seconds > 0
    assert result.seed == SEED
    assert list(result.degraded) == ([OTHER_RECIPE] if isinstance(method, Repair) else [])
    assert result.trained.log.model == result.trained.model.digest


def test_plan_forecasts_the_cost(
    method: Method, trained: Trained, few: Records, forget: tuple[str, ...], result: Unlearned
):
    forecast = method.plan(prepare(trained, few, forget))
    if any(note.startswith("At most") for note in forecast.notes):
        assert forecast.gradient_evaluations >= result.cost.gradient_evaluations
    else:
        assert forecast.gradient_evaluations == result.cost.gradient_evaluations
    assert forecast.retraining_evaluations == result.retraining_evaluations


def test_no_checkpoint_left_has_seen_a_forgotten_record(
    trained: Trained, few: Records, forget: tuple[str, ...], result: Unlearned
):
    """Every checkpoint that the new model carries equals the one of training from scratch on the retained records."""
    scratch = train(trained.model.recipe, few.without(forget))
    for name, digest in result.trained.log.checkpoints.items():
        assert digest == scratch.log.checkpoints[name], name


def test_two_requests_in_a_row(method: Method, few: Records, forget: tuple[str, ...], result: Unlearned):
    left = few.without(forget)
    second = left.owned_by(left.train.owners[0])
    again = unlearn(result.trained, left, second, method)
    if method in EXACT:
        assert again.trained.model.digest == train(again.trained.model.recipe, left.without(second)).model.digest
    assert again.trained.model.digest != result.trained.model.digest


def test_order_of_the_ids_does_not_matter(
    method: Method, trained: Trained, few: Records, forget: tuple[str, ...], result: Unlearned
):
    assert carried_out(method, trained, few, forget[::-1]).trained.model.digest == result.trained.model.digest


def test_hyper_parameters_are_frozen_and_recorded(method: Method, result: Unlearned):
    assert decode(result.method, [type(method)]) == method
    assert encode(method) == result.method
    for field in fields(method):
        with pytest.raises(FrozenInstanceError):
            setattr(method, field.name, None)


@pytest.mark.parametrize(
    ("ids", "code"), [(("no-such-record",), "unknown-record"), ((), "nothing-to-delete"), (None, "delete-everything")]
)
def test_bad_requests_are_refused(
    method: Method, trained: Trained, few: Records, ids: tuple[str, ...] | None, code: str
):
    with pytest.raises(ExpungeError) as caught:
        unlearn(trained, few, few.ids if ids is None else ids, method)
    assert caught.value.code == code


def test_only_exact_methods_give_the_bytes_of_training_from_scratch(
    method: Method, trained: Trained, few: Records, forget: tuple[str, ...], result: Unlearned
):
    scratch = train(trained.model.recipe, few.without(forget))
    assert (result.trained.model.file == scratch.model.file) == (method in EXACT)


def test_deletion_is_one_immutable_record(trained: Trained, few: Records, forget: tuple[str, ...]):
    deletion = prepare(trained, few, forget)
    assert isinstance(deletion, Deletion)
    assert len(deletion.retained) + len(forget) == len(few)
    with pytest.raises(FrozenInstanceError):
        deletion.seed = 4  # type: ignore[misc]


def test_recipe_of_the_new_model_is_the_old_one(trained: Trained, result: Unlearned):
    recipe: Recipe = result.trained.model.recipe
    assert recipe == trained.model.recipe
