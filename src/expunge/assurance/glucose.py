"""The artificial pancreas: features from sensor and pump, the error grid, checks of the predictor, and its case.

Features of a moment t: readings 50, 40, 30, 20, 10 and 0 minutes ago (mg/dL); insulin delivered 60 to 30 and 30 to 0
minutes ago (U); carbohydrate eaten in the same spans (g); insulin on board (U) and carbohydrate on board (g), decaying
with 70 and 40 minutes. Target: the reading 30 (or 60) minutes later.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float

from expunge.assurance.evidence import Finding, Verdict
from expunge.assurance.sufficiency import column, group
from expunge.errors import OperatorError
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.training import Model

STEP: Final = 3
"""Minutes between rows."""

BACK: Final = (50, 40, 30, 20, 10, 0)
READINGS: Final = tuple(f"cgm_{minutes}" for minutes in BACK)
FEATURES: Final = (*READINGS, "insulin_60", "insulin_30", "carbs_60", "carbs_30", "iob", "cob")
RAW: Final = ("patient", "minute", "BG", "CGM", "CHO", "insulin")

Readings = Float[np.ndarray, " points"]


def prepare(source: Path, out: Path, *, every: int = 5, ahead: int = 30, seed: int = 0) -> dict[str, Any]:
    """Write the features of a raw table (`patient, minute, BG, CGM, CHO, insulin`) as CSV; returns what it holds.

    Held-out patients are drawn, a fifth of each group. Windows with an unphysiological reference (BG < 20 mg/dL) at
    either end are left out, and counted: the simulator has no counter-regulation, and nobody lives there. So are
    windows with a reading that is missing (empty or NaN) or with rows that are not 3 minutes apart.

    **Arguments:** `every`: rows between windows; `ahead`: minutes to the target; `seed`: of the draw.

    **Raises:** `OperatorError("bad-data" | "no-such-file")`.
    """
    patients = _read(source)
    test = held_out(list(patients), seed)
    kept = dropped = broken = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("record", "patient", "split", *FEATURES, "future"))
        for number, (name, rows) in enumerate(sorted(patients.items())):
            split = "test" if name in test else "train"
            for minute, values, target, sound in _windows(rows, every, ahead // STEP):
                whole = bool(np.isfinite([*values, target]).all())
                broken, dropped = broken + (not whole), dropped + (whole and not sound)
                if whole and sound:
                    kept += 1
                    writer.writerow(
                        (f"{number}-{minute:g}", name, split, *(f"{v:.5g}" for v in values), f"{target:.5g}")
                    )
    counts = {"records": kept, "left_out": dropped, "broken": broken, "patients": len(patients)}
    return {**counts, "held_out": sorted(test), "out": str(out)}


def held_out(patients: Sequence[str], seed: int, share: float = 0.2) -> frozenset[str]:
    """A share of each group's patients, at least one where the group has two; the same for one seed, in any order."""
    groups = {name: sorted(each for each in patients if group(each) == name) for name in sorted(map(group, patients))}
    found: set[str] = set()
    for name, members in groups.items():
        count = max(round(share * len(members)), 1) if len(members) > 1 else 0
        drawn = numpy_generator(seed, f"glucose/held-out/{name}").permutation(len(members))[:count]
        found |= {members[place] for place in drawn}
    return frozenset(found)


def _read(source: Path) -> dict[str, np.ndarray]:
    """[rows, minute BG CGM CHO insulin] of each patient."""
    if not source.is_file():
        raise OperatorError("no-such-file", f"no such file: {source.name}")
    found: dict[str, list[list[float]]] = {}
    with source.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != RAW:
            raise OperatorError("bad-data", f"the columns are {', '.join(RAW)}")
        try:
            for row in reader:
                found.setdefault(row["patient"], []).append([float(row[name] or "nan") for name in RAW[1:]])
        except (TypeError, ValueError):
            raise OperatorError("bad-data", f"line {reader.line_num} holds something else than numbers") from None
    return {name: np.array(rows) for name, rows in found.items()}


def _windows(rows: np.ndarray, every: int, ahead: int) -> Iterator[tuple[float, list[float], float, bool]]:
    """Minute, features (not finite where a reading is missing), target, and whether both ends are physiological."""
    minute, bg, cgm, cho, insulin = rows.T
    iob, cob = on_board(insulin, 70), on_board(cho, 40)
    for now in range(20, len(rows) - ahead, every):
        spans = [series[now - back : now - back + 10].sum() * STEP for series in (insulin, cho) for back in (20, 10)]
        readings = [cgm[now - back // STEP] for back in BACK]
        sound = min(bg[now], bg[now + ahead]) >= 20
        if minute[now + ahead] - minute[now - 20] != (20 + ahead) * STEP:
            readings = [float("nan")] * len(readings)
        yield minute[now], [*readings, *spans, iob[now], cob[now]], float(cgm[now + ahead]), bool(sound)


def on_board(rate: Readings, minutes: float) -> Readings:
    """What is left at each row of a rate per minute delivered before it, decaying exponentially."""
    from scipy.signal import lfilter

    decay = float(np.exp(-STEP / minutes))
    held: Readings = lfilter([0.0, decay * STEP], [1.0, -decay], rate)
    return held


def clarke(reference: Readings, predicted: Readings) -> dict[str, float]:
    """Shares of the zones A to E of Clarke's error grid (Clarke et al., Diabetes Care 10, 1987); mg/dL."""
    r, p = np.asarray(reference), np.asarray(predicted)
    a = ((r < 70) & (p < 70)) | (np.abs(p - r) <= 0.2 * r)
    e = ((r >= 180) & (p <= 70)) | ((r <= 70) & (p >= 180))
    c = ((r >= 70) & (r <= 290) & (p >= r + 110)) | ((r >= 130) & (r <= 180) & (p <= 7 / 5 * r - 182))
    d = ((r >= 240) & (p >= 70) & (p <= 180)) | ((r <= 175 / 3) & (p >= 70) & (p <= 180))
    d |= (r > 175 / 3) & (r <= 70) & (p >= 6 / 5 * r)
    zones, left = {}, np.ones(len(r), bool)
    for name, zone in (("A", a), ("E", e), ("C", c), ("D", d), ("B", left.copy())):
        zones[name] = float((zone & left).mean())
        left &= ~zone
    return zones


def predictions(model: Model, records: Records) -> tuple[Readings, Readings]:
    """Targets and predictions in mg/dL."""
    from expunge.records.preparation import restore_targets

    with torch.no_grad():
        raw = model.predict(records.features)
    truth = column_target(records)
    return truth, restore_targets(raw, records.preparation).numpy()


def column_target(records: Records) -> Readings:
    """Targets in the units of the file."""
    if records.raw is None or not isinstance(records.raw.target, torch.Tensor):
        raise OperatorError("bad-case", "this check needs a table with a target that is a number")
    values: Readings = records.raw.target.numpy()
    return values


@dataclass(frozen=True)
class Predicts:
    """RMSE on held-out people against persistence and linear autoregression, in every group.

    **Arguments** of the node: `last`: the column with the newest reading.
    """

    inputs: tuple[str, ...] = ("model", "train", "test")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Compare in each group."""
        train, test = subjects["train"], subjects["test"]
        truth, ours = predictions(subjects["model"], test)
        persistence, linear = column(test, arguments["last"]), linear_predictions(train, test)
        groups = np.array([group(owner) for owner in test.owners])
        figures: dict[str, float | None] = {}
        worse = []
        for name in ("all", *sorted(set(groups))):
            rows = groups == name if name != "all" else np.ones(len(groups), bool)
            found = [rmse(truth[rows], each[rows]) for each in (ours, persistence, linear)]
            labels = ("rmse", "persistence", "linear")
            figures |= {f"{name} {label}": value for label, value in zip(labels, found, strict=True)}
            worse += [name] if found[0] >= min(found[1:]) else []
        words = "better than persistence and linear autoregression in every group"
        words = words if not worse else f"no better than a simple predictor: {', '.join(worse)}"
        verdict = Verdict.FAILS if worse else Verdict.HOLDS
        return Finding(verdict, words, figures, "sqrt(mean (y - f(x))^2), mg/dL", "< both, each group")


def linear_predictions(train: Records, test: Records) -> Readings:
    """Least squares on the same features."""
    x = np.column_stack([train.features.double().numpy(), np.ones(len(train))])
    weights = np.linalg.lstsq(x, column_target(train), rcond=None)[0]
    found: Readings = np.column_stack([test.features.double().numpy(), np.ones(len(test))]) @ weights
    return found


def rmse(truth: Readings, predicted: Readings) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((truth - predicted) ** 2)))


@dataclass(frozen=True)
class ErrorGrid:
    """Share of predictions on held-out people in Clarke's zones A and B. `least` (share)."""

    inputs: tuple[str, ...] = ("model", "test")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """The zones."""
        zones = clarke(*predictions(subjects["model"], subjects["test"]))
        share, least = zones["A"] + zones["B"], float(arguments["least"])
        verdict = Verdict.HOLDS if share >= least else Verdict.FAILS
        words = f"{100 * share:.1f} % in zones A and B"
        figures: dict[str, float | None] = {**zones, "A+B": share}
        return Finding(verdict, words, figures, "(A + B) / predictions", f">= {least:g}")


@dataclass(frozen=True)
class Alarms:
    """Low glucose ahead: the share that the predictor announces, and its false alarms a day.

    **Arguments** of the node: `low`, `alarm` (mg/dL), `least` (share), `most` (a day), `minutes` between records.
    """

    inputs: tuple[str, ...] = ("model", "test")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Sensitivity and false alarms."""
        truth, predicted = predictions(subjects["model"], subjects["test"])
        low, said = truth < float(arguments["low"]), predicted < float(arguments["alarm"])
        days = len(truth) * float(arguments["minutes"]) / 1440
        false = float((said & ~low).sum() / days)
        if not low.any():
            return Finding(Verdict.UNDECIDED, "no low glucose in the test data", {"false alarms a day": false})
        sensitivity = float((said & low).sum() / low.sum())
        least, most = float(arguments["least"]), float(arguments["most"])
        verdict = Verdict.HOLDS if sensitivity >= least and false <= most else Verdict.FAILS
        words = f"{100 * sensitivity:.1f} % of lows announced, {false:.1f} false alarms a day"
        figures: dict[str, float | None] = {"sensitivity": sensitivity, "false alarms a day": false}
        return Finding(verdict, words, figures, "TP / (TP + FN); FP / days", f">= {least:g}; <= {most:g}")
