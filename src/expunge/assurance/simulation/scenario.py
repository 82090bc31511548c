"""What happens to people from day to day: meals, how well they are counted, and the sensor's errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from expunge.assurance.simulation.devices import STEP, Rows, Sensor
from expunge.randomness import numpy_generator

ROWS_A_DAY: Final = 1440 // STEP

MEALS: Final = (
    (0.95, 7.0, 1.0, 45, 10),
    (0.3, 9.5, 0.5, 10, 5),
    (0.95, 12.0, 1.0, 70, 10),
    (0.3, 15.0, 0.5, 10, 5),
    (0.95, 18.0, 1.0, 80, 10),
    (0.3, 21.5, 0.5, 10, 5),
)
"""Probability; hour and its spread; grams and their spread: three meals and three snacks, as simglucose has them."""

CHILD: Final = 0.6
"""A child's meals beside an adult's."""


@dataclass(frozen=True, eq=False)
class Scenario:
    """The days of some people, a row each 3 minutes from midnight.

    **Arguments:** `meals`: grams begun in the row; `counted`: what the person tells the controller, as a multiple;
    `errors` of the sensor, mg/dL.
    """

    names: tuple[str, ...]
    meals: Rows
    counted: Rows
    errors: Rows

    def __len__(self) -> int:
        return len(self.meals)

    def select(self, places: Sequence[int]) -> "Scenario":
        """The days of the people at `places`."""
        rows = list(places)
        names = tuple(self.names[place] for place in rows)
        return Scenario(names, self.meals[:, rows], self.counted[:, rows], self.errors[:, rows])


def days(names: Sequence[str], count: int, seed: int, counted: tuple[float, float] = (0.0, 1.5)) -> Scenario:
    """`count` days; each meal is counted at a multiple drawn uniformly from `counted`, so that hazards occur.

    A person's stream is named by the person: more people change nobody's days.
    """
    rows = count * ROWS_A_DAY
    meals, told = np.zeros((rows, len(names))), np.ones((rows, len(names)))
    for place, name in enumerate(names):
        rng, size = numpy_generator(seed, f"glucose/meals/{name}"), CHILD if name.startswith("child") else 1.0
        for day in range(count):
            for row, grams, multiple in _day(rng, counted):
                meals[day * ROWS_A_DAY + row, place] += round(size * grams)
                told[day * ROWS_A_DAY + row, place] = multiple
    return Scenario(tuple(names), meals, told, Sensor().errors(names, rows, seed))


def _day(rng: np.random.Generator, counted: tuple[float, float]) -> list[tuple[int, float, float]]:
    found = []
    for chance, hour, spread, grams, varies in MEALS:
        eaten, late, more = rng.random() < chance, np.clip(rng.standard_normal(), -2, 2), rng.standard_normal()
        multiple = rng.uniform(*counted)
        if eaten:
            found.append((round((hour + spread * late) * 60 / STEP), max(grams + varies * more, 1.0), multiple))
    return found
