"""The glucose cells of the study `assurance`: predictors, classifier, closed loop and specifications, on people nobody
trained on.

The series are those of the raw table, where that is the study's data (`--target CGM --owner patient --regression`), and
otherwise our own simulator's. The people of the closed loop are always drawn anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float

from expunge.assurance.closed_loop import RANGES, forecast_by, looped, shares
from expunge.assurance.error_grids import clarke, parkes
from expunge.assurance.forecasting import announced, linear_predictions, parts, predictions, rmse
from expunge.assurance.glucose import FEATURES, FORMS, HIGH, LOW, Rows, held_out, tabled
from expunge.assurance.sensing import judge
from expunge.assurance.simulation import BASAL_BOLUS, STEP, Controller, Traces, draw, simulate
from expunge.assurance.sufficiency import column
from expunge.assurance.temporal import Above, Always, Below, Eventually, Formula, implies, robustness
from expunge.networks import LSTM, MLP, Trends
from expunge.randomness import derive
from expunge.records import Records
from expunge.records.columns import Columns
from expunge.records.preparation import feature_names
from expunge.records.table import table
from expunge.studies.frame import Row, Setting
from expunge.training import SGD, Adam, CrossEntropy, Model, Recipe, SquaredError, train

EVERY: Final = 5
MINUTES: Final = EVERY * STEP
"""Rows, and minutes, from one window to the next."""

ALARM: Final = 80.0
"""A forecast below is an alarm, mg/dL."""

FIXED: Final = 0
"""Seed of the held-out patients of a table that is given."""

SIZES: Final = {"small": (8, 4, 4, 2), "full": (20, 5, 10, 5)}
"""People of each group and days: to learn from, and in the closed loop."""

SPECIFICATIONS: Final[Mapping[str, Formula]] = {
    "never below 54": Always(Above("bg", 54.0)),
    "lows end within 30 minutes": Always(implies(Below("bg", LOW), Eventually(Above("bg", LOW), 0, 30 // STEP))),
    "highs end within 4 hours": Always(implies(Above("bg", HIGH), Eventually(Below("bg", HIGH), 0, 240 // STEP))),
    "no insulin below 70": Always(implies(Below("cgm", LOW), Below("milliunits", 1.0))),
}
"""What traces of the loop are held against; insulin in thousandths of a unit a minute."""


@dataclass(frozen=True)
class Learners:
    """Recipes of the predictors and the classifier; chosen on other people than those of the study's seeds."""

    mlp: Recipe = Recipe(Trends((16, 16)), SGD(lr=0.02), loss=SquaredError(), epochs=20, batch_size=64)
    lstm: Recipe = Recipe(LSTM(20, 3, 32), Adam(lr=3e-3), loss=SquaredError(), epochs=10, batch_size=128)
    classifier: Recipe = Recipe(MLP((16, 16)), SGD(lr=0.05), loss=CrossEntropy(), epochs=15, batch_size=64)


def series(setting: Setting, seed: int) -> tuple[str, dict[str, Rows]]:
    """`given` or `own`, and the rows of each patient."""
    given = _given(setting.records)
    if given is not None:
        return "given", given
    people, duration, _, _ = SIZES[setting.scale]
    apart = derive(seed, "assurance/glucose")
    return "own", rows_of(simulate(draw(people, apart), duration, apart))


def windows_of(setting: Setting) -> Records | None:
    """The feature table of the case: the study's own records, or made from the raw table that they are; else None."""
    if is_glucose(setting.records):
        return setting.records
    patients = _given(setting.records)
    return None if patients is None else _tables(patients, held_out(list(patients), FIXED), 30)[0]["window"]


def has_windows(records: Records) -> bool:
    """Whether `windows_of` has an answer."""
    return is_glucose(records) or _given(records) is not None


def is_glucose(records: Records) -> bool:
    """Whether the records are the table that `expunge glucose` writes."""
    return records.preparation.get("kind") == "table" and tuple(feature_names(records.preparation)) == FEATURES


def rows_of(traces: Traces) -> dict[str, Rows]:
    """Each person's minute, BG, CGM, CHO and insulin."""
    minute = STEP * np.arange(len(traces.bg), dtype=float)
    return {
        name: np.column_stack([minute, *(getattr(traces, each)[:, place] for each in Traces.CHANNELS)])
        for place, name in enumerate(traces.names)
    }


def _given(records: Records) -> dict[str, Rows] | None:
    raw = records.raw
    if raw is None or raw.target_name != "CGM" or set(raw.columns) != {"minute", "BG", "CHO", "insulin"}:
        return None
    cgm = raw.target.numpy()  # type: ignore[union-attr]
    rows = np.column_stack([*(column(records, name) for name in ("minute", "BG")), cgm])
    rows = np.column_stack([rows, column(records, "CHO"), column(records, "insulin")])
    owners = np.array(records.owners)
    found = {name: rows[owners == name] for name in sorted(set(records.owners))}
    return {name: values[np.argsort(values[:, 0])] for name, values in found.items()}


def glucose_rows(setting: Setting, seed: int, learners: Learners) -> list[Row]:
    """One seed: everything that is measured."""
    data, patients = series(setting, seed)
    test = held_out(list(patients), FIXED if data == "given" else seed)
    found: list[Row] = [*_sufficiency(patients)]
    windows, dropped = _tables(patients, test, 30)
    mlp, lstm = _trained(windows, learners)
    found += _predicted(windows, {"mlp": mlp, "lstm": lstm}, 30)
    later, _ = _tables(patients, test, 60)
    found += _predicted(later, dict(zip(("mlp", "lstm"), _trained(later, learners), strict=True)), 60)
    found += _classified(windows["hazard"], train(learners.classifier, windows["hazard"]).model)
    found += _looped(setting, seed, {"mlp": (mlp, windows["window"]), "lstm": (lstm, windows["sequence"])})
    return [{**row, "seed": seed, "data": data, "left_out": dropped} for row in found]


def _trained(records: Mapping[str, Records], learners: Learners) -> tuple[Model, Model]:
    return train(learners.mlp, records["window"]).model, train(learners.lstm, records["sequence"]).model


def _sufficiency(patients: Mapping[str, Rows]) -> Iterator[Row]:
    for question, finding in judge(patients).items():
        figures = {name: finding.figures[name] for name in ("MARD", "A+B", "coverage") if name in finding.figures}
        yield {"part": "sufficiency", "question": question, "verdict": str(finding.verdict), **figures}


def _tables(patients: Mapping[str, Rows], test: frozenset[str], ahead: int) -> tuple[dict[str, Records], int]:
    """Records for each form of the features, and for the classifier; how many windows were unphysiological."""
    found: dict[str, Records] = {}
    for form, (features, _) in FORMS.items():
        columns, counts = tabled(patients, test, every=EVERY, ahead=ahead, form=form)
        for target, name in (("future", form), ("hazard", "hazard")):
            if target == "future" or form == "window":
                cells = {each: columns[each] for each in ("record", "patient", "split", *features, target)}
                roles = Columns(target, "patient", "record", "split", regression=target == "future")
                found[name] = table(cells, roles)
    return found, counts["left_out"]


def _predicted(records: Mapping[str, Records], models: Mapping[str, Model], ahead: int) -> Iterator[Row]:
    """Every predictor in every group and region."""
    windows, steps = records["window"], records["sequence"]
    truth, mlp = predictions(models["mlp"], windows.test)
    said = {
        "mlp": mlp,
        "lstm": predictions(models["lstm"], steps.test)[1],
        "linear": linear_predictions(windows.train, windows.test),
        "linear, all steps": linear_predictions(steps.train, steps.test),
        "persistence": column(windows.test, "cgm_0"),
    }
    for name, values in said.items():
        for scope, rows in parts(windows.test.owners, truth):
            row = {"part": "predictor", "ahead": ahead, "model": name, "scope": scope}
            row |= {"rmse": rmse(truth[rows], values[rows]), "mae": float(np.abs(truth[rows] - values[rows]).mean())}
            yield {**row, **(_judged(truth, values) if scope == "all" else {})}


def _judged(truth: Float[np.ndarray, " points"], said: Float[np.ndarray, " points"]) -> Row:
    grids = {"clarke": clarke(truth, said), "parkes": parkes(truth, said)}
    sensitivity, false = announced(truth < LOW, said < ALARM, MINUTES)
    shares = {f"{name}_ab": zones["A"] + zones["B"] for name, zones in grids.items()}
    return {**shares, "sensitivity": sensitivity, "false_alarms_a_day": false}


def _classified(records: Records, model: Model) -> Iterator[Row]:
    """Each hazard within the half hour: the network's probability against the reading of now."""
    from sklearn.metrics import roc_auc_score

    test = records.test
    with torch.no_grad():
        chances = model.probabilities(test.features).double().numpy()
    names = list(records.preparation["target"]["values"])
    now = column(test, "cgm_0")
    for name, sign in (("low", -1.0), ("high", 1.0)):
        if name not in names:
            continue
        comes, chance = test.targets.numpy() == names.index(name), chances[:, names.index(name)]
        if comes.all() or not comes.any():
            continue
        sensitivity, false = announced(comes, chance > 0.5, MINUTES)
        auc = {"auc": float(roc_auc_score(comes, chance)), "auc_now": float(roc_auc_score(comes, sign * now))}
        yield {"part": "classifier", "hazard": name, **auc, "sensitivity": sensitivity, "false_alarms_a_day": false}


def _looped(setting: Setting, seed: int, models: Mapping[str, tuple[Model, Records]]) -> Iterator[Row]:
    """Each controller on the same people, days and sensor errors; and what its traces meet."""
    arms = {"basal and boluses": BASAL_BOLUS, "current reading": Controller()}
    arms |= {name: Controller(forecast_by(model, records.preparation)) for name, (model, records) in models.items()}
    _, _, people, duration = SIZES[setting.scale]
    for name, traces in looped(arms, people, duration, derive(seed, "assurance/loop")).items():
        each = shares(traces)
        yield {
            "part": "loop",
            "arm": name,
            "people": len(traces.names),
            **{key.replace(" ", "_"): float(each[key].mean()) for key in RANGES},
            "each_in_range": each["70 to 180"].tolist(),
            "each_below_70": each["below 70"].tolist(),
        }
        signals = {"bg": traces.bg, "cgm": traces.cgm, "milliunits": 1000 * traces.insulin}
        for said, formula in SPECIFICATIONS.items():
            found = robustness(formula, signals)
            meets = {"share": float((found > 0).mean()), "least": float(found.min()), "median": float(np.median(found))}
            yield {"part": "specification", "arm": name, "specification": said, **meets}


def picked(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """The rows that say all of this."""
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
