"""Clinical error grids: what a wrong glucose value would lead a person to do."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float

from expunge.assurance.pictures import grid

Readings = Float[np.ndarray, " points"]
Zones = Mapping[str, float]
"""Share of the points in each zone, A to E."""

UPPER: Final = {
    "E": ((0, 150), (35, 155), (50, 550)),
    "D": ((0, 100), (25, 100), (50, 125), (80, 215), (125, 550)),
    "C": ((0, 60), (30, 60), (50, 80), (70, 110), (260, 550)),
    "B": ((0, 50), (30, 50), (140, 170), (280, 380), (430, 550)),
}
LOWER: Final = {
    "D": ((250, 0), (250, 40), (550, 150)),
    "C": ((120, 0), (120, 30), (260, 130), (550, 250)),
    "B": ((50, 0), (50, 30), (170, 145), (385, 300), (550, 450)),
}
"""Where each zone of Parkes' grid for type 1 diabetes begins (Parkes et al., Diabetes Care 23, 2000; corners after
Pfuetzner et al., J. Diabetes Sci. Technol. 7, 2013): (reference, value), mg/dL."""

DRAWN: Final = 400
"""Points in a picture."""


def clarke(reference: Readings, predicted: Readings) -> dict[str, float]:
    """Shares of the zones A to E of Clarke's error grid (Clarke et al., Diabetes Care 10, 1987); mg/dL."""
    r, p = np.asarray(reference), np.asarray(predicted)
    a = ((r < 70) & (p < 70)) | (np.abs(p - r) <= 0.2 * r)
    e = ((r >= 180) & (p <= 70)) | ((r <= 70) & (p >= 180))
    c = ((r >= 70) & (r <= 290) & (p >= r + 110)) | ((r >= 130) & (r <= 180) & (p <= 7 / 5 * r - 182))
    d = ((r >= 240) & (p >= 70) & (p <= 180)) | ((r <= 175 / 3) & (p >= 70) & (p <= 180))
    d |= (r > 175 / 3) & (r <= 70) & (p >= 6 / 5 * r)
    return _shares({"A": a, "E": e, "C": c, "D": d, "B": np.ones(len(r), bool)})


def parkes(reference: Readings, predicted: Readings) -> dict[str, float]:
    """Shares of the zones A to E of Parkes' consensus error grid for type 1 diabetes; mg/dL."""
    r, p = np.asarray(reference, float), np.asarray(predicted, float)
    zones: dict[str, Bool[np.ndarray, " points"]] = {}
    for name in "EDCB":
        zones[name] = p > _line(UPPER[name], r)
        if name in LOWER:
            zones[name] |= (r >= LOWER[name][0][0]) & (p < _line(LOWER[name][1:], r))
    return _shares({**zones, "A": np.ones(len(r), bool)})


def _line(corners: tuple[tuple[int, int], ...], r: Readings) -> Readings:
    """The broken line through the corners at `r`; beyond the last corner it goes on as before."""
    x, y = np.array(corners, float).T
    slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
    found: Readings = np.where(r > x[-1], y[-1] + slope * (r - x[-1]), np.interp(r, x, y))
    return found


def _shares(zones: Mapping[str, Bool[np.ndarray, " points"]]) -> dict[str, float]:
    """The first zone that holds a point is its zone."""
    left = np.ones(len(next(iter(zones.values()))), bool)
    found = {}
    for name, zone in zones.items():
        found[name] = float((zone & left).mean())
        left &= ~zone
    return found


def picture(title: str, reference: Readings, predicted: Readings) -> dict[str, Any]:
    """Evenly chosen points over the borders of Parkes' zones, as a picture of a finding."""
    rows = np.unique(np.linspace(0, len(reference) - 1, min(DRAWN, len(reference))).astype(int))
    points = [[round(float(each[row]), 1) for row in rows] for each in (reference, predicted)]
    top = max(200.0, *(max(each) for each in points))
    borders = {f"above {name}": _border(UPPER[name], top) for name in UPPER}
    borders |= {f"below {name}": _border(LOWER[name], top) for name in LOWER}
    return grid(title, "reference, mg/dL", "value, mg/dL", points, borders)


def _border(corners: tuple[tuple[int, int], ...], top: float) -> list[list[float]]:
    """The part of a line inside a square of side `top`."""
    if corners[0][0] >= top:
        return [[], []]
    start = [float(x) for x, _ in corners[:1]]
    x = np.unique([*start, *np.linspace(start[0], top, 60), *(float(x) for x, _ in corners if x < top)])
    vertical = corners[0][0] == corners[1][0]
    y = _line(corners[1:] if vertical else corners, x)
    inside = y <= top
    if vertical:
        return [[start[0], *x[inside].tolist()], [0.0, *y[inside].tolist()]]
    return [x[inside].tolist(), y[inside].tolist()]


GRIDS: Final[Mapping[str, Callable[[Readings, Readings], dict[str, float]]]] = {"clarke": clarke, "parkes": parkes}
"""Grids that a check may ask for."""
