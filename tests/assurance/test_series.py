"""Outliers, gaps, counterexamples that replay, and digests that do not depend on who measured."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from cases import AtLeast, small

from expunge.assurance import Scene, Verdict, evaluate
from expunge.assurance.counterexamples import in_words, replay, told
from expunge.assurance.series import Gaps, far
from expunge.assurance.verification import Rate, Region, Violated, fold, verify
from expunge.errors import OperatorError
from expunge.ledger.signatures import SigningKey
from expunge.records import Records

GAPS = {"every": 15, "longest": 60, "most": 0.3, "unit": "min"}


def readings(times: Sequence[int]) -> Records:
    count = len(times)
    names = tuple(f"7-{time}" for time in times)
    return Records(torch.zeros(count, 1), torch.zeros(count), names, ("child#7",) * count, ("train",) * count, 0)


@pytest.mark.parametrize(
    ("times", "more", "verdict", "share", "longest"),
    [
        ((0, 15, 30, 45), {}, Verdict.HOLDS, 0, 15),
        ((0, 15, 60, 75), {}, Verdict.FAILS, 2 / 6, 45),  # 30 and 45 are missing
        ((0, 15, 45, 60), {}, Verdict.HOLDS, 1 / 5, 30),
        ((0, 15, 30, 45), {"span": 75}, Verdict.FAILS, 2 / 6, 15),  # 60 and 75 were never measured
        ((0, 15, 30, 105, 120, 135, 150, 165, 180, 195, 210), {}, Verdict.FAILS, 4 / 15, 75),  # too long a silence
    ],
)
def test_what_is_missing_in_time_is_counted(
    times: tuple[int, ...], more: dict[str, int], verdict: Verdict, share: float, longest: float
) -> None:
    found = Gaps().run({"train rows": readings(times)}, {**GAPS, **more})
    assert found.verdict is verdict
    assert found.figures["share missing"] == pytest.approx(share)
    assert found.figures["longest silence"] == longest


def test_ids_without_a_time_are_refused() -> None:
    own = Records(torch.zeros(1, 1), torch.zeros(1), ("noon",), ("p",), ("train",), 0)
    with pytest.raises(OperatorError, match="TIME"):
        Gaps().run({"train rows": own}, GAPS)


def test_a_robust_deviation_is_the_standard_one_for_normal_values() -> None:
    drawn = np.random.default_rng(0).normal(5, 3, 200_000)
    assert far(drawn, 2.0) == pytest.approx(0.0455, abs=0.003)
    assert far(np.array([0.0] * 98 + [1.0, 50.0]), 6) == 0.01  # most are equal: the mean deviation stands in


def steep() -> torch.nn.Sequential:
    network = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1))
    with torch.no_grad():
        for parameter, values in zip(network.parameters(), ([[0.0, 3.0]], [0.0], [[1.0]], [0.0]), strict=True):
            parameter.copy_(torch.tensor(values))
    return network


ARGUMENTS = {"kind": "rate", "region": {"old": [0, 10, "U"], "new": [0, 10, "U"]}, "unit": "mg/dL", "jump": 11.0}


def test_a_counterexample_replays_and_a_changed_one_does_not() -> None:
    network = fold(steep())
    wanted = Rate(Region((0.0, 0.0), (10.0, 10.0)), ((0, 1),), (0.0, -5.0), (0.0, 5.0), 11.0)
    answer = verify(network, wanted)
    assert isinstance(answer, Violated)
    example = told(answer.counterexample, ARGUMENTS, ("old", "new"))
    assert "mg/dL at old" in in_words(example)
    assert all(0 <= each[word] <= 10 for each in example["inputs"] for word in ("value", "other"))
    assert replay(network, wanted, example).breaks
    moved = {**example, "inputs": [{**each, "value": each["value"] + 1} for each in example["inputs"]]}
    assert not replay(network, wanted, moved).breaks
    outside = {**example, "inputs": [{**example["inputs"][0]}, {**example["inputs"][1], "other": 40.0}]}
    assert not replay(network, wanted, outside).inside
    with pytest.raises(OperatorError):
        replay(network, wanted, {**example, "query": "another"})


def test_both_windows_of_a_rate_stay_in_the_region() -> None:
    """3 x moves by 15 at most where x may move by 5; next to the border of a narrow region it has no room for that."""
    network = fold(steep())
    narrow = Region((0.0, 0.0), (3.0, 3.0))
    assert not isinstance(verify(network, Rate(narrow, ((0, 1),), (0.0, -5.0), (0.0, 5.0), 9.01)), Violated)
    assert isinstance(verify(network, Rate(narrow, ((0, 1),), (0.0, -5.0), (0.0, 5.0), 8.9)), Violated)


def test_who_measured_and_when_is_not_in_the_digest() -> None:
    checks = {"model-good": AtLeast("model"), "data-good": AtLeast("data")}

    def evaluated(key: SigningKey, moment: str, model: float) -> str:
        scene = Scene({"model": model, "data": 1.0}, {"model": str(model), "data": "d"}, key, (key.public,), moment)
        return evaluate(small(), checks, scene).digest

    first = evaluated(SigningKey.generate(), "2026-11-24T10:00:00Z", 0.95)
    assert first == evaluated(SigningKey.generate(), "2026-11-25T10:00:00Z", 0.95)
    assert first != evaluated(SigningKey.generate(), "2026-11-24T10:00:00Z", 0.96)
