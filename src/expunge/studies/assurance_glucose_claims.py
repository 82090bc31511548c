"""What the glucose cells of the study `assurance` say, and their pictures."""

from collections.abc import Sequence
from typing import Final

from expunge.assurance.forecasting import REGIONS
from expunge.reports.drawing import Drawing
from expunge.reports.figures import bars
from expunge.reports.forms import Axis, Bar, Group
from expunge.reports.numbers import Measured
from expunge.reports.study import StudyFigure
from expunge.studies.assurance_glucose import SPECIFICATIONS, picked
from expunge.studies.claims import StudyClaim, mean_claim, share_claim
from expunge.studies.frame import Row

SIMPLE: Final = ("persistence", "linear")
RANGES: Final = ("below_54", "below_70", "70_to_180", "above_180", "above_250")


def glucose_claims(rows: Sequence[Row]) -> list[StudyClaim]:
    """Predictors, classifier, loop and specifications against their marks; one repetition a seed, or one a person."""
    errors = [
        mean_claim(f"glucose.rmse{ahead}_{model.replace(', ', '_').replace(' ', '_')}", _errors(rows, ahead, model))
        for ahead in (30, 60)
        for model in ("mlp", "lstm", "linear", "linear, all steps", "persistence")
    ]
    whole = picked(rows, part="predictor", ahead=30, model="mlp", scope="all")
    heard = [row["sensitivity"] for row in whole if row["sensitivity"] is not None]
    lows = picked(rows, part="classifier", hazard="low")
    sensor = [row["MARD"] for row in picked(rows, part="sufficiency") if "MARD" in row]
    return [
        *errors,
        share_claim("glucose.better_in_every_group", _better(rows), "1", lambda value: value == 1),
        mean_claim("glucose.clarke_ab", [row["clarke_ab"] for row in whole], ">= 0.95", lambda value: value >= 0.95),
        mean_claim("glucose.parkes_ab", [row["parkes_ab"] for row in whole], ">= 0.95", lambda value: value >= 0.95),
        mean_claim("glucose.low_sensitivity", heard),
        mean_claim("glucose.false_alarms_a_day", [row["false_alarms_a_day"] for row in whole]),
        mean_claim("classifier.low_auc", [row["auc"] for row in lows]),
        mean_claim("classifier.low_auc_of_the_reading", [row["auc_now"] for row in lows]),
        mean_claim("loop.in_range_gain", _gains(rows, "each_in_range"), "> 0", lambda value: value > 0),
        mean_claim("loop.below_70_gain", _gains(rows, "each_below_70"), "<= 0", lambda value: value <= 0),
        mean_claim("stl.meets", _meets(rows, "mlp")),
        mean_claim("stl.meets_without_predictor", _meets(rows, "current reading")),
        mean_claim("sensor.mard", sensor, "<= 0.15", lambda value: value <= 0.15),
    ]


def _errors(rows: Sequence[Row], ahead: int, model: str) -> list[float]:
    return [row["rmse"] for row in picked(rows, part="predictor", ahead=ahead, model=model, scope="all")]


def _better(rows: Sequence[Row]) -> list[bool]:
    """Of each seed and group: whether the verifiable predictor beats both simple ones at 30 minutes."""
    found = []
    for row in picked(rows, part="predictor", ahead=30, model="mlp"):
        if row["scope"] not in {name for name, _, _ in REGIONS}:
            same = {"part": "predictor", "ahead": 30, "scope": row["scope"], "seed": row["seed"]}
            found.append(all(row["rmse"] < picked(rows, model=name, **same)[0]["rmse"] for name in SIMPLE))
    return found


def _gains(rows: Sequence[Row], what: str) -> list[float]:
    """Of each person: share of time with the predictor less share without."""
    found = []
    for row in picked(rows, part="loop", arm="mlp"):
        (without,) = picked(rows, part="loop", arm="current reading", seed=row["seed"])
        found += [ours - other for ours, other in zip(row[what], without[what], strict=True)]
    return found


def _meets(rows: Sequence[Row], arm: str) -> list[float]:
    return [row["share"] for row in picked(rows, part="specification", arm=arm)]


def glucose_figures(rows: Sequence[Row]) -> list[StudyFigure]:
    """Errors by group and region, time in range, and specifications; of the first seed."""
    first = next((row["seed"] for row in rows if row["part"] == "predictor"), None)
    if first is None:
        return []
    rows = picked(rows, seed=first)
    loop = picked(rows, part="loop")
    ranges = [
        Group(name.replace("_", " "), tuple(Bar(row["arm"], Measured(row[name])) for row in loop)) for name in RANGES
    ]
    specified = [
        Group(name, tuple(Bar(row["arm"], Measured(row["share"])) for row in picked(rows, specification=name)))
        for name in SPECIFICATIONS
    ]
    drawn = bars("Time in each range", ranges, Axis("share of time, mg/dL"))
    met = bars("People whose traces meet a specification", specified, Axis("share of people"))
    return [
        *(StudyFigure(_drawn(rows, ahead), "Shorter is better; groups first, then regions.") for ahead in (30, 60)),
        StudyFigure(drawn, "The same people, days and sensor errors under each controller; only the forecast differs."),
        StudyFigure(met, "Robustness above zero over the whole trace."),
    ]


def _drawn(rows: Sequence[Row], ahead: int) -> Drawing:
    found = picked(rows, part="predictor", ahead=ahead)
    scopes = dict.fromkeys(row["scope"] for row in found)
    groups = [
        Group(scope, tuple(Bar(row["model"], Measured(row["rmse"])) for row in picked(found, scope=scope)))
        for scope in scopes
    ]
    return bars(f"Error {ahead} minutes ahead on held-out people", groups, Axis("RMSE, mg/dL"))
