"""The noise floor as a test: a retrained model passes in 95 of 100 cases, and what is off is named."""

import numpy as np
import pytest

from expunge.studies.floor import Floor

KEYS = ("ua", "mia", "ra", "ta", "exposure")
SPREAD = np.array([2.0, 3.0, 0.0, 0.5, 0.02])


def rows(generator: np.random.Generator, count: int) -> list[dict]:
    middle = np.array([10.0, 26.0, 100.0, 86.0, 0.5])
    return [dict(zip(KEYS, middle + SPREAD * generator.standard_normal(5), strict=True)) for _ in range(count)]


def test_one_more_retrained_model_passes_in_95_of_100_cases() -> None:
    passed, under = 0, 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        floor = Floor.of([rows(generator, 12) for _ in range(3)], KEYS)
        verdict = floor.judged([rows(generator, 1)[0] for _ in range(3)])
        passed += verdict.far <= verdict.limit
        under += verdict.gap <= verdict.gap_limit
    assert 0.88 <= passed / 100 <= 0.99
    assert 0.88 <= under / 100 <= 0.99


@pytest.mark.parametrize(("key", "off"), [("ua", 8.0), ("mia", -10.0), ("ra", -2.0), ("ta", 2.0), ("exposure", 0.1)])
def test_a_figure_that_is_off_is_named(key: str, off: float) -> None:
    generator = np.random.default_rng(1)
    floor = Floor.of([rows(generator, 8) for _ in range(3)], KEYS)
    own = [{**row, key: row[key] + off} for row in (rows(generator, 1)[0] for _ in range(3))]
    verdict = floor.judged(own)
    assert not verdict.within
    assert verdict.worst == key


def test_gaps_are_those_of_each_model_to_the_mean_of_the_others() -> None:
    own = rows(np.random.default_rng(2), 3)
    others = {key: (own[1][key] + own[2][key]) / 2 for key in KEYS}
    expected = np.mean([abs(own[0][key] - others[key]) for key in KEYS[:4]])
    assert Floor.of([own], KEYS).gaps[0] == pytest.approx(expected)
    assert len(Floor.of([own, own], KEYS).gaps) == 6
