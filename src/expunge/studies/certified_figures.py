"""Pictures of the study `certified`: accuracy beside the honest alternatives, and what the games could show."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from expunge.reports import Axis, Bar, Group, Measured, Series, StudyFigure, Unit
from expunge.reports.figures import bars, lines
from expunge.studies.claims import mean_interval

Row = dict[str, Any]


def certified_figures(rows: Sequence[Row]) -> list[StudyFigure]:
    """Test accuracy, time, curves after the certificate, poison, and games."""
    done, curve, poison, games = (
        [row for row in rows if row["part"] == part] for part in ("deletion", "curves", "poison", "games")
    )
    networks = dict.fromkeys(row["network"] for row in done)
    each = [[row for row in done if row["network"] == name] for name in networks]
    drawn = [make(name, own) for make in (_accuracy, _time) for name, own in zip(networks, each, strict=True)]
    return [*drawn, _curves(curve), _poison(poison), _games(games)]


def _accuracy(network: str, rows: Sequence[Row]) -> StudyFigure:
    groups = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        shown = [Bar("after the deletion", _measured(own, "accuracy_test", 1.0))]
        if own[0].get("accuracy_fresh_network") is not None:
            shown.append(Bar("a fresh network at equal effort", _measured(own, "accuracy_fresh_network", 1.0)))
        groups.append(Group(method, tuple(shown)))
    drawing = bars(f"Test accuracy beside the {network}", groups, Axis("Share right on the test set", Unit.SHARE))
    return StudyFigure(drawing, "A method that is not above the fresh network has kept nothing of the training.")


def _time(network: str, rows: Sequence[Row]) -> StudyFigure:
    groups = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        groups.append(Group(method, (Bar("seconds over retraining's", _measured(own, "time_share")),)))
    drawing = bars(
        f"Time of a deletion beside the {network}", groups, Axis("Share of retraining the network", log=True)
    )
    return StudyFigure(drawing, "Processor seconds over those of retraining the network on what is left, in one run.")


def _curves(rows: Sequence[Row]) -> StudyFigure:
    names = [name for name in rows[0] if name not in ("part", "epochs")]
    shown = [
        Series(name, tuple(float(row["epochs"]) for row in rows), tuple(row[name] for row in rows)) for name in names
    ]
    drawing = lines("Accuracy after the certificate", shown, Axis("Epochs"), Axis("Share right", Unit.SHARE))
    return StudyFigure(drawing, "Ordinary training after the noise, beside a network that was never trained before.")


def _poison(rows: Sequence[Row]) -> StudyFigure:
    groups = [Group(row["method"], (Bar("|Z|", Measured(abs(row["z"]))),)) for row in rows]
    drawing = bars("Poison that is still found", groups, Axis("Standard deviations"), mark=2.6)
    return StudyFigure(drawing, "Below 2.6 nothing of the forgotten records' poison is found in the model.")


def _games(rows: Sequence[Row]) -> StudyFigure:
    groups = [
        Group(
            row["game"],
            (
                Bar("claimed", Measured(row["claimed_epsilon"])),
                Bar("shown by an attacker", Measured(row["shown_epsilon"])),
            ),
        )
        for row in rows
    ]
    drawing = bars("Epsilon", groups, Axis("Epsilon"))
    return StudyFigure(drawing, "What attackers show is a lower bound at 95 %; above the claim, the claim is false.")


def _measured(rows: Sequence[Row], name: str, most: float = math.inf) -> Measured:
    """The mean over shares deleted; its interval is over the seeds, and shares of one seed are no repetitions."""
    seeds = dict.fromkeys(row["seed"] for row in rows)
    values = [float(np.mean([row[name] for row in rows if row["seed"] == seed])) for seed in seeds]
    interval, middle = mean_interval(values), float(np.mean(values))
    return Measured(middle) if interval is None else Measured(middle, max(interval[0], 0.0), min(interval[1], most))
