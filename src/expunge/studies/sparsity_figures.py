"""Pictures of the study `sparsity`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from expunge.reports import Axis, Bar, Group, Measured, Series, StudyFigure
from expunge.reports.figures import bars, lines, radar, scatter
from expunge.reports.forms import Sample

Row = dict[str, Any]
SHOWN = 5
"""Shapes that a radar can carry."""
CLOUDS = 8
"""Methods that a scatter can carry."""


def sparsity_figures(rows: Sequence[Row]) -> list[StudyFigure]:
    """Radars of two scenarios, gap against time, UA against the rate, sparsity, and the applications."""
    made = [_radar(rows, name) for name in ("class", "random 10 %")]
    made += [_time(rows), _exposure(rows), _doses(rows), _levels(rows), _asr(rows)]
    return [figure for figure in made if figure is not None]


def _mean(rows: Sequence[Row], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def _methods(rows: Sequence[Row], scenario: str) -> dict[str, list[Row]]:
    own = [row for row in rows if row["scenario"] == scenario and row["sparsity"] == 0]
    return {name: [row for row in own if row["method"] == name] for name in dict.fromkeys(row["method"] for row in own)}


def _radar(rows: Sequence[Row], scenario: str) -> StudyFigure | None:
    found = _methods(rows, scenario)
    if "retrain" not in found:
        return None
    others = [name for name in found if name not in ("retrain", "original")]
    order = sorted(others, key=lambda name: _mean(found[name], "gap"))
    picked = ["retrain", *dict.fromkeys([*order[: SHOWN - 3], *[n for n in ("l1-sparse", "fine-tune") if n in found]])]
    spokes = ("UA", "MIA-Efficacy", "RA", "TA", "time saved")

    def values(own: Sequence[Row]) -> list[float]:
        saved = 100 * max(0.0, 1 - min(1.0, _mean(own, "rte")))
        return [*(_mean(own, key) for key in ("ua", "mia", "ra", "ta")), saved]

    shapes = [Sample(name, values(found[name])) for name in picked[:SHOWN]]
    drawing = radar(f"Five figures, {scenario}", spokes, shapes, Axis("Points of 100", low=0.0, high=100.0))
    return StudyFigure(drawing, "The nearer to the shape of retraining on the first four, the better; time: outwards.")


def _time(rows: Sequence[Row]) -> StudyFigure | None:
    found = _methods(rows, "random 10 %")
    if "retrain" not in found:
        return None
    order = sorted({*found} - {"original", "retrain"}, key=lambda name: _mean(found[name], "gap"))
    clouds = [
        Series(name, [max(_mean(found[name], "rte"), 1e-3)], [_mean(found[name], "gap")])
        for name in ["retrain", *order[: CLOUDS - 1]]
    ]
    x, y = Axis("Share of retraining's processor seconds", log=True), Axis("Average gap, points")
    drawing = scatter("Gap against time, random 10 %", clouds, x, y)
    words = "The nearest methods; tuning not counted. Below retraining's own gap, the noise floor, none is better."
    return StudyFigure(drawing, words)


def _exposure(rows: Sequence[Row]) -> StudyFigure | None:
    found = {
        name: [row for row in own if row["exposure"] is not None] for name, own in _methods(rows, "random 10 %").items()
    }
    groups = [
        Group(
            name,
            (
                Bar("LiRA", Measured(_mean(own, "exposure"))),
                Bar("one threshold", Measured(_mean(own, "weak_auc"))),
            ),
        )
        for name, own in found.items()
        if own
    ]
    if not groups:
        return None
    drawing = bars("Membership of the forgotten records", groups, Axis("AUC", low=0.0, high=1.0), mark=0.5)
    return StudyFigure(drawing, "What LiRA sees beside what one threshold on confidence sees; 0.5 is a coin.")


def _doses(rows: Sequence[Row]) -> StudyFigure | None:
    own = [row for row in rows if row["scenario"] == "dose" and row["method"] == "fine-tune"]
    if not own:
        return None
    rates = sorted({row["lr"] for row in own})
    curves = [
        Series(label, rates, [_mean([row for row in own if row["lr"] == rate], key) for rate in rates])
        for label, key in (("UA", "ua"), ("RA", "ra"), ("TA", "ta"))
    ]
    drawing = lines("Fine-tuning: the rate is the dose", curves, Axis("Learning rate", log=True), Axis("Points of 100"))
    return StudyFigure(drawing, "Class-wise: what fine-tuning forgets hangs on its rate; one rate for all says little.")


def _levels(rows: Sequence[Row]) -> StudyFigure | None:
    own = [row for row in rows if row["scenario"] == "prune-first" and row["method"] == "fine-tune"]
    if not own:
        return None
    levels = sorted({row["sparsity"] for row in own})
    curves = [
        Series(label, levels, [_mean([row for row in own if row["sparsity"] == level], key) for level in levels])
        for label, key in (("UA", "ua"), ("MIA-Efficacy", "mia"), ("TA", "ta"))
    ]
    drawing = lines("Prune first, then fine-tune", curves, Axis("Sparsity"), Axis("Points of 100"))
    return StudyFigure(drawing, "A batch-norm network, class-wise, at rate 0.03: the sign is what it is on this data.")


def _asr(rows: Sequence[Row]) -> StudyFigure | None:
    own = [row for row in rows if row["scenario"] == "backdoor"]
    if not own:
        return None
    groups = [
        Group(
            name,
            (
                Bar("obeys the patch", Measured(_mean([row for row in own if row["method"] == name], "asr"))),
                Bar("test accuracy", Measured(_mean([row for row in own if row["method"] == name], "ta"))),
            ),
        )
        for name in dict.fromkeys(row["method"] for row in own)
    ]
    drawing = bars("Cleansing a backdoor", groups, Axis("Points of 100"))
    return StudyFigure(drawing, "Stamped test images that go where the attacker wants, and clean ones that go right.")
