"""A temporal specification over what a predictor says of held-out people, as a check."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from expunge.assurance.evidence import Finding, Verdict
from expunge.assurance.forecasting import predictions
from expunge.assurance.pictures import curve, shown
from expunge.assurance.series import times_of
from expunge.assurance.sufficiency import column
from expunge.assurance.temporal import Formula, Signals, parse, robustness
from expunge.records import Records
from expunge.records.preparation import feature_names
from expunge.training import Model


@dataclass(frozen=True)
class Specification:
    """Signal temporal logic over each held-out person's records in the order of time, with its robustness.

    **Arguments** of the node: `formula` (plain JSON, see `temporal.parse`; signals are the columns, `future` and
    `predicted`), `every` (time between records), `least` (share of the people who meet it). A person's records are cut
    where one is missing; the least robust piece counts.
    """

    inputs: tuple[str, ...] = ("model", "test")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Robustness of each person, least first."""
        every, least = float(arguments["every"]), float(arguments["least"])
        signals = _signals(subjects["model"], subjects["test"])
        formula = parse(arguments["formula"], every, list(signals))
        found = np.array(sorted(_of_each(formula, signals, subjects["test"], every).values()))
        share = float((found > 0).mean())
        words = f"{int((found > 0).sum())} of {len(found)} people meet the specification"
        figures = {"share": share, "least robustness": float(found[0]), "median robustness": float(np.median(found))}
        drawn = curve("Robustness, least first", "people", "robustness", [_curve(found)])
        verdict = Verdict.HOLDS if share >= least else Verdict.FAILS
        return Finding(
            verdict, words, figures, "robustness > 0 at a person's first record", f">= {least:g}", shown(drawn)
        )


def _curve(found: Float[np.ndarray, " people"]) -> dict[str, Any]:
    clipped = found.clip(-600, 600)  # nothing to judge by is infinite
    return {"label": "people", "x": list(range(1, len(found) + 1)), "y": clipped.tolist()}


def _signals(model: Model, test: Records) -> dict[str, Float[np.ndarray, " records"]]:
    truth, said = predictions(model, test)
    columns = {name: column(test, name) for name in feature_names(test.preparation)}
    return {**columns, "future": truth, "predicted": said}


def _of_each(formula: Formula, signals: Signals, test: Records, every: float) -> dict[str, float]:
    times_of(test)  # refuses ids without a time
    times = np.array([float(name.rpartition("-")[2]) for name in test.ids])
    owners = np.array(test.owners)
    found = {}
    for who in sorted(set(test.owners)):
        rows = np.flatnonzero(owners == who)
        rows = rows[np.argsort(times[rows])]
        pieces = np.split(rows, np.flatnonzero(np.diff(times[rows]) > 1.5 * every) + 1)
        found[who] = min(
            float(robustness(formula, {name: values[piece] for name, values in signals.items()})) for piece in pieces
        )
    return found
