"""Checks of a glucose predictor: its error against simple predictors, its error grid, its alarms.

Errors are told for everybody, for each group, and for each region of the glucose that came (below 70, 70 to 180, above
180 mg/dL): a predictor may be good on average and useless where it matters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float

from expunge.assurance.error_grids import GRIDS, picture
from expunge.assurance.evidence import Finding, Verdict
from expunge.assurance.pictures import bars, shown
from expunge.assurance.sufficiency import column, group
from expunge.errors import OperatorError
from expunge.records import Records
from expunge.training import Model

Readings = Float[np.ndarray, " points"]

REGIONS: Final = (("below 70", 0.0, 70.0), ("70 to 180", 70.0, 180.0), ("above 180", 180.0, np.inf))


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


def parts(owners: tuple[str, ...], truth: Readings) -> Iterator[tuple[str, Bool[np.ndarray, " points"]]]:
    """Everybody, each group, and each region that holds a point, with its rows."""
    groups = np.array([group(owner) for owner in owners])
    yield "all", np.ones(len(groups), bool)
    for name in sorted(set(map(group, owners))):
        yield name, groups == name
    for name, low, high in REGIONS:
        rows = (truth >= low) & (truth < high)
        if rows.any():
            yield name, rows


@dataclass(frozen=True)
class Predicts:
    """RMSE on held-out people against persistence and linear autoregression, in every group; and in every region.

    **Arguments** of the node: `last`: the column with the newest reading.
    """

    inputs: tuple[str, ...] = ("model", "train", "test")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Compare in each group; regions are told, not judged: which one a point is in is known only afterwards."""
        train, test = subjects["train"], subjects["test"]
        truth, ours = predictions(subjects["model"], test)
        kinds = {
            "rmse": ours,
            "persistence": column(test, arguments["last"]),
            "linear": linear_predictions(train, test),
        }
        figures: dict[str, float | None] = {}
        worse = []
        for name, rows in parts(test.owners, truth):
            found = {kind: rmse(truth[rows], each[rows]) for kind, each in kinds.items()}
            figures |= {f"{name} {kind}": value for kind, value in found.items()}
            figures[f"{name} mae"] = float(np.abs(truth[rows] - ours[rows]).mean())
            lost = found["rmse"] >= min(found["persistence"], found["linear"])
            worse += [name] if lost and name not in {each for each, _, _ in REGIONS} else []
        words = "better than persistence and linear autoregression in every group"
        words = words if not worse else f"no better than a simple predictor: {', '.join(worse)}"
        verdict = Verdict.FAILS if worse else Verdict.HOLDS
        drawn = {name: value for name, value in figures.items() if value is not None and not name.endswith(" mae")}
        shapes = shown(bars("Error on held-out people", "RMSE, mg/dL", drawn))
        return Finding(verdict, words, figures, "sqrt(mean (y - f(x))^2), mg/dL", "< both, each group", shapes)


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
    """Share of predictions on held-out people in zones A and B. `least` (share); `grid`: `clarke` or `parkes`."""

    inputs: tuple[str, ...] = ("model", "test")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """The zones."""
        truth, ours = predictions(subjects["model"], subjects["test"])
        return zoned(truth, ours, arguments, "Predictions over the zones of Parkes' grid")


def zoned(truth: Readings, said: Readings, arguments: Mapping[str, Any], title: str) -> Finding:
    """A finding on the share in zones A and B."""
    name = str(arguments.get("grid", "clarke"))
    if name not in GRIDS:
        raise OperatorError("bad-case", f"grid is clarke or parkes, not {name[:20]!r}")
    zones = GRIDS[name](truth, said)
    share, least = zones["A"] + zones["B"], float(arguments["least"])
    verdict = Verdict.HOLDS if share >= least else Verdict.FAILS
    words = f"{100 * share:.1f} % in zones A and B"
    figures: dict[str, float | None] = {**zones, "A+B": share}
    return Finding(verdict, words, figures, "(A + B) / points", f">= {least:g}", shown(picture(title, truth, said)))


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
        sensitivity, false = announced(low, said, float(arguments["minutes"]))
        if sensitivity is None:
            return Finding(Verdict.UNDECIDED, "no low glucose in the test data", {"false alarms a day": false})
        least, most = float(arguments["least"]), float(arguments["most"])
        verdict = Verdict.HOLDS if sensitivity >= least and false <= most else Verdict.FAILS
        words = f"{100 * sensitivity:.1f} % of lows announced, {false:.1f} false alarms a day"
        figures: dict[str, float | None] = {"sensitivity": sensitivity, "false alarms a day": false}
        groups = np.array([group(owner) for owner in subjects["test"].owners])
        each = {name: announced(low[groups == name], said[groups == name], 1)[0] for name in sorted(set(groups))}
        figures |= {f"{name} sensitivity": value for name, value in each.items()}
        heard = {name: value for name, value in each.items() if value is not None}
        drawn = shown(bars("Lows that are announced", "sensitivity", {"all": sensitivity, **heard}, least))
        return Finding(verdict, words, figures, "TP / (TP + FN); FP / days", f">= {least:g}; <= {most:g}", drawn)


def announced(
    comes: Bool[np.ndarray, " points"], said: Bool[np.ndarray, " points"], minutes: float
) -> tuple[float | None, float]:
    """Sensitivity (`None` where nothing came), and false alarms a day, for points `minutes` apart."""
    days = len(comes) * minutes / 1440
    false = float((said & ~comes).sum() / days)
    return (float((said & comes).sum() / comes.sum()) if comes.any() else None), false
