"""The closed loop: sensor, controller, pump, body; and the traces that it leaves."""

# mypy: disable-error-code="no-any-return"
# NumPy's arithmetic on annotated shapes is untyped.

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from expunge.assurance.simulation.devices import STEP, Pump, Rows, Sensor
from expunge.assurance.simulation.physiology import People, Plant
from expunge.assurance.simulation.population import Therapy
from expunge.assurance.simulation.scenario import ROWS_A_DAY, Scenario
from expunge.progress import Progress, task

INSULIN_MINUTES: Final = 70.0
CARBS_MINUTES: Final = 40.0
"""Time in which what is on board falls to 1/e."""

HOUR: Final = 60 // STEP
SENSOR: Final = Sensor()
PUMP: Final = Pump()


@dataclass(eq=False)
class Moment:
    """What a controller sees at row `now`: readings up to now, and what was eaten (g/min) and delivered (U/min) in the
    rows before; insulin (U) and carbohydrate (g) on board; grams announced now."""

    therapy: Therapy
    cgm: Rows
    cho: Rows
    insulin: Rows
    iob: People
    cob: People
    announced: People
    now: int = 0

    def pass_on(self) -> None:
        """To the next row: what is on board decays exponentially."""
        self.iob = _left(self.iob + STEP * self.insulin[self.now], INSULIN_MINUTES)
        self.cob = _left(self.cob + STEP * self.cho[self.now], CARBS_MINUTES)
        self.now += 1


def _left(held: People, minutes: float) -> People:
    return held * float(np.exp(-STEP / minutes))


Forecast = Callable[[Moment], People]
"""Glucose in half an hour, mg/dL, as somebody sees it at a moment."""


def current(moment: Moment) -> People:
    """The reading of now: a controller without a predictor."""
    return moment.cgm[moment.now]


@dataclass(frozen=True)
class Controller:
    """Basal insulin and meal boluses, and two rules on what the forecast says: no insulin where it is low, a
    correction, less what is on board already, where it is high.

    **Arguments:** `forecast`; `low`, `high`: where the rules begin; `target`: what a correction aims at (mg/dL);
    `share` of the full correction; `rest`: rows between corrections. `low=0, high=inf` is basal and boluses alone.
    """

    forecast: Forecast = current
    low: float = 80.0
    high: float = 180.0
    target: float = 140.0
    share: float = 0.5
    rest: int = HOUR

    def decide(self, moment: Moment) -> tuple[People, People]:
        """Basal rate (U/min) and bolus (U)."""
        therapy, meal = moment.therapy, moment.announced / moment.therapy.ratio
        if moment.now < HOUR:
            return therapy.basal, meal
        ahead = self.forecast(moment)
        low = ahead < self.low
        usual = therapy.basal * INSULIN_MINUTES  # on board under basal insulin alone
        wanted = self.share * ((ahead - self.target) / therapy.correction - np.maximum(moment.iob - usual, 0))
        due = (moment.now % self.rest == 0) & (ahead > self.high)
        dose = np.where(low, 0, meal + np.where(due, np.maximum(wanted, 0), 0))
        return np.where(low, 0, therapy.basal), dose


@dataclass(frozen=True, eq=False)
class Traces:
    """A row each 3 minutes: reference and reading (mg/dL), and what was eaten (g/min) and delivered (U/min) from then
    to the next row."""

    CHANNELS: ClassVar = ("bg", "cgm", "cho", "insulin")

    names: tuple[str, ...]
    bg: Rows
    cgm: Rows
    cho: Rows
    insulin: Rows


def run(
    plant: Plant,
    therapy: Therapy,
    scenario: Scenario,
    controller: Controller,
    *,
    sensor: Sensor = SENSOR,
    pump: Pump = PUMP,
    progress: Progress | None = None,
) -> Traces:
    """Take the people in `plant` through their days under `controller`."""
    bg, cgm, cho, insulin = (np.zeros_like(scenario.meals) for _ in range(4))
    held = therapy.basal * INSULIN_MINUTES
    moment = Moment(therapy, cgm, cho, insulin, held, np.zeros_like(held), np.zeros_like(held))
    with task(progress, "simulated days", len(scenario) // ROWS_A_DAY) as advance:
        for row, meal in enumerate(scenario.meals):
            bg[row] = plant.glucose
            cgm[row] = sensor.read(bg[row], scenario.errors[row])
            moment.announced = meal * scenario.counted[row]
            insulin[row] = pump.deliver(*controller.decide(moment))
            cho[row] = meal / STEP
            for minute in range(STEP):
                plant.minute(meal * (minute == 0), insulin[row])
            moment.pass_on()
            if moment.now % ROWS_A_DAY == 0:
                advance()
    return Traces(scenario.names, bg, cgm, cho, insulin)
