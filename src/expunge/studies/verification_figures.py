"""Pictures of the study `verification`: step errors, tolerance, detection against work, exposure, storage."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from expunge.reports import Axis, Bar, Group, Measured, Series, StudyFigure, Unit
from expunge.reports.figures import bars, lines
from expunge.studies.claims import mean_interval
from expunge.studies.verification_forging import LIMITS

Row = dict[str, Any]

SHOWN = ("honest, reversed", "nearest", "uniform", "unrelated")


def verification_figures(rows: Sequence[Row]) -> list[StudyFigure]:
    """One for each question that the study answers."""
    found = [_tolerance(rows, share) for share in sorted({r["share_deleted"] for r in rows if r["part"] == "forging"})]
    return [*found, _epochs(rows), _found(rows), _curve(rows), _exposure(rows), _storage(rows)]


def _tolerance(rows: Sequence[Row], share: float) -> StudyFigure:
    series = []
    forged = [row for row in rows if row["part"] == "forging" and row["share_deleted"] == share]
    for kind in SHOWN:
        own = [row["curve"] for row in forged if row["proof"] == kind]
        series.append(Series(_NAMES[kind], LIMITS, np.mean(own, axis=0).tolist()))
    drawing = lines(
        f"Steps that pass, {100 * share:g} % deleted",
        series,
        Axis("Tolerance (L2)", log=True),
        Axis("Share of steps", Unit.SHARE, low=0.0, high=1.0),
    )
    words = "A curve is a distribution of step errors; proof of learning's default tolerance, 10, is at the right end."
    return StudyFigure(drawing, words)


_NAMES = {
    "honest, reversed": "honest, batches reversed",
    "nearest": "forged, nearest",
    "uniform": "random record",
    "unrelated": "unrelated batch",
}


def _epochs(rows: Sequence[Row]) -> StudyFigure:
    series = []
    forged = [row for row in rows if row["part"] == "forging" and row["proof"] == "nearest"]
    for share in sorted({row["share_deleted"] for row in forged}):
        own = [row["slipped_by_epoch"] for row in forged if row["share_deleted"] == share]
        length = min(len(each) for each in own)
        mean = np.mean([each[:length] for each in own], axis=0).tolist()
        series.append(Series(f"{100 * share:g} % deleted", list(range(1, length + 1)), mean))
    axis = Axis("Share of forged steps", Unit.SHARE, low=0.0, high=1.0)
    drawing = lines("Forged steps below the calibrated tolerance", series, Axis("Epoch"), axis)
    return StudyFigure(drawing, "Late in training an easy record has almost no gradient, and its absence errs little.")


def _found(rows: Sequence[Row]) -> StudyFigure:
    found = {row["provider"]: row["found"] / row["trials"] for row in rows if row["part"] == "committed"}
    groups = []
    for row in (each for each in rows if each["part"] == "beside"):
        refused = Measured(1 - row["passed"] / row["trials"])
        words = {"committed schedule": Measured(found[row["provider"]]), "literature's replay": refused}
        groups.append(Group(row["provider"], tuple(Bar(word, share) for word, share in words.items())))
    drawing = bars("Runs refused, by provider and verifier", groups, Axis("Share of runs", Unit.SHARE))
    caption = "The literature's verifier replays every step at proof of learning's tolerance, and binds no file in use."
    return StudyFigure(drawing, caption)


def _curve(rows: Sequence[Row]) -> StudyFigure:
    points = [row for row in rows if row["part"] == "curve"]
    series = []
    for faked in sorted({row["faked"] for row in points})[1:4]:
        own = [row for row in points if row["faked"] == faked]
        work = [row["work"] for row in own]
        series.append(Series(f"measured, {100 * faked:.0f} % faked", work, [row["measured"] for row in own]))
        series.append(Series(f"formula, {100 * faked:.0f} % faked", work, [row["formula"] for row in own]))
    drawing = lines(
        "Detection against the verifier's work",
        series,
        Axis("Work, share of retraining", Unit.SHARE, log=True),
        Axis("Probability of detection", Unit.SHARE, low=0.0, high=1.0),
    )
    return StudyFigure(
        drawing,
        "Faked segments of ordinary size, all work spent on draws from the whole run; formula 1 - (1 - f)^q. "
        "The default verifier spends half and more of it on segments that stand out: its q is smaller, as it says.",
    )


def _exposure(rows: Sequence[Row]) -> StudyFigure:
    own = [row for row in rows if row["part"] == "literature"]
    groups = []
    for name in dict.fromkeys(row["provider"] for row in own):
        found = [row for row in own if row["provider"] == name]
        keys = {"D_f": "accuracy_forgotten", "D_r": "accuracy_retained", "test": "accuracy_test"}
        groups.append(Group(name, tuple(Bar(word, _mean(found, key)) for word, key in keys.items())))
    drawing = bars("Accuracy of what each provider deploys", groups, Axis("Accuracy", Unit.SHARE))
    return StudyFigure(
        drawing, "Read the retraining attacks against honest retraining and the control; forging deploys the original."
    )


def _mean(rows: Sequence[Row], key: str) -> Measured:
    values = [row[key] for row in rows]
    low, high = mean_interval(values) or (None, None)
    return Measured(float(np.mean(values)), low, high)


def _storage(rows: Sequence[Row]) -> StudyFigure:
    own = [row for row in rows if row["part"] == "storage"]
    series = [Series("proof", [row["every"] for row in own], [row["bytes_per_step"] for row in own])]
    drawing = lines(
        "Size of a proof",
        series,
        Axis("Steps between checkpoints", log=True, ticks=tuple(row["every"] for row in own)),
        Axis("Bytes for each step", log=True),
    )
    return StudyFigure(drawing, f"A network of {own[0]['weights']:,} weights with momentum.")
