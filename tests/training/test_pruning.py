"""Masks that stay put, each rule of pruning against its formula, and sparse models as files."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.errors import ExpungeError
from expunge.networks import CNN, MLP, initialise, state_of
from expunge.records import Records
from expunge.training import (
    L1,
    SGD,
    SNIP,
    Adam,
    Constant,
    GraSP,
    Iterative,
    Magnitude,
    Model,
    RandomPruning,
    Recipe,
    Sharding,
    SynFlow,
    courses,
    evaluations,
    train,
)
from expunge.training.checkpoints import MemoryCheckpoints
from expunge.training.courses import Stage
from expunge.training.engine import run_stage
from expunge.training.pruning import highest, masks, prunable, sparsity_of
from expunge.training.pruning.carry_out import sparse_start
from expunge.training.pruning.scores import balanced, grasp, snip, synflow
from expunge.unlearning import FineTune, Retrain, Sharded, prepare, unlearn

KINDS = [Magnitude(0.9, rewind=1), Iterative(3), SynFlow(0.9), SNIP(0.9), GraSP(0.9), RandomPruning(0.9)]
IDS = [type(kind).__name__ for kind in KINDS]
RECIPE = Recipe(MLP((16,)), SGD(lr=0.1), epochs=4, batch_size=16)


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_sparsity_is_exact_and_the_cost_is_counted(kind, few: Records):
    trained = train(replace(RECIPE, pruning=kind), few)
    assert sparsity_of(trained.model.module()) == pytest.approx(1 - kind.densities()[-1], abs=1e-3)
    assert trained.cost.gradient_evaluations == evaluations(trained.model.recipe, courses(RECIPE, few.train))


def test_progress_ends_where_the_forecast_said(few: Records):
    for kind in KINDS:
        done = []
        recipe = replace(RECIPE, pruning=kind)
        module = initialise(recipe.network, few.shape, few.classes, seed=0, name="network")
        (course,) = courses(recipe, few.train)
        (stage,) = course.stages
        part = few.train
        start = sparse_start(module, recipe, stage, 0, part.features, part.targets, done.append)
        run_stage(module, recipe, stage, 0, part.features, part.targets, snapshot=start, stepped=done.append)
        assert sum(done) == evaluations(recipe, [course]), type(kind).__name__


@pytest.mark.parametrize("optimiser", [SGD(0.05, 0.9, 5e-2), Adam(1e-2, 5e-2)], ids=["momentum", "adam"])
def test_zeros_stay_zero_after_a_hundred_steps(optimiser, few: Records):
    """With momentum and weight decay, from a snapshot whose momentum is dense."""
    recipe = replace(RECIPE, optimiser=optimiser, pruning=Magnitude(0.9, rewind=1), penalty=L1(1e-3))
    module = initialise(recipe.network, few.shape, few.classes, seed=0, name="network")
    part = few.train
    stage = Stage("train", tuple(range(len(part))), 100 * 16 / len(part))
    start = sparse_start(module, recipe, stage, 0, part.features, part.targets)
    before = {name: value != 0 for name, value in start.state.items()}
    assert any(bool((value != 0).all()) for value in start.optimiser.values() if value.dim() == 2)  # dense momentum
    run_stage(module, recipe, stage, 0, part.features, part.targets, snapshot=start)
    for name in prunable(module):
        assert module.state_dict()[name].ne(0).equal(before[name])


def test_without_masking_the_momentum_would_move_them(few: Records):
    """The trap of the public code (Unlearn-Saliency, issue 32): masking the gradient alone is not enough there."""
    weight = nn.Parameter(torch.tensor([0.0, 1.0]))
    optimiser = torch.optim.SGD([weight], 0.1, momentum=0.9)
    optimiser.state[weight]["momentum_buffer"] = torch.ones(2)
    weight.grad = torch.zeros(2)
    optimiser.step()
    assert weight[0] != 0


def test_one_shot_is_train_rank_go_back_and_train(few: Records):
    """A naive reference: full dense training, the same bytes at the rewound step, the rest of the same batches."""
    recipe, part = replace(RECIPE, pruning=Magnitude(0.8, rewind=1)), few.train
    dense = replace(recipe, pruning=None)
    module = initialise(recipe.network, few.shape, few.classes, seed=0, name="network")
    (course,) = courses(recipe, part)
    kept = {}
    run_stage(
        module,
        dense,
        course.stages[0],
        0,
        part.features,
        part.targets,
        every=1,
        keep=lambda snapshot: kept.setdefault(snapshot.step, snapshot),
    )
    weights = torch.cat([weight.detach().abs().reshape(-1) for weight in prunable(module).values()])
    cut = weights.sort().values[round(0.8 * len(weights)) - 1]
    back = kept[-(-len(part) // 16)]
    mask = {name: weight.detach().abs() > cut for name, weight in prunable(module).items()}
    module.load_state_dict({n: v * mask[n] if n in mask else v for n, v in back.state.items()})
    momentum = {number: back.optimiser[f"{number}/momentum_buffer"] for number in range(4)}
    optimiser = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    names = [name for name, _ in module.named_parameters()]
    for number, parameter in enumerate(module.parameters()):
        optimiser.state[parameter]["momentum_buffer"] = momentum[number]
    from expunge.training import BatchStream

    stage, steps = course.stages[0], course.stages[0].steps(16)
    stream = BatchStream(stage, 16, 0)
    for step in range(back.step, steps):
        for group in optimiser.param_groups:
            group["lr"] = 0.1 * recipe.schedule.factor(step, steps)
        optimiser.zero_grad()
        rows = stream[step]
        nn.functional.cross_entropy(module(part.features[rows]), part.targets[rows]).backward()
        optimiser.step()
        with torch.no_grad():
            for name, parameter in zip(names, module.parameters(), strict=True):
                if name in mask:
                    parameter.mul_(mask[name])
    found = train(recipe, few).model.constituents[0]
    for name, value in module.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def test_lottery_tickets_have_density_08_to_the_k(few: Records):
    for rounds in (1, 4):
        trained = train(replace(RECIPE, epochs=1, pruning=Iterative(rounds, rewind=0)), few)
        assert 1 - sparsity_of(trained.model.module()) == pytest.approx(0.8**rounds, abs=1e-3)


def test_synflow_reads_no_record_and_leaves_no_layer_dead(few: Records):
    recipe = replace(RECIPE, network=CNN((8, 16), 32), pruning=SynFlow(0.95))
    other = replace(few, features=torch.rand(few.features.shape), targets=few.targets.flip(0))
    found = []
    for records in (few, other):
        module = initialise(recipe.network, few.shape, few.classes, seed=0, name="network")
        stage = Stage("train", tuple(range(len(records.train))), 1)
        start = sparse_start(module, recipe, stage, 0, records.train.features, records.train.targets)
        module.load_state_dict(start.state)
        found.append(masks(module))
    assert sparsity_of(module) == pytest.approx(0.95, abs=1e-3)
    for name, mask in found[0].items():
        assert mask.any(), name
        assert mask.equal(found[1][name])


def test_one_round_of_synflow_is_its_formula():
    """For a network w2 relu(w1 x) the score of a weight is the sum of |paths| through it."""
    module = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    first, last = module[0].weight.detach().abs().double(), module[2].weight.detach().abs().double()
    scores = {"0.weight": first * last.sum(0)[:, None], "2.weight": last * first.sum(1)[None, :]}
    found = synflow(module, (3,), (0.4,))
    for name, mask in highest(scores, 0.4).items():
        assert mask.equal(found[name])


def test_snip_has_the_weight_factor(few: Records):
    """Against the change of the loss when one weight is set to zero; the public code ranks by |dL/dw| alone."""
    module = initialise(MLP((6,)), few.shape, few.classes, seed=1, name="network").double()
    features, targets = few.train.features[:64].double(), few.train.targets[:64]

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(module(features), targets)

    scores = snip(module, loss())
    weight = prunable(module)["3.weight"]
    base, step = float(loss().detach()), 1e-4
    for place in [(0, 0), (3, 2), (9, 5)]:
        value = float(weight[place].detach())
        with torch.no_grad():
            weight[place] = value * (1 - step)
        slope = abs(float(loss().detach()) - base) / step
        assert slope == pytest.approx(float(scores["3.weight"][place]), rel=1e-2, abs=1e-7)
        with torch.no_grad():
            weight[place] = value
    slopes = torch.autograd.grad(loss(), [weight])[0].abs()
    assert not highest({"3": slopes}, 0.3)["3"].equal(highest({"3": scores["3.weight"]}, 0.3)["3"])


def test_grasp_is_weight_times_hessian_times_gradient(few: Records):
    module = initialise(MLP((5,)), few.shape, few.classes, seed=1, name="network").double()
    features, targets = few.train.features[:64].double(), few.train.targets[:64]

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(module(features), targets)

    scores, weights = grasp(module, loss()), list(prunable(module).values())
    slopes = [slope.clone() for slope in torch.autograd.grad(loss(), weights)]
    step = 1e-5
    with torch.no_grad():
        for weight, slope in zip(weights, slopes, strict=True):
            weight.add_(slope, alpha=step)
    moved = torch.autograd.grad(loss(), weights)
    with torch.no_grad():
        for weight, slope in zip(weights, slopes, strict=True):
            weight.sub_(slope, alpha=step)
    for name, weight, before, after in zip(scores, weights, slopes, moved, strict=True):
        expected = weight.detach() * (after - before) / step
        torch.testing.assert_close(scores[name], expected, rtol=1e-3, atol=1e-6)


def test_a_balanced_batch_takes_the_classes_in_turn():
    targets = torch.tensor([0] * 50 + [1] * 3 + [2] * 2)
    rows = balanced(targets, 9, 0, "batch")
    assert targets[rows].bincount().tolist() == [4, 3, 2]
    assert len(balanced(torch.rand(7), 4, 0, "batch")) == 4


@pytest.mark.parametrize("kind", [Magnitude(0.8, rewind=1), SNIP(0.8)], ids=["magnitude", "snip"])
def test_a_kill_in_the_sparse_part_carries_on(kind, few: Records):
    recipe = replace(RECIPE, pruning=kind)
    store = MemoryCheckpoints(every=7)
    whole = train(recipe, few, checkpoints=store)

    class Killed(MemoryCheckpoints):
        def save_snapshot(self, name, snapshot):
            super().save_snapshot(name, snapshot)
            raise KeyboardInterrupt

    broken = Killed(every=7)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, few, checkpoints=broken)
    again = MemoryCheckpoints(every=7, snapshots=broken.snapshots)
    assert train(recipe, few, checkpoints=again).model.file == whole.model.file


def test_sharded_sparse_models_are_exact(few: Records):
    recipe = replace(RECIPE, epochs=2, sharding=Sharding(3, 2), pruning=Magnitude(0.8, rewind=1))
    trained = train(recipe, few)
    for state in trained.model.constituents:
        assert state is None or sparsity_of(trained.model.module(state)) == pytest.approx(0.8, abs=1e-3)
    forget = few.owned_by(few.train.owners[0])
    deletion = prepare(trained, few, forget)
    after = Sharded().run(deletion)
    assert after.trained.model.file == Retrain().run(deletion).trained.model.file
    assert after.cost.gradient_evaluations == Sharded().plan(deletion).gradient_evaluations
    assert deletion.retraining_evaluations == train(recipe, few.without(forget)).cost.gradient_evaluations


def test_what_unlearns_leaves_the_mask_and_says_who_chose_it(few: Records):
    forget = few.owned_by(few.train.owners[0])
    for kind, words in ((Magnitude(0.9, rewind=1), 1), (SynFlow(0.9), 0)):
        trained = train(replace(RECIPE, pruning=kind), few)
        after = unlearn(trained, few, forget, FineTune(epochs=1))
        for name, mask in masks(trained.model.module()).items():
            assert masks(after.trained.model.module())[name].equal(mask)
        assert len(after.degraded) == words
        assert not unlearn(trained, few, forget, Retrain()).degraded


@pytest.mark.parametrize("sparsity", [0.9, 0.95])
def test_sparse_models_are_saved_small(sparsity: float, few: Records):
    recipe = replace(RECIPE, network=MLP((256,)), epochs=1)
    dense = train(recipe, few).model
    sparse = train(replace(recipe, pruning=Magnitude(sparsity, rewind=0)), few).model
    assert len(sparse.file) < (1 - sparsity + 1 / 32 + 0.05) * len(dense.file)
    back = Model.from_file(sparse.recipe, sparse.file)
    assert back.digest == sparse.digest
    assert back.logits(few.features).equal(sparse.logits(few.features))


def test_a_packed_file_that_contradicts_itself_is_refused(few: Records):
    from safetensors.torch import load, save

    from expunge.ledger.safetensors_check import check

    model = train(replace(RECIPE, epochs=1, pruning=RandomPruning(0.9)), few).model
    header, tensors = check(model.file).metadata, load(model.file)
    for name, wrong in (("0/1.weight#values", torch.zeros(3)), ("0/1.weight#bits", torch.zeros(2, dtype=torch.uint8))):
        with pytest.raises(ExpungeError) as caught:
            Model.from_file(model.recipe, save({**tensors, name: wrong}, header))
        assert caught.value.code == "malformed-model"


def test_a_sparse_recipe_survives_its_plain_form():
    for kind in KINDS:
        recipe = replace(RECIPE, pruning=kind, penalty=L1(1e-4, "constant", 0.2))
        assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Magnitude(1.0),
        lambda: Magnitude(0.5, rewind=-1),
        lambda: Iterative(0),
        lambda: SynFlow(0.9, 0),
        lambda: SNIP(0.9, 0),
        lambda: GraSP(0.9, temperature=0),
        lambda: RandomPruning(0.0),
        lambda: L1(-1.0),
    ],
)
def test_senseless_values_are_refused(wrong):
    with pytest.raises(ExpungeError) as caught:
        wrong()
    assert caught.value.code == "bad-hyperparameter"


def test_an_l1_penalty_is_the_slope_that_autograd_gives(few: Records):
    recipe = replace(RECIPE, schedule=Constant(), penalty=L1(1e-2, "decreasing", 0.25))
    trained = train(recipe, few).model.constituents[0]
    module = initialise(recipe.network, few.shape, few.classes, seed=0, name="network")
    optimiser = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    from expunge.training import BatchStream

    part = few.train
    stage = Stage("train", tuple(range(len(part))), 4)
    stream, steps = BatchStream(stage, 16, 0), stage.steps(16)
    for step in range(steps):
        optimiser.zero_grad()
        rows = stream[step]
        gamma = max(0.0, 1e-2 * (1 - step / (0.75 * steps)))
        size = sum(parameter.abs().sum() for parameter in module.parameters())
        (nn.functional.cross_entropy(module(part.features[rows]), part.targets[rows]) + gamma * size).backward()
        optimiser.step()
    for name, value in state_of(module).items():
        torch.testing.assert_close(trained[name], value, rtol=1e-3, atol=1e-4)
