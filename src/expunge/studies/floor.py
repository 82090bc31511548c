"""The noise floor as a test: may a model be one more of those that were retrained?

A retrained model differs from the mean of the *other* retrained models by chance alone. Those leave-one-out differences
are the floor; a method is held against the mean of all retrained models in the same way. So that several figures do not
offer several chances to fail, the largest difference, in the floor's own spread, is the statistic: a retrained model
passes in 95 of 100 cases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from expunge.randomness import numpy_generator

CLASSIC: Final = ("ua", "mia", "ra", "ta")
SMALLEST: Final = {"ua": 0.25, "mia": 0.25, "ra": 0.25, "ta": 0.25, "exposure": 0.005}
"""Spread that a figure has at least: where all retrained models are right on every record, one record is no proof."""

QUANTILE, DRAWS = 0.95, 4000

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """How far a method is from retraining, and how far a retrained model would be in one of twenty cases.

    **Arguments:** `far`, `limit`: the statistic, in spreads; `worst`: the figure that is furthest out; `gap`,
    `gap_limit`: the literature's average gap in points, and the same quantile of it for retrained models.
    """

    far: float
    limit: float
    worst: str
    gap: float
    gap_limit: float

    @property
    def within(self) -> bool:
        """Whether a retrained model could have shown these figures."""
        return self.far <= self.limit and self.gap <= self.gap_limit


@dataclass(frozen=True, eq=False)
class Floor:
    """Leave-one-out differences of retrained models: `[seeds, models, figures]`, and the means they are taken from."""

    keys: tuple[str, ...]
    means: Float[np.ndarray, "seeds figures"]
    differences: tuple[Float[np.ndarray, "models figures"], ...]

    @staticmethod
    def of(references: Sequence[Sequence[Row]], keys: Sequence[str]) -> "Floor":
        """From the rows of retrained models, at least two for each seed."""
        tables = [np.array([[row[key] for key in keys] for row in own], dtype=float) for own in references]
        means = np.stack([table.mean(0) for table in tables])
        apart = tuple((table - mean) * len(table) / (len(table) - 1) for table, mean in zip(tables, means, strict=True))
        return Floor(tuple(keys), means, apart)

    @property
    def gaps(self) -> list[float]:
        """The average gap of each retrained model to the mean of the others."""
        return [float(gap) for table in self.differences for gap in np.abs(table[:, self._classic]).mean(1)]

    def judged(self, rows: Sequence[Row]) -> Verdict:
        """One row of a method for each seed, in the order of the seeds."""
        own = np.array([[row[key] for key in self.keys] for row in rows], dtype=float) - self.means
        drawn = self._drawn()
        spread = np.maximum(drawn.mean(1).std(0), [SMALLEST[key] for key in self.keys])
        known = (np.abs(drawn.mean(1)) / spread).max(1)
        apart = np.abs(own.mean(0)) / spread
        return Verdict(
            float(apart.max()),
            float(np.quantile(known, QUANTILE)),
            self.keys[int(apart.argmax())],
            _gap(own[:, self._classic]),
            float(np.quantile(np.abs(drawn[:, :, self._classic]).mean((1, 2)), QUANTILE)),
        )

    def _drawn(self) -> Float[np.ndarray, "draws seeds figures"]:
        """What repetitions show whose method is retraining: one retrained model for each seed."""
        generator = numpy_generator(0, "study/floor")
        return np.stack([table[generator.integers(len(table), size=DRAWS)] for table in self.differences], axis=1)

    @property
    def _classic(self) -> list[int]:
        return [place for place, key in enumerate(self.keys) if key in CLASSIC]


def _gap(differences: Float[np.ndarray, "seeds figures"]) -> float:
    return float(np.abs(differences).mean())
