"""What every audit must do, whatever it is. A new audit adds one line to AUDITS, and a section to docs/auditing.md."""

import json
import re
from dataclasses import FrozenInstanceError, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from scenes import Scene, scene

from expunge.auditing import (
    DEFAULT,
    RMIA,
    Accuracy,
    Audit,
    AuditReport,
    ConfidenceMIA,
    Divergence,
    Finding,
    LiRA,
    RelearningTime,
    Subject,
    ULiRA,
    audit,
)
from expunge.errors import ExpungeError
from expunge.networks import MLP
from expunge.progress import Tick
from expunge.records import Records
from expunge.training import SGD, Model, Processes, Recipe, SquaredError
from expunge.unlearning import FineTune

AUDITS = [
    Accuracy(),
    Divergence(),
    ConfidenceMIA(),
    LiRA(4),
    LiRA(4, form="offline"),
    RMIA(4),
    RelearningTime(looks=10),
    ULiRA(FineTune(epochs=1), 4),
]
names = ["accuracy", "divergence", "confidence", "lira", "lira-offline", "rmia", "relearning", "u-lira"]
DOCS = Path(__file__).parents[2] / "docs" / "auditing.md"
NEEDS_CLASSES = (Accuracy, ConfidenceMIA, RMIA)


@pytest.fixture(scope="module", params=AUDITS, ids=names)
def each(request: pytest.FixtureRequest) -> Audit:
    return request.param


@pytest.fixture(scope="module")
def report(each: Audit, quick: Scene) -> AuditReport:
    return audit(quick.subject(), [each])


def plain(report: AuditReport) -> dict[str, Any]:
    """The report without what differs from run to run."""
    return {key: value for key, value in report.to_json().items() if key not in ("seconds", "timings")}


def test_same_seed_same_report(each: Audit, report: AuditReport, quick: Scene):
    assert plain(audit(quick.subject(), [each])) == plain(report)


def test_executors_change_nothing(quick: Scene):
    """Shadow models trained in one stack here, or dealt out to processes."""
    with Processes(1) as executor:
        spread = audit(quick.subject(executor=executor), [LiRA(4)])
    assert plain(spread) == plain(audit(quick.subject(), [LiRA(4)]))


def test_nothing_given_is_changed(each: Audit, quick: Scene):
    subject = quick.subject()
    before = [replace(model).digest for model in subject.models], subject.forgotten.features.clone()
    audit(subject, [each])
    assert ([replace(model).digest for model in subject.models], True) == (
        before[0],
        subject.forgotten.features.equal(before[1]),
    )


def test_there_are_readings_with_intervals_around_their_values(report: AuditReport, quick: Scene):
    assert report.readings
    assert not report.degraded
    for found in report.readings:
        assert len(found.references) == report.references == len(quick.references)
        low, high = found.floor
        assert low <= high
        for one in (found.before, found.after, *found.references):
            assert one.low <= one.value <= one.high


def test_curves_run_from_corner_to_corner(report: AuditReport):
    for curve in report.curves:
        for points in (curve.before, curve.after, curve.reference):
            assert points[0] == (0, 0)
            assert points[-1] == (1, 1)
            assert all(x <= u and y <= v for (x, y), (u, v) in pairwise(points))


def test_an_untouched_model_is_never_called_consistent(each: Audit, quick: Scene):
    found = audit(quick.subject(quick.trained.model), [each])
    assert all(one.finding is not Finding.CONSISTENT for one in found.readings)


def test_on_data_that_nothing_memorises_the_tests_have_no_power(each: Audit, records: Records):
    """A linear model of all digits for two epochs: no membership test sees 20 records in it, and each says so."""
    recipe = Recipe(network=MLP(()), optimiser=SGD(lr=0.02), epochs=2, batch_size=64)
    told = scene(recipe, records, records.train.ids[:20])
    found = audit(told.subject(), [each])
    membership = [one for one in found.readings if one.name.endswith("AUC") or one.name == "MIA-Efficacy"]
    assert all(one.finding is Finding.NO_POWER for one in membership)


def test_outputs_that_are_not_finite_are_reported(each: Audit, quick: Scene, broken: Model):
    found = audit(quick.subject(broken), [each])
    assert found.readings
    for one in found.readings:
        assert one.after.value is None
        assert one.finding is Finding.UNMEASURED
        assert "not finite" in one.note
    json.dumps(found.to_json(), allow_nan=False)


def test_a_broken_model_before_or_reference_is_reported_too(each: Audit, quick: Scene, broken: Model):
    worse = replace(quick.subject(), before=broken, references=(broken, *quick.references[:2]))
    found = audit(worse, [each])
    assert all(one.finding is Finding.UNMEASURED for one in found.readings)
    assert not any(one.has_power for one in found.readings)


def test_plain_form_is_strict_json_and_says_its_settings(each: Audit, report: AuditReport):
    body = report.to_json()
    assert json.loads(json.dumps(body, allow_nan=False)) == json.loads(json.dumps(body))
    assert body["audits"][0]["kind"] == type(each).__name__
    assert body["seed"] == 0
    assert len(body["reference_seeds"]) == body["references"] == 5
    assert body["primary"] == ("LiRA AUC" if each == LiRA(4) else None)


def test_no_report_says_that_anything_is_forgotten(report: AuditReport):
    body = report.to_json()
    said = [body["summary"], *(one["words"] + one["finding"] for one in body["readings"])]
    assert not re.search("forgot", " ".join(said), re.IGNORECASE)


def test_sharded_models_are_audited_alike(each: Audit, sharded: Scene):
    found = audit(sharded.subject(), [each])
    assert found.readings
    assert all(one.after.value is not None for one in found.readings)


def test_regression_is_measured_or_said_not_to_be(each: Audit, regression: Scene):
    found = audit(regression.subject(), [each])
    if isinstance(each, NEEDS_CLASSES):
        assert found.readings == ()
        assert "needs classes" in found.degraded[0]
    else:
        assert all(one.after.value is not None for one in found.readings)
        assert found.readings


@pytest.fixture(scope="module")
def regression() -> Scene:
    x = torch.linspace(-1, 1, 120)[:, None]
    ids = tuple(f"r{n}" for n in range(120))
    split = tuple("test" if n % 3 == 0 else "train" for n in range(120))
    records = Records(x, torch.sin(3 * x[:, 0]), ids, ids, split, 0)
    recipe = Recipe(network=MLP((16,)), optimiser=SGD(lr=0.05), loss=SquaredError(), epochs=5, batch_size=16)
    return scene(recipe, records, records.train.ids[:10])


def test_one_forgotten_record_is_enough_to_be_asked_about(each: Audit, quick: Scene):
    one = quick.records.train.ids[7]
    subject = quick.subject()
    found = audit(replace(subject, forgotten=quick.records.select([quick.records.row_of[one]])), [each])
    assert all(reading.finding in Finding for reading in found.readings)


def test_settings_are_frozen(each: Audit):
    for field in fields(each):
        with pytest.raises(FrozenInstanceError):
            setattr(each, field.name, None)


def test_the_docs_describe_it(each: Audit, report: AuditReport):
    text = DOCS.read_text("utf-8")
    words = each.describe()
    assert f"### {words.name}" in text
    assert isinstance(each, Audit)
    assert all(words.name and part for part in (words.asks, words.source, words.blind_to))
    for found in report.readings:
        assert f"`{found.name}`" in text, found.name
    for field in fields(each):
        assert f"`{field.name}`" in text, field.name


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: {"forgotten": s.forgotten.select([])}, "nothing-to-audit"),
        (lambda s: {"forgotten": s.test}, "nothing-to-audit"),
        (lambda s: {"test": s.test.select([])}, "bad-data"),
        (lambda s: {"retained": s.retained.select([])}, "bad-data"),
        (lambda s: {"references": s.references[:1]}, "bad-subject"),
        (lambda s: {"references": s.references[:1] * 2}, "bad-subject"),
        (lambda s: {"forgotten": s.retained}, "bad-subject"),
    ],
)
def test_subjects_that_cannot_be_audited_are_refused(quick: Scene, change, code: str):
    subject = quick.subject()
    with pytest.raises(ExpungeError) as caught:
        replace(subject, **change(subject))
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_data_of_one_class_is_refused(quick: Scene):
    def zeros(records: Records) -> Records:
        return replace(records, targets=torch.zeros_like(records.targets))

    subject = quick.subject()
    with pytest.raises(ExpungeError, match="one class") as caught:
        replace(subject, forgotten=zeros(subject.forgotten), retained=zeros(subject.retained), test=zeros(subject.test))
    assert caught.value.code == "bad-data"


def test_default_audits_need_no_method():
    assert {type(one) for one in DEFAULT} == {type(one) for one in AUDITS} - {ULiRA}


def test_progress_counts_the_audits(quick: Scene):
    class Seen:
        def __init__(self) -> None:
            self.ticks: list[tuple[str, int, int]] = []

        def show(self, tick: Tick, *, final: bool) -> None:
            self.ticks.append((tick.label, tick.done, tick.total))

    seen = Seen()
    audit(quick.subject(progress=seen), [Accuracy(), LiRA(4)])
    assert ("auditing", 2, 2) in seen.ticks
    assert any(label == "training" for label, _, _ in seen.ticks)


def test_a_subject_is_one_immutable_record(quick: Scene):
    subject = quick.subject()
    assert isinstance(subject, Subject)
    with pytest.raises(FrozenInstanceError):
        subject.seed = 4  # type: ignore[misc]
