"""What the tests can see: memorised records before the deletion, nothing but noise after an exact one."""

import pytest
from scenes import Scene

from expunge.auditing import PRIMARY, RMIA, Accuracy, ConfidenceMIA, Finding, LiRA, audit
from expunge.unlearning import FineTune, unlearn


@pytest.mark.parametrize("count", [16, pytest.param(64, marks=pytest.mark.slow)])
def test_lira_sees_memorised_records_before_and_none_after_exact_deletion(memorised: Scene, count: int):
    report = audit(memorised.subject(), (Accuracy(), ConfidenceMIA(), LiRA(count), RMIA(count)))
    found = report.primary
    assert found is not None
    assert found.name == PRIMARY
    assert found.before.low > 0.6
    assert found.has_power
    assert found.finding is Finding.CONSISTENT
    assert found.floor[0] <= 0.5 <= found.floor[1]
    assert report.of("RMIA AUC").before.low > 0.6
    assert all(report.of(name).finding is Finding.CONSISTENT for name in ("RMIA AUC", "UA", "MIA-Efficacy"))
    curve = report.curves[0]
    assert curve.name == "LiRA"
    assert curve.before != curve.after


def test_weak_fine_tuning_is_found_out(memorised: Scene):
    weak = FineTune(epochs=1, lr=0.001)
    after = unlearn(memorised.trained, memorised.records, memorised.forget, weak).trained.model
    report = audit(memorised.subject(after), (LiRA(16), RMIA(16), Accuracy()))
    for name in ("LiRA AUC", "RMIA AUC", "UA"):
        assert report.of(name).finding is Finding.DIFFERS
        assert report.of(name).direction == "on the side of the model before"


def test_lira_given_the_other_shards_sees_one_owner(sharded: Scene):
    report = audit(sharded.subject(), [LiRA(32)])
    assert report.primary is not None
    assert report.primary.before.value > report.primary.after.value
    assert report.primary.finding is not Finding.DIFFERS
