import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from expunge.auditing.intervals import UNMEASURED, Estimate, auc, detection_rate, mean, next_value, roc, share
from expunge.errors import ExpungeError

scores = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=12).map(np.array)


def labelled(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.r_[np.ones(len(members)), np.zeros(len(others))], np.r_[members, others]


@given(scores, scores)
def test_auc_is_the_share_of_ordered_pairs_and_scikit_learns(members: np.ndarray, others: np.ndarray):
    pairs = [(m > o) + 0.5 * (m == o) for m in members for o in others]
    found = auc(members, others)
    assert found.value == pytest.approx(sum(pairs) / len(pairs))
    assert found.value == pytest.approx(roc_auc_score(*labelled(members, others)))
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


@given(scores, scores)
def test_area_under_the_corners_is_the_auc(members: np.ndarray, others: np.ndarray):
    corners = roc(members, others)
    assert corners[0] == (0, 0)
    assert corners[-1] == (1, 1)
    xs, ys = zip(*corners, strict=True)
    assert np.trapezoid(ys, xs) == pytest.approx(auc(members, others).value)


def test_interval_is_delongs_on_the_logit_scale():
    """Against the double sum of DeLong's covariance, written out."""
    rng = np.random.default_rng(3)
    members, others = rng.normal(1, 1, 60), rng.normal(0, 1, 80)
    kernel = np.array([[(m > o) + 0.5 * (m == o) for o in others] for m in members])
    value = kernel.mean()
    variance = kernel.mean(1).var(ddof=1) / 60 + kernel.mean(0).var(ddof=1) / 80
    half = 1.959963985 * np.sqrt(variance) / (value * (1 - value))
    ends = [1 / (1 + np.exp(-(np.log(value / (1 - value)) + sign * half))) for sign in (-1, 1)]
    assert [auc(members, others).low, auc(members, others).high] == pytest.approx(ends)


@pytest.mark.parametrize("side", ["members", "others"])
def test_one_class_alone_is_refused(side: str):
    empty, some = np.array([]), np.array([1.0, 2.0])
    for figure in (auc, roc, lambda m, o: detection_rate(m, o, 0.05)):
        with pytest.raises(ExpungeError, match="one side is empty") as caught:
            figure(*((empty, some) if side == "members" else (some, empty)))
        assert caught.value.code == "bad-data"


def test_what_is_not_a_number_gives_no_estimate():
    bad, good = np.array([0.1, np.nan]), np.array([0.2, 0.3])
    assert auc(bad, good) == auc(good, bad) == detection_rate(good, bad, 0.05) == mean(bad) == UNMEASURED
    assert mean(np.array([])) == share(np.array([], dtype=bool)) == UNMEASURED
    assert auc(np.array([np.inf, 1.0]), np.array([-np.inf, 0.0])).value == 1.0


def test_perfect_order_of_few_pairs_is_not_certain():
    found = auc(np.arange(10.0, 15), np.arange(5.0))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 5))  # Clopper-Pearson of 5 in 5


def covered(draw, truth: float, runs: int = 600) -> float:
    """Share of simulated intervals that hold the truth."""
    found = [draw(np.random.default_rng(number)) for number in range(runs)]
    assert all(isinstance(each, Estimate) for each in found)
    return float(np.mean([each.low <= truth <= each.high for each in found]))


@pytest.mark.parametrize("sizes", [(3, 45), (8, 360), (60, 60)])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_auc_intervals_cover(sizes: tuple[int, int], shift: float):
    def draw(rng: np.random.Generator) -> Estimate:
        return auc(rng.normal(shift, 1, sizes[0]), rng.normal(0, 1, sizes[1]))

    # 600 runs of 95 % have a standard error of 0.9 points.
    assert covered(draw, norm.cdf(shift / np.sqrt(2))) >= 0.925


@pytest.mark.parametrize("rate", [0.01, 0.05])
@pytest.mark.parametrize("others", [100, 1000])
def test_detection_rate_intervals_cover(rate: float, others: int):
    def draw(rng: np.random.Generator) -> Estimate:
        return detection_rate(rng.normal(1.5, 1, 40), rng.normal(0, 1, others), rate)

    truth = norm.sf(norm.isf(rate) - 1.5)
    assert covered(draw, truth) >= 0.94
    assert np.mean([draw(np.random.default_rng(n)).high < 1 for n in range(20)]) > 0.9


def test_share_and_mean_intervals_cover():
    assert covered(lambda rng: share(rng.random(14) < 0.1), 0.1) >= 0.94
    assert covered(lambda rng: mean(rng.normal(3, 2, 8)), 3.0) == pytest.approx(0.95, abs=0.03)
    assert covered(lambda rng: mean(rng.exponential(1, 30)), 1.0) >= 0.89


@given(scores, scores, st.sampled_from([0.01, 0.05, 0.2, 0.5]))
def test_detection_rate_is_the_last_corner_within_the_rate(members: np.ndarray, others: np.ndarray, rate: float):
    false, true, _ = roc_curve(*labelled(members, others), drop_intermediate=False)
    assert detection_rate(members, others, rate).value == pytest.approx(true[false <= rate + 1e-12].max())


def test_few_others_cannot_bound_a_small_rate():
    members, others = np.arange(100.0, 140), np.arange(50.0)
    assert detection_rate(members, others, 0.01).value == 1
    assert detection_rate(members, others, 0.01).low == 0
    assert detection_rate(members, np.arange(437) / 10, 0.01).low > 0.8


def test_the_next_draw_falls_within_at_95_percent():
    for count in (2, 5):
        rng = np.random.default_rng(count)
        draws = rng.normal(10, 3, (4000, count + 1))
        ends = [next_value(list(row[:-1])) for row in draws]
        inside = [low <= row[-1] <= high for row, (low, high) in zip(draws, ends, strict=True)]
        assert np.mean(inside) == pytest.approx(0.95, abs=0.012)
    assert next_value([1.0]) is None


@pytest.mark.parametrize("hits", [0, 1, 7, 20])
def test_shares_have_the_exact_interval_of_scipy(hits: int):
    from scipy.stats import binomtest

    ends = binomtest(hits, 20).proportion_ci(0.95, "exact")
    found = share(np.arange(20) < hits)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def test_scaled_shares_and_means_that_cannot_be_negative():
    assert share(np.array([True, False, False, False]), 100.0).value == 25.0
    assert mean(np.array([0.0, 0.0, 0.9])).low == 0.0
    assert mean(np.array([-0.1, 0.0, 0.9])).low < 0
    assert mean(np.array([0.4])) == Estimate(0.4)
