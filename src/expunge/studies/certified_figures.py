"""Pictures of the study `certified`: accuracy beside the honest alternatives, and what the games could show."""

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
    return [_accuracy(done), _time(done), _curves(curve), _poison(poison), _games(games)]


def _accuracy(rows: Sequence[Row]) -> StudyFigure:
    groups = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        shown = [Bar("after the deletion", _measured([row["accuracy_test"] for row in own]))]
        fresh = [row["accuracy_fresh_network"] for row in own if row.get("accuracy_fresh_network") is not None]
        shown += [Bar("a fresh network at equal effort", _measured(fresh))] if fresh else []
        groups.append(Group(method, tuple(shown)))
    drawing = bars("Test accuracy", groups, Axis("Share right on the test set", Unit.SHARE))
    return StudyFigure(drawing, "A method that is not above the fresh network has kept nothing of the training.")


def _time(rows: Sequence[Row]) -> StudyFigure:
    groups = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        groups.append(Group(method, (Bar("seconds over retraining's", _measured([row["time_share"] for row in own])),)))
    drawing = bars("Time of a deletion", groups, Axis("Share of retraining the network", log=True))
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


def _measured(values: Sequence[float]) -> Measured:
    interval, middle = mean_interval(values), float(np.mean(values))
    return Measured(middle) if interval is None else Measured(middle, max(interval[0], 0.0), interval[1])
