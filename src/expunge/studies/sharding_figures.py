"""Pictures of the study `sharding`: cost by formula and by simulation, accuracy against shards, what was measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from expunge.reports import Axis, Bar, Group, Measured, Series, StudyFigure, Unit
from expunge.reports.figures import bars, lines
from expunge.studies.claims import mean_interval

Row = dict[str, Any]


def sharding_figures(rows: Sequence[Row]) -> list[StudyFigure]:
    """Cost of a deletion, accuracy, and measured work."""
    return [_cost(rows), _accuracy(rows), _work(rows)]


def _cost(rows: Sequence[Row]) -> StudyFigure:
    series = []
    for slices in sorted({row["slices"] for row in rows}):
        own = [row for row in rows if row["slices"] == slices]
        shards = sorted({row["shards"] for row in own})
        simulated = [_mean(own, shard, "share_simulated") for shard in shards]
        low, high = ([_mean(own, shard, f"share_simulated_{end}") for shard in shards] for end in ("low", "high"))
        formula = [_mean(own, shard, "share_by_formula") for shard in shards]
        series.append(Series(f"simulated, {slices} slice(s)", shards, simulated, low, high))
        series.append(Series(f"formula, {slices} slice(s)", shards, formula))
    drawing = lines(
        "Cost of one deletion, as a share of retraining",
        series,
        Axis("Shards", log=True, ticks=tuple(sorted({row["shards"] for row in rows}))),
        Axis("Share of retraining", Unit.SHARE, log=True),
    )
    caption = "Formula (2R+1)/(3Rm) for m shards and R slices; simulation over fresh assignments of the real owners."
    return StudyFigure(drawing, caption)


def _accuracy(rows: Sequence[Row]) -> StudyFigure:
    series = []
    for slices in sorted({row["slices"] for row in rows}):
        own = [row for row in rows if row["slices"] == slices]
        shards = sorted({row["shards"] for row in own})
        values = [[row["accuracy_after"] for row in own if row["shards"] == shard] for shard in shards]
        middle = [float(np.mean(value)) for value in values]
        ends = [mean_interval(value) or (centre, centre) for value, centre in zip(values, middle, strict=True)]
        low, high = [max(0.0, end[0]) for end in ends], [min(1.0, end[1]) for end in ends]
        series.append(Series(f"{slices} slice(s)", shards, middle, low, high))
    drawing = lines(
        "Test accuracy after the deletion",
        series,
        Axis("Shards", log=True, ticks=tuple(sorted({row["shards"] for row in rows}))),
        Axis("Share right on the test set", Unit.SHARE),
    )
    return StudyFigure(drawing, "What cheap deletions cost: each network sees 1/m of the owners. Mean over seeds.")


def _work(rows: Sequence[Row]) -> StudyFigure:
    groups = []
    for shards, slices in sorted({(row["shards"], row["slices"]) for row in rows}):
        own = [row for row in rows if (row["shards"], row["slices"]) == (shards, slices)]
        named = {"deletion": "gradient_evaluations", "retraining": "retraining_evaluations"}
        shown = [Bar(name, _measured([row[key] for row in own])) for name, key in named.items()]
        stopped = [row["retraining_stopped_evaluations"] for row in own if row["retraining_stopped_evaluations"]]
        shown += [Bar("retraining stopped at the same accuracy", _measured(stopped))] if stopped else []
        groups.append(Group(f"{shards} shards, {slices} slices", tuple(shown)))
    drawing = bars("Measured work of deleting one owner", groups, Axis("Gradient evaluations", log=True))
    caption = (
        "Stopped retraining is one plain network trained until it first reaches the sharded model's test accuracy: the "
        "honest alternative. Where no seed's network got there, there is no bar."
    )
    return StudyFigure(drawing, caption)


def _measured(values: Sequence[float]) -> Measured:
    interval = mean_interval(values)
    middle = float(np.mean(values))
    return Measured(middle) if interval is None else Measured(middle, max(interval[0], 0.0), interval[1])


def _mean(rows: Sequence[Row], shards: int, key: str) -> float:
    return float(np.mean([row[key] for row in rows if row["shards"] == shards]))
