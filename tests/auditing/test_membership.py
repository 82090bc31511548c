import math
from dataclasses import replace

import numpy as np
import pytest
from scenes import Scene
from scipy.stats import norm

from expunge.auditing import RMIA, LiRA, ULiRA, audit
from expunge.auditing.intervals import auc
from expunge.auditing.lira import likelihood_ratio
from expunge.auditing.outputs import outputs
from expunge.auditing.shadows import Shadows, joined, shadows
from expunge.errors import ProgrammerError
from expunge.records import TRAIN
from expunge.training import train
from expunge.unlearning import FineTune, Retrain, unlearn


def toy(seed: int, shadows: int = 12, targets: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    half = np.arange(shadows) < shadows // 2
    included = np.stack([rng.permutation(half) for _ in range(targets)], axis=1)
    return rng.normal(0, 2, targets), rng.normal(0, 2, (shadows, targets)), included


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("form", ["online", "offline"])
def test_lira_against_a_loop_over_records(form: str, pooled: bool):
    asked, observed, included = toy(1)
    count = observed.shape[1]
    groups = [[[float(observed[s, x]) for s in range(12) if included[s, x] == flag] for x in range(count)]
              for flag in (True, False)]  # fmt: skip
    means = [[sum(each) / len(each) for each in group] for group in groups]
    variances = [
        [sum((v - m) ** 2 for v in each) / (len(each) - 1) for each, m in zip(group, middle, strict=True)]
        for group, middle in zip(groups, means, strict=True)
    ]
    if pooled:
        variances = [[sum(group) / count] * count for group in variances]
    naive = []
    for x in range(count):
        inside, outside = (norm(means[g][x], math.sqrt(variances[g][x])) for g in (0, 1))
        online = inside.logpdf(asked[x]) - outside.logpdf(asked[x])
        naive.append(online if form == "online" else (asked[x] - means[1][x]) / math.sqrt(variances[1][x]))
    found = LiRA(12, form=form, pooled=pooled).score(asked, observed, included)
    assert found == pytest.approx(naive)


def test_offline_lira_orders_as_the_papers_probability():
    asked, observed, included = toy(2)
    score = LiRA(12, form="offline", pooled=False).score(asked, observed, included)
    assert np.argsort(score).tolist() == np.argsort(norm.cdf(score)).tolist()


def gaussian_world(gap: float, seed: int) -> float:
    """Confidences N(mu_x + gap [trained on x], 1) with mu_x spread widely; AUC of online LiRA."""
    rng = np.random.default_rng(seed)
    count = 1500
    middle, member = rng.normal(0, 5, count), np.arange(count) < count // 2
    half = np.arange(128) < 64
    included = np.stack([rng.permutation(half) for _ in range(count)], axis=1)
    observed = middle + gap * included + rng.normal(0, 1, included.shape)
    asked = middle + gap * member + rng.normal(0, 1, count)
    score = likelihood_ratio(asked, observed, included, pooled=True)
    return auc(score[member], score[~member]).value


@pytest.mark.parametrize("gap", [0.0, 1.0, 2.0])
def test_lira_finds_the_auc_of_the_true_likelihood_ratio(gap: float):
    """The ratio is monotone in the centred confidence, so that its AUC is Phi(gap / sqrt 2)."""
    found = np.mean([gaussian_world(gap, seed) for seed in range(3)])
    # The spread of the estimated middle, 1/sqrt(64), costs a little.
    assert found == pytest.approx(norm.cdf(gap / math.sqrt(2)), abs=0.02)


@pytest.mark.parametrize(("gamma", "a"), [(1.0, 0.3), (2.0, 0.0), (1.3, 1.0)])
def test_rmia_against_a_loop_over_pairs(gamma: float, a: float):
    rng = np.random.default_rng(4)
    _, _, included = toy(4)
    asked, observed, members = rng.uniform(0.05, 1, 9), rng.uniform(0.05, 1, included.shape), 4

    def ratio(x: int) -> float:
        without = [observed[s, x] for s in range(len(observed)) if not included[s, x]]
        return asked[x] / (((1 + a) * sum(without) / len(without) + (1 - a)) / 2)

    naive = []
    for x in range(9):
        population = [z for z in range(members, 9) if z != x]
        naive.append(sum(ratio(x) / ratio(z) >= gamma for z in population) / len(population))
    assert RMIA(12, gamma=gamma, a=a).score(asked, observed, included, members) == pytest.approx(naive)


@pytest.mark.parametrize("made", [lambda: LiRA(7), lambda: LiRA(2), lambda: RMIA(9),
                                  lambda: RMIA(gamma=0), lambda: RMIA(a=1.1), lambda: ULiRA(Retrain(), 3)])  # fmt: skip
def test_settings_that_cannot_be_are_refused(made):
    with pytest.raises(ProgrammerError) as caught:
        made()
    assert caught.value.code == "bad-hyperparameter"


def test_every_target_is_in_half_of_the_shadow_models(memorised: Scene):
    found = shadows(memorised.subject(), 8, 400)
    assert isinstance(found, Shadows)
    assert found.included.sum(0).tolist() == [4] * len(found.targets)
    assert found.members == 80
    assert len(found.targets) == 80 + 80  # a quarter of the 320 records left, and no more
    assert set(found.targets.ids[80:]) <= set(memorised.left.test.ids)


def test_shadow_models_are_trained_on_what_they_should_be(memorised: Scene):
    """Another seed of the recipe, on retained records and the included targets: as good as such a model is."""
    subject = memorised.subject()
    found = shadows(subject, 8, 400)
    _, beside = found.beside(memorised.exact)
    inside = np.mean([each.correct[row].mean() for each, row in zip(beside, found.included, strict=True)])
    outside = np.mean([each.correct[~row].mean() for each, row in zip(beside, found.included, strict=True)])
    universe = joined(subject.retained, found.targets)
    universe = replace(universe, split=(TRAIN,) * len(universe))
    rows = [*range(320), *(320 + np.flatnonzero(found.included[0])).tolist()]
    alone = outputs(train(replace(memorised.recipe, seed=9), universe.select(rows)).model, found.targets)
    assert inside == pytest.approx(alone.correct[found.included[0]].mean(), abs=0.1)
    assert outside == pytest.approx(alone.correct[~found.included[0]].mean(), abs=0.1)
    assert inside > outside + 0.1


def test_shadows_of_a_sharded_model_replace_only_the_shards_concerned(sharded: Scene):
    found = shadows(sharded.subject(), 4, 400)
    (shard,) = found.affected
    place = sharded.recipe.sharding.place(sharded.records.owners[sharded.records.row_of[sharded.forget[0]]])
    assert shard == place[0]
    asked, beside = found.beside(sharded.exact)
    assert np.exp(asked.logs) == pytest.approx(sharded.exact.probabilities(found.targets.features).numpy(), abs=1e-6)
    rest = [outputs(replace(sharded.exact, constituents=(state,), recipe=replace(sharded.recipe, sharding=None)),
                    found.targets) for n, state in enumerate(sharded.exact.constituents) if n != shard]  # fmt: skip
    for trained, merged in zip(found.trained, beside, strict=True):
        mine = trained[shard].softmax(1).numpy()
        naive = (mine + sum(np.exp(each.logs) for each in rest)) / 3
        assert np.exp(merged.logs) == pytest.approx(naive)


def test_shadows_are_trained_once_for_all_audits(memorised: Scene):
    subject = memorised.subject()
    assert shadows(subject, 4, 400) is shadows(subject, 4, 400)
    assert shadows(subject, 4, 400) is not shadows(memorised.subject(), 4, 400)


def test_without_comparable_test_records_nothing_is_measured(memorised: Scene):
    few = memorised.left.test.select([row for row, t in enumerate(memorised.left.test.targets.tolist()) if t == 0][:3])
    for each in (LiRA(4), RMIA(4), ULiRA(FineTune(epochs=1), 4)):
        report = audit(memorised.subject(test=few), [each])
        assert report.readings == ()
        assert "not measured" in report.degraded[0]


def test_the_attacker_who_knows_the_method_finds_weak_unlearning(memorised: Scene):
    """U-LiRA: fine-tuning at a low rate leaves the trace, and retraining none that knowing it would show."""
    weak = FineTune(epochs=1, lr=0.001)
    after = unlearn(memorised.trained, memorised.records, memorised.forget, weak).trained.model
    found = audit(memorised.subject(after), [ULiRA(weak, 8)]).of("U-LiRA AUC")
    assert found.after.low > 0.6
    assert found.finding == "differs from retraining"
    exact = audit(memorised.subject(), [ULiRA(Retrain(), 4)]).of("U-LiRA AUC")
    assert exact.finding == "no power"
