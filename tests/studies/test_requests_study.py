from itertools import product

import pytest

from expunge.adversaries.requesters import Crafted, Neighbours, Select, Task
from expunge.records import Records
from expunge.studies.frame import Setting
from expunge.studies.requests import RequestsStudy, reduced
from expunge.studies.requests_cells import nearest, targets_between, trained, united
from expunge.studies.requests_copies import modification
from expunge.studies.requests_screens import attacked_by, auc
from expunge.training import Trained
from expunge.unlearning import Retrain

CLAIMS = {
    "influence.flip_rate_low_margin",
    "random.flip_rate",
    "greedy.gain",
    "modification.asr_without_gate",
    "modification.asr_with_gate",
    "screen.auc.naive",
    "screen.auc.capped",
    "screen.auc.neighbour",
    "screen.fpr.coherent",
    "screen.fpr.hard_honest",
    "repair.flips_left",
    "repair.test_gap",
    "sequential.flip_rate",
    "sequential.stealth",
}


def test_auc_counts_pairs():
    bad, good = [3.0, 1.0, 2.0], [2.0, 0.0]
    pairs = [1.0 if one > other else 0.5 if one == other else 0.0 for one, other in product(bad, good)]
    assert auc(bad, good) == pytest.approx(sum(pairs) / 6)


def test_a_claim_without_rows_has_no_answer_and_says_why(records: Records):
    claims = RequestsStudy().claims(Setting(records, "digits", "small", (0,)), [])
    assert {claim.name for claim in claims} >= CLAIMS
    assert all(claim.value is None and claim.holds is None and claim.why for claim in claims)


def test_record_matching_refuses_every_copy(records: Records):
    rows = modification(records, 0, 1)
    gated = [row for row in rows if row["defence"] == "record matching"]
    assert len(gated) == 6
    assert all(row["refused"] and row["flips"] == 0 for row in gated)
    assert all(row["accuracy_after"] == row["accuracy_before"] for row in gated)


def test_targets_are_right_and_ordered_by_margin(records: Records):
    made = trained(records, 0)
    found = targets_between(made.model, records, 0.0, 0.5, 5)
    task = Task(records, made, Retrain(), found, 1)
    each = [Task(records, made, Retrain(), found.select([row]), 1).goal(made.model) for row in range(5)]
    assert each == sorted(each)
    assert min(each) > 0
    assert task.goal(made.model) == pytest.approx(sum(each), rel=1e-5)
    assert Crafted(frozenset()).submitted(records) is records


def test_attacks_that_share_a_linear_system_are_the_attacks_run_alone(few: Records, plain_model: Trained):
    task = Task(few, plain_model, Retrain(), few.test.select([0]), 8)
    asked: list[Crafted] = []

    def judge(crafted: Crafted) -> float:
        asked.append(crafted)
        return -float(len(asked))

    found = attacked_by(task, judge)
    alone = {"naive": Select(), "capped": Select(cap=0.8), "neighbour": Neighbours()}
    assert all(found[name].forget == attack.run(task).forget for name, attack in alone.items())
    assert found["evading"] is asked[-1]
    assert all(each.predicted >= 0.5 * found["naive"].predicted for each in asked)
    assert len(asked) > 1


def test_one_request_unites_what_is_selected_for_each_target(few: Records, plain_model: Trained):
    task = Task(few, plain_model, Retrain(), few.test.select([0, 1]), 5)
    alone = [Neighbours().run(Task(few, plain_model, Retrain(), few.test.select([row]), 5)) for row in (0, 1)]
    assert united(task, Neighbours()).forget == alone[0].forget | alone[1].forget


def test_the_nearest_vote_is_counted_by_hand(few: Records):
    found = nearest(few, few.test, 5).tolist()
    for row, image in enumerate(few.test.features):
        far = [float((image - other).norm()) for other in few.train.features]
        near = sorted(range(len(far)), key=far.__getitem__)[:5]
        votes = [few.train.targets[other].item() for other in near]
        assert found[row] == min(votes, key=lambda label: (-votes.count(label), label))


def test_small_scale_takes_a_part_of_large_data_and_all_of_small(records: Records, few: Records):
    assert reduced(few) is few
    many = records.select(list(range(len(records))))
    assert len(reduced(many).train) <= 1500
    assert len(reduced(many).test) <= 600
