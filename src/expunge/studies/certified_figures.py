"""Pictures of the study `certified`: accuracy beside the honest alternatives, and what the games could show."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from expunge.reports import Axis, Bar, Group, Measured, StudyFigure, Unit
from expunge.reports.figures import bars
from expunge.studies.claims import mean_interval

Row = dict[str, Any]


def certified_figures(rows: Sequence[Row]) -> list[StudyFigure]:
    """Test accuracy, time, and games."""
    done = [row for row in rows if row["part"] == "deletion"]
    return [_accuracy(done), _time(done), _games([row for row in rows if row["part"] == "games"])]


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
    return StudyFigure(drawing, "Seconds over those of retraining the network on what is left, in the same run.")


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
