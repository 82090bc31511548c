"""Enough data: a learning curve over people, with its fitted limit and the band of that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from expunge.assurance.evidence import Finding, Verdict
from expunge.assurance.pictures import curve, shown
from expunge.errors import OperatorError
from expunge.randomness import numpy_generator
from expunge.records import Records


@dataclass(frozen=True)
class Enough:
    """Enough data: how far a linear model's held-out error still is from the limit of its learning curve.

    error(n) = limit + slope / n over n people, least squares; the band is the spread over draws of people. The linear
    model stands for the network because the curve takes dozens of fits. `sizes` (people), `draws`, `most` (share).
    """

    inputs: tuple[str, ...] = ("train", "test")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Fit the curve.

        **Raises:** `OperatorError("bad-case")` for records that are no table with a number as its target.
        """
        train, test = subjects["train"], subjects["test"]
        if train.classes or len(train.shape) != 1:
            raise OperatorError("bad-case", "a learning curve is fitted to a table whose target is a number")
        curves = [_curve(train, test, arguments["sizes"], draw) for draw in range(int(arguments["draws"]))]
        gaps = [_gap(*each) for each in curves]
        gap, spread = float(np.mean(gaps)), float(np.std(gaps, ddof=1) / len(gaps) ** 0.5)
        most = float(arguments["most"])
        figures = {"gap to the limit": gap, "low": gap - 1.96 * spread, "high": gap + 1.96 * spread}
        words = f"more people would lower the error by about {100 * gap:.1f} % (linear model)"
        verdict = Verdict.HOLDS if gap + 1.96 * spread <= most else Verdict.FAILS
        return Finding(verdict, words, figures, "error(N) / limit - 1", f"<= {most:g}", _picture(curves))


Curve = tuple[list[int], list[float], float, float]
"""People, errors, and the fitted limit and slope."""


def _curve(train: Records, test: Records, wanted: Sequence[int], draw: int) -> Curve:
    names = np.array(train.owners)
    people = numpy_generator(draw, "assurance/enough").permutation(np.unique(names))
    sizes = [min(size, len(people)) for size in wanted] + [len(people)]
    errors = [_linear_error(train, test, np.isin(names, people[:size])) for size in sizes]
    limit, slope = np.linalg.lstsq(np.stack([np.ones(len(sizes)), 1 / np.array(sizes)], 1), errors, rcond=None)[0]
    return sizes, errors, float(limit), float(slope)


def _gap(sizes: list[int], errors: list[float], limit: float, slope: float) -> float:
    # A curve that heads below zero is far from any limit: more people would still take the whole error away.
    del errors
    return slope / sizes[-1] / limit if limit > 0 else 1.0


def _picture(curves: Sequence[Curve]) -> dict[str, Any]:
    """Errors over people, the fitted curve and its limit, each with the band over draws (normal, 95 %)."""
    sizes = curves[0][0]
    measured = np.array([errors for _, errors, _, _ in curves])
    fitted = np.array([[limit + slope / size for size in sizes] for _, _, limit, slope in curves])
    limits = np.repeat([[limit] for _, _, limit, _ in curves], len(sizes), 1)
    parts = {"measured": measured, "fitted": fitted, "limit": limits}
    return shown(
        curve("Learning curve (linear model)", "people", "error", [_band(n, sizes, v) for n, v in parts.items()])
    )


def _band(label: str, sizes: Sequence[int], values: np.ndarray) -> dict[str, Any]:
    middle, half = values.mean(0), 1.96 * values.std(0, ddof=1) / len(values) ** 0.5
    ends = {"low": (middle - half).tolist(), "high": (middle + half).tolist()}
    return {"label": label, "x": list(sizes), "y": middle.tolist(), **ends}


def _linear_error(train: Records, test: Records, rows: np.ndarray) -> float:
    x = np.column_stack([train.features.numpy()[rows], np.ones(rows.sum())])
    weights = np.linalg.lstsq(x, train.targets.numpy()[rows], rcond=None)[0]
    error = np.column_stack([test.features.numpy(), np.ones(len(test))]) @ weights - test.targets.numpy()
    return float(np.sqrt((error**2).mean()))
