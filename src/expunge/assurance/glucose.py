"""The artificial pancreas: features from sensor and pump, and the patients that are held out.

Features of a moment t: readings 50, 40, 30, 20, 10 and 0 minutes ago (mg/dL); insulin delivered 60 to 30 and 30 to 0
minutes ago (U); carbohydrate eaten in the same spans (g); insulin on board (U) and carbohydrate on board (g), decaying
with 70 and 40 minutes. Target: the reading 30 (or 60) minutes later.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from expunge.assurance.simulation.devices import STEP
from expunge.assurance.simulation.generation import check_out
from expunge.assurance.simulation.loop import CARBS_MINUTES, INSULIN_MINUTES
from expunge.assurance.sufficiency import group
from expunge.errors import OperatorError
from expunge.randomness import numpy_generator

LOW: Final = 70.0
HIGH: Final = 250.0
"""Hazards, mg/dL."""

BEFORE: Final = 20
"""Rows of the past that features look at: an hour."""

BACK: Final = (50, 40, 30, 20, 10, 0)
READINGS: Final = tuple(f"cgm_{minutes}" for minutes in BACK)
FEATURES: Final = (*READINGS, "insulin_60", "insulin_30", "carbs_60", "carbs_30", "iob", "cob")
RAW: Final = ("patient", "minute", "BG", "CGM", "CHO", "insulin")

Readings = Float[np.ndarray, " points"]
Rows = Float[np.ndarray, "rows 5"]
"""One patient: minute, BG, CGM, CHO (g/min), insulin (U/min)."""


def prepare(
    source: Path,
    out: Path,
    *,
    every: int = 5,
    ahead: int = 30,
    seed: int = 0,
    form: str = "window",
    target: str = "future",
) -> dict[str, Any]:
    """Write the features of a raw table (`patient, minute, BG, CGM, CHO, insulin`) as CSV; returns what it holds.

    Held-out patients are drawn, a fifth of each group. Windows with an unphysiological reference (BG < 20 mg/dL) at
    either end are left out, and counted: the simulator has no counter-regulation, and nobody lives there. So are
    windows with a reading that is missing (empty or NaN) or with rows that are not 3 minutes apart.

    **Arguments:** `every`: rows between windows; `ahead`: minutes to the target; `seed`: of the draw; `form`: `window`
    or `sequence` (all 20 steps of the hour); `target`: `future` or `hazard` (what comes by then: none, low, high).

    **Raises:** `OperatorError("bad-data" | "no-such-file" | "bad-arguments")`.
    """
    check_choice("form", form, FORMS)
    check_choice("target", target, TARGETS)
    check_out(out)
    patients = read(source)
    columns, counts = tabled(patients, held_out(list(patients), seed), every=every, ahead=ahead, form=form)
    names = ("record", "patient", "split", *FORMS[form][0], target)
    partial = out.with_name(f".{out.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in zip(*(columns[name] for name in names), strict=True):
            writer.writerow([f"{value:.5g}" if isinstance(value, float) else value for value in row])
    os.replace(partial, out)
    test = sorted({who for who, split in zip(columns["patient"], columns["split"], strict=True) if split == "test"})
    return {**counts, "patients": len(patients), "held_out": test, "out": str(out)}


def tabled(
    patients: Mapping[str, Rows], test: frozenset[str], *, every: int = 5, ahead: int = 30, form: str = "window"
) -> tuple[dict[str, list[Any]], dict[str, int]]:
    """The windows of all patients as columns by name, with every target of `TARGETS`; and how many were left out."""
    names = FORMS[form][0]
    columns: dict[str, list[Any]] = {name: [] for name in ("record", "patient", "split", *names, *TARGETS)}
    dropped = broken = 0
    for number, (who, rows) in enumerate(sorted(patients.items())):
        for minute, values, target, hazard, sound in _windows(rows, every, ahead // STEP, form):
            whole = bool(np.isfinite([*values, target]).all())
            broken, dropped = broken + (not whole), dropped + (whole and not sound)
            if whole and sound:
                found = (f"{number}-{minute:g}", who, "test" if who in test else "train", *values, target, hazard)
                for column, value in zip(columns.values(), found, strict=True):
                    column.append(value)
    return columns, {"records": len(columns["record"]), "left_out": dropped, "broken": broken}


def held_out(patients: Sequence[str], seed: int, share: float = 0.2) -> frozenset[str]:
    """A share of each group's patients, at least one where the group has two; the same for one seed, in any order."""
    groups = {name: sorted(each for each in patients if group(each) == name) for name in sorted(map(group, patients))}
    found: set[str] = set()
    for name, members in groups.items():
        count = max(round(share * len(members)), 1) if len(members) > 1 else 0
        drawn = numpy_generator(seed, f"glucose/held-out/{name}").permutation(len(members))[:count]
        found |= {members[place] for place in drawn}
    return frozenset(found)


def read(source: Path) -> dict[str, Rows]:
    """The raw table by patient; raises `OperatorError("bad-data" | "no-such-file")`."""
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


def _windows(rows: Rows, every: int, ahead: int, form: str) -> Iterator[tuple[float, list[float], float, str, bool]]:
    """Minute, features (not finite where a reading is missing), target, hazard, and whether both ends are
    physiological."""
    minute, bg, cgm, cho, insulin = rows.T
    iob, cob = on_board(insulin, INSULIN_MINUTES), on_board(cho, CARBS_MINUTES)
    seen = FORMS[form][1]
    for now in range(BEFORE, len(rows) - ahead, every):
        values = seen(cgm, cho, insulin, iob[now], cob[now], now)
        sound = min(bg[now], bg[now + ahead]) >= 20
        if minute[now + ahead] - minute[now - BEFORE] != (BEFORE + ahead) * STEP:
            values = [float("nan")] * len(values)
        coming = cgm[now + 1 : now + ahead + 1]
        yield minute[now], [float(v) for v in values], float(cgm[now + ahead]), hazard_of(coming), bool(sound)


def hazard_of(coming: Readings) -> str:
    """`low` where a reading is below 70 mg/dL, else `high` where one is above 250, else `none`."""
    return "low" if (coming < LOW).any() else "high" if (coming > HIGH).any() else "none"


def window(cgm: Any, cho: Any, insulin: Any, iob: Any, cob: Any, now: int) -> list[Any]:
    """Features at row `now` (`FEATURES`): of one person, or of all at once where the arrays are `[rows, people]`."""
    spans = [series[now - back : now - back + 10].sum(0) * STEP for series in (insulin, cho) for back in (20, 10)]
    return [*(cgm[now - back // STEP] for back in BACK), *spans, iob, cob]


def sequence(cgm: Any, cho: Any, insulin: Any, iob: Any, cob: Any, now: int) -> list[Any]:
    """Features at row `now` (`SEQUENCE`): 20 times a reading with insulin and carbohydrate of the row before it; then
    what is on board."""
    steps = [(cgm[row], insulin[row - 1], cho[row - 1]) for row in range(now - BEFORE + 1, now + 1)]
    return [*(value for step in steps for value in step), iob, cob]


SEQUENCE: Final = (
    *(f"{name}_{STEP * back}" for back in range(BEFORE - 1, -1, -1) for name in ("cgm", "insulin", "carbs")),
    "iob",
    "cob",
)
"""Columns of the form `sequence`: oldest step first."""

FORMS: Final = {"window": (FEATURES, window), "sequence": (SEQUENCE, sequence)}
TARGETS: Final = ("future", "hazard")


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raise `OperatorError("bad-arguments")` for a value that is none of `known`."""
    if value not in known:
        raise OperatorError("bad-arguments", f"{name} is one of {', '.join(known)}, not {value[:20]!r}")


def on_board(rate: Readings, minutes: float) -> Readings:
    """What is left at each row of a rate per minute delivered before it, decaying exponentially."""
    from scipy.signal import lfilter

    decay = float(np.exp(-STEP / minutes))
    held: Readings = lfilter([0.0, decay * STEP], [1.0, -decay], rate)
    return held
