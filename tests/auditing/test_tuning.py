"""Tuning: the target is what unseen records look like, the budget is kept, and the best that was tried is chosen."""

from dataclasses import replace

import pytest

from expunge.auditing import Quality, Trial, Tuned, agreed, candidates, tune
from expunge.auditing.tuning import TIE, _best
from expunge.errors import ProgrammerError
from expunge.records import Records
from expunge.training import SGD, Recipe, Trained, train
from expunge.unlearning import FineTune, GradientAscent, L1Sparse, SalUn, prepare

RECIPE = Recipe(optimiser=SGD(lr=0.1), epochs=8, batch_size=32)


@pytest.fixture(scope="module")
def trained(records: Records) -> Trained:
    return train(RECIPE, records)


@pytest.fixture(scope="module")
def validation(records: Records) -> Records:
    return records.test.select(range(0, len(records.test), 2))


def of_class(records: Records, label: int) -> tuple[str, ...]:
    part = records.train
    return tuple(one for one, own in zip(part.ids, part.targets.tolist(), strict=True) if own == label)


def test_a_gap_is_the_mean_of_four_differences() -> None:
    assert Quality(100, 100, 100, 100).distance(Quality(22.53, 75.0, 99.87, 100.52)) == pytest.approx(25.78)


def test_a_class_that_leaves_should_be_wrong_always(records: Records, trained: Trained, validation: Records) -> None:
    found = tune(trained, records, of_class(records, 3), [FineTune(epochs=0.5)], validation)
    assert found.target.ua == 100.0
    assert found.target.mia == 100.0
    assert found.target.ra > 95


def test_others_should_be_wrong_as_often_as_records_of_their_class_that_nobody_trained_on(
    records: Records, trained: Trained, validation: Records
) -> None:
    forget = [one for one in records.train.ids[:90] if one not in set(of_class(records, 3))]
    found = tune(trained, records, forget, [FineTune(epochs=0.5)], validation)
    wrong = (trained.model.predict(validation.features) != validation.targets).float()
    labels = records.targets[records.rows(forget)].tolist()
    expected = sum(float(wrong[validation.targets == label].mean()) for label in labels) / len(labels)
    assert found.target.ua == pytest.approx(100 * expected, abs=1e-3)
    assert 0 < found.target.ua < 30


def test_the_choice_is_the_nearest_trial_and_its_record_is_kept(
    records: Records, trained: Trained, validation: Records
) -> None:
    grid = [FineTune(2, lr) for lr in (0.001, 0.1, 0.4)]
    found = tune(trained, records, of_class(records, 5), grid, validation, budget=5)
    assert len(found.trials) == 3
    assert found.untried == 0
    assert found.method == min(found.trials, key=lambda trial: trial.distance).method != grid[0]
    assert not found.idle
    assert found.evaluations == sum(trial.evaluations for trial in found.trials) <= found.budget
    plain = found.to_json()
    assert [trial["method"]["lr"] for trial in plain["trials"]] == [0.001, 0.1, 0.4]
    again = tune(trained, records, of_class(records, 5), grid, validation, budget=5)
    assert again.to_json() == plain


def test_the_budget_stops_trials_and_says_how_many(records: Records, trained: Trained, validation: Records) -> None:
    forget = of_class(records, 5)
    cost = FineTune(2).plan(prepare(trained, records, forget)).gradient_evaluations
    share = 2.5 * cost / prepare(trained, records, forget).retraining_evaluations
    found = tune(
        trained, records, forget, [FineTune(2, lr) for lr in (0.01, 0.02, 0.03, 0.04)], validation, budget=share
    )
    assert (len(found.trials), found.untried) == (2, 2)


def trial(epochs: float, distance: float, evaluations: int, *degraded: str) -> Trial:
    return Trial(FineTune(epochs), Quality(99, 99, 99, 99), distance, evaluations, degraded)


def test_of_two_that_validation_cannot_tell_apart_the_cheaper_is_chosen() -> None:
    long, short, off = trial(5, 1.0, 500), trial(2, 1.0 + TIE, 200), trial(1, 1.1 + TIE, 100)
    assert _best([long, short, off], 10.0) == short.method
    assert _best([long, short, off], 1.2) == long.method, "what does not better the model before is no tie"
    assert _best([long, trial(3, 0.1, 10, "Collapse")], 10.0) == long.method


def test_what_several_deletions_agree_on_holds_for_the_worst_of_them() -> None:
    """The setting that is best on one deletion, and best on average, loses to one that falls short nowhere."""
    target, risky, steady = Quality(100, 100, 100, 100), (0.0, 0.0, 4.0), (2.0, 2.0, 2.0)
    found = [
        Tuned(FineTune(1), target, 25.0, (trial(1, one, 100), trial(2, other, 200)), 300, 300, 0)
        for one, other in zip(risky, steady, strict=True)
    ]
    assert agreed(found) == FineTune(2)
    assert agreed(found[:2]) == FineTune(1)
    assert agreed([found[0], replace(found[1], trials=found[1].trials[1:])]) == FineTune(2), "all must have tried it"
    spoilt = replace(found[0], trials=(found[0].trials[0], trial(2, 0.0, 200, "Collapse")))
    assert agreed([spoilt, found[2]]) == FineTune(1), "what ruins one deletion is not agreed on"


def test_what_changes_nothing_is_said_to_be_idle(records: Records, trained: Trained, validation: Records) -> None:
    forget = of_class(records, 5)
    assert tune(trained, records, forget, [FineTune(1, 1e-7)], validation).idle
    assert not tune(trained, records, forget, [FineTune(2, 0.4)], validation).idle


def test_a_retrained_model_would_contradict_labels_that_are_wrong(
    records: Records, trained: Trained, validation: Records
) -> None:
    forget = records.train.ids[:90]
    found = tune(trained, records, forget, [FineTune(0.5)], validation, mislabelled=True)
    assert (found.target.ua, found.target.mia) == (100.0, 100.0)
    assert tune(trained, records, forget, [FineTune(0.5)], validation).target.ua < 30


def test_a_method_that_destroys_is_not_chosen(records: Records, trained: Trained, validation: Records) -> None:
    grid = [GradientAscent(20, 5.0), GradientAscent(1, 1e-5)]
    found = tune(trained, records, of_class(records, 5), grid, validation, budget=5)
    assert found.trials[0].degraded
    assert found.method == grid[1]


def test_grids_are_in_multiples_of_the_recipes_rate() -> None:
    tuned, penalised = candidates(FineTune(), RECIPE), candidates(L1Sparse(), RECIPE)
    assert [method.lr for method in tuned[:3]] == pytest.approx([0.4, 0.8, 0.2])
    assert len({(one.gamma, one.lr) for one in penalised}) == 6
    assert {one.epochs for one in penalised} == {3, 10}
    assert {one.schedule for one in (*tuned, *penalised)} == {"cosine"}
    assert all(one.share == 0.5 for one in candidates(SalUn(), RECIPE))


def test_too_little_to_judge_by_is_refused(records: Records, trained: Trained) -> None:
    for methods, held in (([], records.test), ([FineTune()], records.test.select(range(5)))):
        with pytest.raises(ProgrammerError):
            tune(trained, records, records.train.ids[:5], methods, held)
