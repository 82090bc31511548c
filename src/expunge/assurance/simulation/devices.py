"""Sensor and pump: what stands between a controller and a body."""

# mypy: disable-error-code="no-any-return"
# NumPy's arithmetic on annotated shapes is untyped.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from expunge.assurance.simulation.physiology import People
from expunge.randomness import numpy_generator

STEP: Final = 3
"""Minutes from one reading to the next."""

KNOT: Final = 15
"""Minutes from one draw of the sensor's error to the next; between them it follows a cubic spline."""

Rows = Float[np.ndarray, "rows people"]


@dataclass(frozen=True)
class Sensor:
    """A continuous monitor whose error is autoregressive under Johnson's unbounded transformation (Breton and
    Kovatchev, J. Diabetes Sci. Technol. 2, 2008); readings are clipped to what the device can show.

    **Arguments:** `memory` of the error over 15 minutes; `xi`, `scale` mg/dL, `gamma`, `delta`: the transformation;
    `low`, `high` mg/dL.
    """

    memory: float = 0.7
    xi: float = -5.47
    scale: float = 15.9574
    gamma: float = -0.5444
    delta: float = 1.6898
    low: float = 39.0
    high: float = 600.0

    def errors(self, names: Sequence[str], rows: int, seed: int) -> Rows:
        """mg/dL, a row each 3 minutes; a person's stream is named by the person."""
        from scipy.interpolate import CubicSpline

        knots = -(-(rows - 1) * STEP // KNOT) + 3
        drawn = np.stack([self._knots(numpy_generator(seed, f"glucose/sensor/{each}"), knots) for each in names], 1)
        found: Rows = CubicSpline(np.arange(knots) * KNOT, drawn)(np.arange(rows) * STEP)
        return found

    def _knots(self, rng: np.random.Generator, count: int) -> Float[np.ndarray, " knots"]:
        from scipy.signal import lfilter

        drawn = rng.standard_normal(count) * self.memory
        drawn[0] /= (1 - self.memory**2) ** 0.5  # stationary from the start
        moved = lfilter([1.0], [1.0, -self.memory], drawn)
        found: Float[np.ndarray, " knots"] = self.xi + self.scale * np.sinh((moved - self.gamma) / self.delta)
        return found

    def read(self, glucose: People, error: People) -> People:
        """What the device shows, mg/dL."""
        return np.clip(glucose + error, self.low, self.high)


@dataclass(frozen=True)
class Pump:
    """Rounds to what it can deliver. `basal` U/h, `bolus` U: increments; `most` U in one bolus, U/h of basal."""

    basal: float = 0.05
    bolus: float = 0.05
    most: float = 30.0

    def deliver(self, rate: People, dose: People) -> People:
        """Insulin over the next 3 minutes, U/min, for a basal rate (U/min) and a bolus (U)."""
        hourly = np.clip(np.round(60 * rate / self.basal) * self.basal, 0, self.most)
        return hourly / 60 + np.clip(np.round(dose / self.bolus) * self.bolus, 0, self.most) / STEP
