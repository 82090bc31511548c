import json

import numpy as np
import pytest

from expunge.auditing import Estimate, Finding
from expunge.auditing.reading import WORDS, Reading, reading


def around(value: float, half: float = 1.0) -> Estimate:
    return Estimate(value, value - half, value + half)


REFERENCES = tuple(around(value) for value in (49.0, 50.0, 50.5, 51.0, 49.5))


def made(before: float, after: float, half: float = 1.0, **more: object) -> Reading:
    return Reading("figure", "points", around(before, half), around(after, half), REFERENCES, **more)


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        (10.0, 50.0, Finding.CONSISTENT),
        (10.0, 10.0, Finding.DIFFERS),
        (10.0, 90.0, Finding.DIFFERS),
        (50.0, 50.0, Finding.NO_POWER),
        (50.0, 60.0, Finding.DIFFERS),
    ],
)
def test_what_a_reading_says(before: float, after: float, finding: Finding):
    assert made(before, after).finding is finding


def test_an_untouched_model_is_never_consistent():
    for before in np.linspace(0, 100, 201):
        assert made(float(before), float(before)).finding is not Finding.CONSISTENT


def test_no_power_where_the_interval_before_holds_what_retraining_shows():
    assert made(44.0, 50.0, half=3.0).has_power
    assert not made(44.0, 50.0, half=7.0).has_power
    assert made(44.0, 50.0, half=7.0).finding is Finding.NO_POWER


def test_no_power_where_the_interval_before_holds_the_value_without_signal():
    """0.5 for an AUC, where it lies in the floor; where retraining lies elsewhere, 0.5 is not what it shows."""
    before = Estimate(55.0, 51.5, 58.0)
    figure = Reading("figure", "points", before, around(50.0), REFERENCES)
    assert figure.has_power
    assert not Reading("figure", "points", before, around(50.0), REFERENCES, no_signal=51.9).has_power
    assert Reading("figure", "points", before, around(50.0), REFERENCES, no_signal=56.0).has_power


def test_the_floor_holds_what_one_more_retraining_shows():
    """95 % of further draws at least, and not nearly all: Student's t is in it, and little else."""
    rng = np.random.default_rng(0)
    outside = []
    for _ in range(2000):
        draws = [Estimate(float(v), float(v) - 0.01, float(v) + 0.01) for v in rng.normal(50, 5, 6)]
        outside.append(Reading("figure", "points", around(0), draws[0], tuple(draws[1:])).finding is Finding.DIFFERS)
    assert 0.03 < np.mean(outside) < 0.065


def test_the_floor_of_distances_between_references_is_stretched():
    """Noise of one model is its squared distance from the middle; each reference is measured against the others."""
    rng = np.random.default_rng(1)
    outside = {True: [], False: []}
    for _ in range(1000):
        models = rng.normal(0, 1, (6, 40))
        far = ((models[:, None] - models[None]) ** 2).mean(2)
        after = far[1:, 0].mean()
        values = [far[[i for i in range(1, 6) if i != j], j].mean() for j in range(1, 6)]
        references = tuple(Estimate(float(value)) for value in values)
        for coupled, found in outside.items():
            one = Reading("figure", "nats", around(0), Estimate(float(after)), references, coupled=coupled)
            found.append(one.finding is Finding.DIFFERS)
    assert np.mean(outside[True]) < 0.08 < np.mean(outside[False])


def test_the_floor_never_leaves_the_range_of_its_unit():
    low, high = Reading("figure", "share", around(0), around(0), (Estimate(0.1), Estimate(0.9))).floor
    assert (low, high) == (0.0, 1.0)
    assert Reading("figure", "nats", around(0), around(0), (Estimate(0.1), Estimate(0.9))).floor[0] == 0.0


def test_identical_references_leave_the_interval_of_few_records():
    same = tuple(around(50.0, 4.0) for _ in range(3))
    assert Reading("figure", "points", around(0), around(50), same).floor == (46.0, 54.0)


@pytest.mark.parametrize("missing", ["before", "after", "references"])
def test_what_is_missing_is_not_measured(missing: str):
    parts = {"before": around(10), "after": around(50), "references": REFERENCES}
    parts[missing] = (Estimate(None), REFERENCES[0]) if missing == "references" else Estimate(None)
    found = reading("figure", "points", [parts["before"], parts["after"], *parts["references"]])
    assert found.finding is Finding.UNMEASURED
    assert not found.has_power or missing == "after"
    assert "not finite" in found.note


def test_the_side_is_named_where_it_differs():
    assert made(10.0, 10.0).direction == "on the side of the model before"
    assert made(10.0, 90.0).direction == "not on the side of the model before"
    assert made(10.0, 50.0).direction == ""


def test_plain_form_is_strict_json():
    plain = made(10.0, 90.0, note="few").to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["note"] == "few; not on the side of the model before"
    assert plain["words"] == WORDS[Finding.DIFFERS]


def test_no_words_claim_that_anything_is_forgotten():
    assert not any("forgotten" in text.lower() or "forgot" in text.lower() for text in (*WORDS.values(), *Finding))
