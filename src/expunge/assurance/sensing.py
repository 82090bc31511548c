"""Accuracy of a sensor against its reference, as a check; and what is to be known of a raw table of glucose."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from expunge.assurance.evidence import Check, Finding, Verdict
from expunge.assurance.forecasting import Readings, zoned
from expunge.assurance.glucose import RAW, Rows, held_out, on_board
from expunge.assurance.series import Gaps, Outliers
from expunge.assurance.simulation.loop import INSULIN_MINUTES
from expunge.assurance.sufficiency import Balanced, Complete, Coverage, Independent, Plausible, column
from expunge.records import Records
from expunge.records.columns import Columns
from expunge.records.table import table

LOWEST: Final = 20.0
"""mg/dL: no reference below is divided by, and none is physiological."""


@dataclass(frozen=True)
class SensorError:
    """Accuracy: mean absolute relative difference of readings to their reference, and their error grid.

    **Arguments** of the node: `reading`, `reference`: columns; `most` (MARD, share), `least` (share in zones A and B),
    `grid`. References below 20 mg/dL are unphysiological: they are counted and left out.
    """

    inputs: tuple[str, ...] = ("train rows",)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """MARD and zones."""
        records: Records = subjects[self.inputs[0]]
        reading, reference = (column(records, arguments[name]) for name in ("reading", "reference"))
        usable = np.isfinite(reading) & np.isfinite(reference) & (reference >= LOWEST)
        if not usable.any():
            return Finding(Verdict.UNDECIDED, "no reading has a reference")
        found = zoned(reference[usable], reading[usable], arguments, "Readings over the zones of Parkes' grid")
        difference, most = mard(reference[usable], reading[usable]), float(arguments["most"])
        figures = {**found.figures, "MARD": difference, "left out": float((~usable).sum())}
        holds = found.verdict is Verdict.HOLDS and difference <= most
        words = f"MARD {100 * difference:.1f} %; {found.words}"
        formula = f"mean |reading - reference| / reference; {found.formula}"
        verdict = Verdict.HOLDS if holds else Verdict.FAILS
        return Finding(verdict, words, figures, formula, f"<= {most:g}; {found.threshold}", found.details)


def mard(reference: Readings, reading: Readings) -> float:
    """Mean absolute relative difference, a share."""
    return float((np.abs(reading - reference) / reference).mean())


RANGES: Final = [[20, 54], [54, 70], [70, 180], [180, 250], [250, 601]]
GROUPS: Final = ["adolescent", "adult", "child"]
EDGES: Final = {"BG": [54, 70, 180, 250], "rate": [-2, -1, 1, 2], "CHO": [0.5], "iob": [1, 4]}
"""mg/dL, mg/dL/min, g/min, U."""

HAZARDS: Final = {"groups": GROUPS, "column": "BG", "ranges": RANGES}

JUDGES: Final[tuple[tuple[str, Check, Mapping[str, Any]], ...]] = (
    ("Relevance: three-way coverage", Coverage(), {"columns": EDGES, "ways": 3, "least": 0.8}),
    ("Completeness: each group in each range", Complete(), {**HAZARDS, "least": 5}),
    ("Completeness: gaps in raw readings", Gaps(), {"every": 3, "longest": 30, "most": 0.02, "unit": "min"}),
    ("Balance: groups and people behind each range", Balanced(), {**HAZARDS, "least_share": 0.2, "least_people": 3}),
    ("Accuracy: the sensor", SensorError(), {"reading": "CGM", "reference": "BG", "most": 0.15, "least": 0.95}),
    ("Accuracy: unphysiological reference", Plausible(), {"columns": {"BG": [LOWEST, 600]}, "most": 0.0}),
    ("Accuracy: readings at the sensor's limits", Plausible(), {"columns": {"CGM": [39.5, 599.5]}, "most": 0.01}),
    ("Accuracy: jumps of the reading", Outliers(), {"columns": ["rate"], "beyond": 6, "most": 0.01}),
    ("Independence of train and test", Independent(), {}),
)
"""What a raw table is asked, with thresholds; coverage is over glucose, its rate, carbohydrate and insulin on board."""


def judge(patients: Mapping[str, Rows], seed: int = 0) -> dict[str, Finding]:
    """Findings on a raw table, by question; the held-out patients are those of `glucose.prepare` with this seed."""
    found = as_records(patients, held_out(list(patients), seed))
    everything, apart = {"train rows": found}, {"train rows": found.train, "test rows": found.test}
    return {
        name: check.run(apart if isinstance(check, Independent) else everything, arguments)
        for name, check, arguments in JUDGES
    }


def as_records(patients: Mapping[str, Rows], test: frozenset[str]) -> Records:
    """Rows as records, with the rate of change (mg/dL/min) and insulin on board; rows without readings are gaps."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in (*RAW[1:], "rate", "iob")}
    names: list[str] = []
    for who, rows in patients.items():
        iob = on_board(np.nan_to_num(rows[:, 4]), INSULIN_MINUTES)
        rate = np.diff(rows[:, 2], prepend=rows[0, 2]) / np.maximum(np.diff(rows[:, 0], prepend=rows[0, 0] - 3), 1e-9)
        whole = np.isfinite(rows).all(1) & np.isfinite(rate)
        names += [who] * int(whole.sum())
        for column_of, values in zip(columns.values(), (*rows.T, rate, iob), strict=True):
            column_of.append(values[whole])
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    ids = [f"{who}-{minute:g}" for who, minute in zip(names, joined.pop("minute"), strict=True)]
    split = ["test" if who in test else "train" for who in names]
    cells = {**joined, "target": joined["CGM"], "record": ids, "patient": names, "split": split}
    return table(cells, Columns("target", "patient", "record", "split", regression=True))
