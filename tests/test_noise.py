"""Noise: the distribution that it says, and no way to draw it again from a seed."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from expunge.errors import ExpungeError
from expunge.noise import normal
from expunge.randomness import torch_generator
from expunge.unlearning.release import gaussian


def test_noise_is_standard_normal_and_independent() -> None:
    for key in (None, bytes(range(32))):
        drawn = normal(200_001, key, "a")
        assert len(drawn) == 200_001
        assert kstest(drawn, "norm").pvalue > 1e-4
        assert abs(float(np.corrcoef(drawn[:100_000], drawn[100_000:200_000])[0, 1])) < 5 / 100_000**0.5
        assert float((drawn**4).mean()) == pytest.approx(3, abs=0.15)


def test_a_key_draws_the_same_again_by_name_and_nothing_else_does() -> None:
    key = bytes(range(32))
    assert np.array_equal(normal(9, key, "a"), normal(9, key, "a"))
    assert not np.array_equal(normal(9, key, "a"), normal(9, key, "b"))
    assert not np.array_equal(normal(9), normal(9))
    torch.manual_seed(0)
    first = gaussian(torch.zeros(3, 2), 2.0, None, "a")
    torch.manual_seed(0)
    assert not torch.equal(first, gaussian(torch.zeros(3, 2), 2.0, None, "a"))
    with pytest.raises(ExpungeError) as caught:
        normal(9, b"short")
    assert caught.value.code == "bad-hyperparameter"


def test_seeds_would_not_do() -> None:
    """Why: the generator behind seeds keeps 32 bits of one, which an attacker can try out."""
    one, other = (torch.Generator().manual_seed(5 + times * 2**32) for times in (0, 77))
    assert torch.equal(torch.randn(8, generator=one), torch.randn(8, generator=other))
    assert torch_generator(0, "a").initial_seed() != torch_generator(1, "a").initial_seed()
