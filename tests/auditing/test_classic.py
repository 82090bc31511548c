"""Accuracy, divergence, the confidence test and relearning, against their definitions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import Scene, scene
from sklearn.svm import SVC
from torch.nn.functional import cross_entropy

from expunge.auditing import Accuracy, ConfidenceMIA, Divergence, RelearningTime, audit
from expunge.auditing.confidence_mia import called_members
from expunge.auditing.relearning import first_below
from expunge.errors import ProgrammerError
from expunge.networks import MLP
from expunge.randomness import numpy_generator
from expunge.training import train


def accuracy(model, part) -> float:
    return 100 * float((model.predict(part.features) == part.targets).double().mean())


def test_metric_identities(memorised: Scene):
    """UA + accuracy(D_f) = 100, RA and TA are accuracies, for each of the models."""
    subject = memorised.subject()
    report = audit(subject, [Accuracy()])
    for name, part in (("UA", subject.forgotten), ("RA", subject.retained), ("TA", subject.test)):
        found = report.of(name)
        for model, one in zip(subject.models, (found.before, found.after, *found.references), strict=True):
            expected = accuracy(model, part)
            assert one.value == pytest.approx(100 - expected if name == "UA" else expected)


def test_test_accuracy_leaves_out_classes_that_are_gone(memorised: Scene):
    data = memorised.records
    threes = tuple(record for record, t in zip(data.train.ids, data.train.targets.tolist(), strict=True) if t == 3)
    gone = scene(replace(memorised.recipe, epochs=5), data, threes)
    report = audit(gone.subject(), [Accuracy()])
    kept = gone.left.test.select((gone.left.test.targets != 3).nonzero()[:, 0])
    assert report.of("TA").after.value == pytest.approx(accuracy(gone.exact, kept))
    assert report.of("UA").after.value == 100
    assert "left out" in report.of("TA").note


def test_confidence_test_against_the_literature_spelt_out(memorised: Scene):
    subject = memorised.subject()
    count = min(len(subject.retained), len(subject.test))
    chosen = {
        side: np.sort(numpy_generator(0, f"audit/confidence/{side}").choice(total, count, replace=False))
        for side, total in (("members", len(subject.retained)), ("others", len(subject.test)))
    }

    def confidence(records, rows=None):
        posterior = memorised.exact.logits(records.features).double().softmax(1)
        values = posterior[torch.arange(len(records)), records.targets].numpy()
        return (values if rows is None else values[rows])[:, None]

    x = np.r_[confidence(subject.retained, chosen["members"]), confidence(subject.test, chosen["others"])]
    attack = SVC(C=3, gamma=1.0, kernel="rbf").fit(x, np.r_[np.ones(count), np.zeros(count)])
    predicted = attack.predict(confidence(subject.forgotten))
    true_negatives = int((predicted == 0).sum())
    found = audit(subject, [ConfidenceMIA()]).of("MIA-Efficacy")
    assert found.after.value == pytest.approx(100 * true_negatives / len(subject.forgotten))
    assert found.after.value == pytest.approx(100 * (1 - predicted.mean()))


def test_confidence_test_of_separable_worlds():
    members, others = np.linspace(0.95, 1, 50), np.linspace(0.1, 0.5, 50)
    assert called_members(members, others, np.array([0.99, 0.2])).tolist() == [True, False]


def test_divergence_of_a_reference_is_from_the_others(memorised: Scene):
    subject = memorised.subject()
    found = audit(subject, [Divergence()]).of("KL from retrained on D_f")
    logs = [model.logits(subject.forgotten.features).double().log_softmax(1) for model in subject.models]

    def kl(p, q) -> float:
        return float((p.exp() * (p - q)).sum(1).mean())

    references = logs[2:]
    assert found.after.value == pytest.approx(np.mean([kl(p, logs[1]) for p in references]))
    others = references[1:]
    assert found.references[0].value == pytest.approx(np.mean([kl(p, references[0]) for p in others]))
    assert found.coupled


def test_two_references_say_what_they_cannot(memorised: Scene):
    subject = memorised.subject(references=memorised.references[:2])
    report = audit(subject, [Divergence(), Accuracy()])
    assert "only one distance" in report.of("KL from retrained on D_f").note
    low, high = report.of("loss on D_f").floor
    assert high - low > abs(report.of("loss on D_f").references[0].value - report.of("loss on D_f").references[1].value)


def test_relearning_against_a_plain_loop(memorised: Scene):
    """One network, full batches: torch's own optimiser, step by step."""
    recipe = replace(memorised.recipe, batch_size=200, epochs=80)
    data = memorised.records
    told = scene(recipe, data, data.train.ids[:30])
    subject = told.subject()
    audit_ = RelearningTime(looks=60)
    report = audit(subject, [audit_])
    part = subject.forgotten
    goal = 1.1 * float(cross_entropy(told.trained.model.logits(part.features), part.targets))
    module = told.exact.module()
    optimiser = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    steps = 0
    while (loss := cross_entropy(module(part.features), part.targets)).item() > goal and steps < 60:
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        steps += 1
    assert 0 < steps < 60
    found = report.of("relearning time")
    assert found.after.value == 30 * steps
    assert found.before.value == 0
    assert found.unit == "gradient evaluations"


def test_relearning_of_a_sharded_model_is_of_the_shards_concerned(sharded: Scene):
    report = audit(sharded.subject(), [RelearningTime(looks=40)])
    found = report.of("relearning time")
    assert found.before.value == 0
    assert found.after.value > 0


def test_first_look_below_the_goal():
    curves = np.array([[3.0, 2.0, 1.0, 0.5], [3.0, 0.1, 4.0, 0.1], [3.0, 3.0, 3.0, 3.0]])
    assert first_below(curves, np.array([1.0, 1.0, 1.0])).tolist() == [2, 1, 3]


def test_models_that_do_not_get_there_are_counted(memorised: Scene):
    found = audit(memorised.subject(), [RelearningTime(looks=1, lr=1e-6)]).of("relearning time")
    assert found.note == "6 of 7 models did not get there in 1 passes"


def test_a_batch_of_one_is_said_not_raised(memorised: Scene):
    recipe = replace(memorised.recipe, network=MLP((8,), batch_norm=True), epochs=1)
    told = scene(recipe, memorised.records, memorised.records.train.ids[:1])
    report = audit(told.subject(), [RelearningTime()])
    assert report.readings == ()
    assert "batch" in report.degraded[0]


@pytest.mark.parametrize("settings", [{"looks": 0}, {"slack": -0.1}, {"lr": 0.0}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, float]):
    with pytest.raises(ProgrammerError):
        RelearningTime(**settings)


def test_references_are_trainings_of_the_recipe_under_other_seeds(memorised: Scene, sharded: Scene):
    for told in (memorised, sharded):
        for reference in told.references[:2]:
            again = train(replace(told.recipe, seed=reference.recipe.seed), told.left)
            assert again.model.digest == reference.digest
        seeds = {reference.recipe.seed for reference in told.references}
        assert len(seeds) == 5
        assert told.recipe.seed not in seeds
