"""Claims of a study: a figure, its interval, and the mark that it is held against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class StudyClaim:
    """A figure with the mark it is held against.

    **Arguments:**

    - `value`: a number; yes and no as 1 and 0; `None` where this data cannot answer, and `why` says why.
    - `interval`: 95 % confidence; `None` for a value without randomness.
    - `target`: the mark in words, such as `">= 5"`.
    - `holds`: whether the value meets it; `None` without value or mark.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    target: str | None = None
    holds: bool | None = None
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        body: dict[str, Any] = {"name": self.name, "value": self.value, "interval": None}
        if self.interval is not None:
            body["interval"] = list(self.interval)
        return {**body, "target": self.target, "holds": self.holds, "why": self.why}


def mean_claim(
    name: str, values: Sequence[float], target: str | None = None, holds: Callable[[float], bool] | None = None
) -> StudyClaim:
    """The mean of independent repetitions with its t interval."""
    if not values:
        return StudyClaim(name, None, None, target, None, "no repetition yields this figure on this data")
    mean = float(np.mean(values))
    return StudyClaim(name, mean, mean_interval(values), target, None if holds is None else bool(holds(mean)))


def share_claim(
    name: str, outcomes: Sequence[bool], target: str | None = None, holds: Callable[[float], bool] | None = None
) -> StudyClaim:
    """The share of repetitions with a yes, with its exact (Clopper-Pearson) interval."""
    from scipy.stats import binomtest

    if not outcomes:
        return StudyClaim(name, None, None, target, None, "no repetition yields this figure on this data")
    share = sum(outcomes) / len(outcomes)
    exact = binomtest(sum(outcomes), len(outcomes)).proportion_ci(CONFIDENCE, "exact")
    return StudyClaim(
        name, share, (float(exact.low), float(exact.high)), target, None if holds is None else bool(holds(share))
    )


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of a mean at 95 %; `None` for a single value, which has no spread to judge by."""
    from scipy.stats import t

    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    half = float(t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * error
    return mean - half, mean + half
