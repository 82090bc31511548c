"""Virtual people: drawn from a population of our own, or the thirty that simglucose brings where it is installed."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool

from expunge.assurance.simulation.physiology import KIDNEY, Bodies, People, Physiology
from expunge.errors import OperatorError
from expunge.randomness import numpy_generator

GROUPS: Final = ("adolescent", "adult", "child")

TYPICAL: Final[Mapping[str, tuple[float, float, float, float]]] = {
    "bw": (47.1, 84.6, 35.3, 0.18),
    "gb": (143.7, 142.6, 138.9, 0.04),
    "egpb": (3.12, 2.49, 2.91, 0.16),
    "ib": (103.4, 107.2, 106.9, 0.12),
    "kabs": (0.128, 0.134, 0.145, 0.6),
    "kmax": (0.0327, 0.0371, 0.0397, 0.4),
    "kmin": (0.0096, 0.0065, 0.0102, 0.4),
    "b": (0.755, 0.777, 0.752, 0.15),
    "d": (0.176, 0.168, 0.135, 0.3),
    "vg": (1.84, 1.84, 1.86, 0.08),
    "vi": (0.0498, 0.0509, 0.0546, 0.23),
    "vmx": (0.0539, 0.0458, 0.0931, 0.4),
    "km0": (230.9, 235.7, 227.6, 0.1),
    "k1": (0.0639, 0.0601, 0.0652, 0.3),
    "k2": (0.116, 0.12, 0.0986, 0.4),
    "p2u": (0.0326, 0.0322, 0.0501, 0.35),
    "m1": (0.17, 0.189, 0.218, 0.35),
    "cl": (0.726, 1.156, 0.377, 0.1),
    "ki": (0.0103, 0.0075, 0.0079, 0.5),
    "kp2": (0.0065, 0.0039, 0.004, 0.5),
    "kp3": (0.0112, 0.0084, 0.0103, 0.5),
    "kd": (0.0164, 0.0158, 0.0163, 0.1),
    "ksc": (0.0824, 0.0921, 0.0873, 0.27),
    "ka1": (0.0036, 0.0033, 0.0039, 0.3),
    "ka2": (0.0165, 0.0153, 0.0183, 0.32),
}
"""Geometric mean of each group, and the standard deviation of the logarithm: fitted to the thirty of simglucose."""

ATTEMPTS: Final = 200
"""Draws for one person before the population is said to be impossible."""


def draw(count: int, seed: int, first: int = 1) -> Physiology:
    """`count` people of each group, `child#001` on: log-normal, each parameter on its own, a person's stream named by
    the person, so that more people change nobody. Whom no fasting state keeps alive is drawn again."""
    names = [f"{group}#{number:03d}" for group in GROUPS for number in range(first, first + count)]
    drawn = [_person(name, seed) for name in names]
    return Physiology(tuple(names), *(np.array([each[key] for each in drawn]) for key in TYPICAL))


def _person(name: str, seed: int) -> dict[str, float]:
    rng, place = numpy_generator(seed, f"glucose/person/{name}"), GROUPS.index(name.split("#")[0])
    for _ in range(ATTEMPTS):
        found = {key: row[place] * float(np.exp(row[3] * rng.standard_normal())) for key, row in TYPICAL.items()}
        if possible(Physiology((name,), *(np.array([value]) for value in found.values())))[0]:
            return found
    raise OperatorError("bad-data", f"nobody of group {name.split('#')[0]} could be drawn")


def possible(who: Physiology) -> Bool[np.ndarray, " people"]:
    """Whose fasting state exists, and who empties a stomach in the order of the model."""
    alive = (who.egpb > 1.2) & (who.tissue > 20) & (who.infusion > 0) & (who.plasma < KIDNEY[1])
    return alive & (who.kmin < who.kmax) & (who.b < 0.95) & (who.d < who.b)


def installed() -> Physiology:
    """The thirty virtual patients of simglucose, read from the installed package.

    **Raises:** `OperatorError("no-simglucose")` without the extra.
    """
    with (_folder() / "vpatient_params.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = {name.lower(): name for name in rows[0]}
    names = tuple(row["Name"] for row in rows)
    wanted = [each.name for each in fields(Physiology) if each.name != "names"]
    values = {name: np.array([float(row[keys[name]]) for row in rows]) for name in (*wanted, "m2")}
    # The clearance of adult#004 contradicts its rates: the rates are what is simulated.
    values["cl"] = values.pop("m2") * values["vi"] * values["bw"]
    return Physiology(names, **values)


def _folder() -> Path:
    found = find_spec("simglucose")
    if found is None or not found.submodule_search_locations:
        raise OperatorError("no-simglucose", "the package simglucose is not installed")
    return Path(found.submodule_search_locations[0]) / "params"


@dataclass(frozen=True, eq=False)
class Therapy:
    """What a clinic would tell each person.

    **Arguments:** `basal` U/min; `ratio`: grams that a unit covers; `correction`: mg/dL that a unit takes away.
    """

    basal: People
    ratio: People
    correction: People

    def select(self, places: Sequence[int]) -> "Therapy":
        """The therapy of the people at `places`."""
        rows = list(places)
        return Therapy(self.basal[rows], self.ratio[rows], self.correction[rows])


def titrate(who: Physiology, meal: float = 50.0, minutes: int = 180, candidates: int = 24) -> Therapy:
    """The ratio under which glucose is back where it was, `minutes` after a meal (g); the correction by the rules of
    500 and 1800 from the same daily dose.

    All candidates from 2 to 60 g/U are tried at once, with a straight line in the logarithm between them. After 180
    minutes the ratios of simglucose's thirty are, in geometric mean, those that its clinic gives them.
    """
    tried, people = np.geomspace(2.0, 60.0, candidates), len(who.bw)
    rows = np.repeat(np.arange(people), candidates)
    every = who.select(rows.tolist())
    bodies, nothing = Bodies(every), np.zeros_like(every.bw)
    for minute in range(minutes):
        dose = meal / np.tile(tried, people) if minute == 0 else nothing
        bodies.minute(nothing + meal * (minute == 0), every.basal + dose)
    above = (bodies.glucose - every.gb).reshape(people, candidates)
    ratio = np.exp([np.interp(0.0, np.maximum.accumulate(each), np.log(tried)) for each in above])
    return Therapy(who.basal, ratio, 3.6 * ratio)
