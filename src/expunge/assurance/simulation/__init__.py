"""Virtual people with type 1 diabetes, their devices and days, and the closed loop around them."""

from expunge.assurance.simulation.devices import STEP, Pump, Sensor
from expunge.assurance.simulation.generation import BASAL_BOLUS, generate, simulate
from expunge.assurance.simulation.loop import Controller, Forecast, Moment, Traces, current, run
from expunge.assurance.simulation.peer import Simglucose
from expunge.assurance.simulation.physiology import Bodies, Physiology, Plant
from expunge.assurance.simulation.population import Therapy, draw, installed, titrate
from expunge.assurance.simulation.scenario import Scenario, days

__all__ = [
    "BASAL_BOLUS",
    "STEP",
    "Bodies",
    "Controller",
    "Forecast",
    "Moment",
    "Physiology",
    "Plant",
    "Pump",
    "Scenario",
    "Sensor",
    "Simglucose",
    "Therapy",
    "Traces",
    "current",
    "days",
    "draw",
    "generate",
    "installed",
    "run",
    "simulate",
    "titrate",
]
