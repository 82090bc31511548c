"""The linear model behind the default estimator: used where there is enough to learn it from, and not before."""

import numpy as np
import pytest

from expunge.valuation import Partition
from expunge.valuation.adjusted import _priority
from expunge.valuation.strata import strata
from expunge.valuation.surrogate import Samples, residuals


def linear(samples: int, noise: float = 0.0) -> Samples:
    """Two strata a fold, four folds; utility is a sum over six units."""
    generator = np.random.default_rng(0)
    group = np.sort(np.arange(samples) % 8)
    chosen = (np.argsort(generator.random((samples, 6)), axis=1) < 3).astype(np.float64)
    return Samples(
        chosen=chosen,
        beside=np.zeros((samples, 0)),
        b=np.zeros(samples, np.int64),
        c=np.full(samples, 3),
        group=group,
        fold=group // 2,
        utility=chosen @ np.arange(6.0) + noise * generator.standard_normal(samples),
        weight=np.ones(samples),
    )


@pytest.mark.parametrize(("samples", "modelled"), [(40, False), (48, True)])
def test_a_model_needs_a_degree_of_freedom_for_every_coefficient(samples: int, modelled: bool):
    """Thirty coefficients; 36 of 48 samples in the other folds, less a mean for each of six strata, are thirty."""
    found = linear(samples)
    left, effects = residuals(found, 4)
    assert bool(effects.any()) is modelled
    assert bool(left.std() < 0.1 * found.utility.std()) is modelled


def test_pure_noise_gains_nothing_from_a_model_of_many_samples_and_loses_nothing_with_few():
    for samples, most in ((40, 1.0), (4000, 1.01)):
        found = linear(samples, noise=100.0)
        assert residuals(found, 4)[0].std() <= most * found.utility.std()


def test_two_draws_that_agree_do_not_end_a_stratum():
    partition = Partition.even(12, 3)
    plan = strata(partition, 2, 4)
    noise = np.ones(len(plan))
    noise[::2] = 0.0
    even = np.ones(len(plan))
    few, many = (
        _priority(partition, plan, noise, have) / _priority(partition, plan, even, have)
        for have in (np.full(len(plan), 2), np.full(len(plan), 2000))
    )
    assert few[::2].min() > 0.3 * few[1::2].max()
    assert many[::2].max() < 0.1 * many[1::2].min()
