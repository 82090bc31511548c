"""The predictor at work: a controller that acts on what it says, on virtual people that nobody trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float

from expunge.assurance.evidence import Finding, Verdict
from expunge.assurance.glucose import FEATURES, FORMS
from expunge.assurance.pictures import bars, shown
from expunge.assurance.simulation import Bodies, Controller, Forecast, Moment, Traces, days, draw, run, titrate
from expunge.errors import OperatorError
from expunge.records.preparation import Preparation, feature_names, features_of, restore_targets
from expunge.training import Model

RANGES: Final = {
    "below 54": (-np.inf, 54.0),
    "below 70": (-np.inf, 70.0),
    "70 to 180": (70.0, 180.0),
    "above 180": (180.0, np.inf),
    "above 250": (250.0, np.inf),
}
"""Time in range after the consensus of Battelino et al. (Diabetes Care 42, 2019), mg/dL."""

FIRST: Final = 501
"""Numbers of the virtual people of the loop, which no generated data reaches."""


def forecast_by(model: Model, preparation: Preparation) -> Forecast:
    """What `model` says of glucose ahead, from the features that its preparation names.

    **Raises:** `OperatorError("bad-case")` for a model of other data.
    """
    names = tuple(feature_names(preparation)) if preparation.get("kind") == "table" else ()
    form = next((each for known, each in FORMS.values() if known == names), None)
    if form is None:
        raise OperatorError("bad-case", f"the loop needs a model of the columns {', '.join(FEATURES[:3])} ...")

    def said(moment: Moment) -> Float[np.ndarray, " people"]:
        values = form(moment.cgm, moment.cho, moment.insulin, moment.iob, moment.cob, moment.now)
        columns = {name: torch.from_numpy(np.array(value)) for name, value in zip(names, values, strict=True)}
        with torch.no_grad():
            raw = model.predict(features_of(columns, preparation, len(moment.iob)))
        return restore_targets(raw, preparation).numpy().astype(float)

    return said


def shares(traces: Traces) -> dict[str, Float[np.ndarray, " people"]]:
    """Share of each person's time in each range of the reference glucose."""
    return {name: ((traces.bg >= low) & (traces.bg < high)).mean(0) for name, (low, high) in RANGES.items()}


def looped(controllers: Mapping[str, Controller], people: int, duration: int, seed: int) -> dict[str, Traces]:
    """The same people, days and sensor errors under each controller: `people` of each group, from number `FIRST`."""
    who = draw(people, seed, FIRST)
    therapy, scenario = titrate(who), days(who.names, duration, seed)
    return {name: run(Bodies(who), therapy, scenario, each) for name, each in controllers.items()}


def gains(ours: Traces, other: Traces) -> dict[str, float | None]:
    """Mean differences of people's shares in range and below 70, each with its 95 % interval (normal, paired)."""
    found: dict[str, float | None] = {}
    first, second = shares(ours), shares(other)
    for name, key in (("in range gain", "70 to 180"), ("below 70 gain", "below 70")):
        each = first[key] - second[key]
        half = 1.96 * float(each.std(ddof=1)) / len(each) ** 0.5
        found |= {name: float(each.mean()), f"{name} low": float(each.mean()) - half}
        found[f"{name} high"] = float(each.mean()) + half
    return found


@dataclass(frozen=True)
class ClosedLoop:
    """Time in range of virtual people with the model in the controller, and with the current reading in its place.

    **Arguments** of the node: `people` of each group, `days`, `seed`; `least` share of time from 70 to 180 mg/dL;
    `most` share below 54. Being worse than the same controller without the predictor fails too: less time in range, or
    more below 70, by more than chance (paired over people, 95 %).
    """

    inputs: tuple[str, ...] = ("model", "preparation")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Run both loops."""
        forecast = forecast_by(subjects["model"], subjects["preparation"].preparation)
        least, most = float(arguments["least"]), float(arguments["most"])
        size = int(arguments["people"]), int(arguments["days"]), int(arguments["seed"])
        found = looped({"with": Controller(forecast), "without": Controller()}, *size)
        means = {arm: {name: float(v.mean()) for name, v in shares(each).items()} for arm, each in found.items()}
        ours, other = means["with"], means["without"]
        figures: dict[str, float | None] = {f"{n} {arm}": v for arm, each in means.items() for n, v in each.items()}
        figures |= gains(found["with"], found["without"])
        worse = (figures["in range gain high"] or 0) < 0 or (figures["below 70 gain low"] or 0) > 0
        holds = ours["70 to 180"] >= least and ours["below 54"] <= most and not worse
        words = f"{100 * ours['70 to 180']:.1f} % of time in range, {100 * ours['below 70']:.2f} % below 70 mg/dL; "
        words += f"without the predictor {100 * other['70 to 180']:.1f} % and {100 * other['below 70']:.2f} %"
        told = {f"{name} {arm}": value for arm, each in means.items() for name, value in each.items()}
        drawn = shown(bars("Time in each range", "share of time", told))
        verdict = Verdict.HOLDS if holds else Verdict.FAILS
        threshold = f">= {least:g} in range; <= {most:g} below 54; no worse than without"
        return Finding(verdict, words, figures, "rows in range / rows, mean over people", threshold, drawn)
