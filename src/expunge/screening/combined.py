"""The screen that decides: all statistics together, against each kind of honest owner in turn.

Three logistic regressions, fitted at calibration on rehearsed attacks, tell attacks from random, from coherent and from
hard honest batches. The score is the least of the three log-odds: a batch is suspicious only if it resembles no kind of
honest owner.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from expunge.screening.forecasts import alignment, dry_run, statistics
from expunge.screening.ground import forecast
from expunge.screening.submission import Description, Finding, Submission, compared


@dataclass(frozen=True)
class Line:
    """One linear score: log-odds of an attack against one kind of honest owner, on standardised statistics."""

    against: str
    weights: tuple[float, ...]
    offset: float


@dataclass(frozen=True)
class Combined:
    """Least log-odds of an attack over the kinds of honest owners. Without lines it measures and holds nothing.

    **Arguments:** `names`: statistics in order; `centre`, `scale`: their mean and deviation; `lines`: one a kind.
    """

    names: tuple[str, ...] = ()
    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    lines: tuple[Line, ...] = ()

    def describe(self) -> Description:
        """The screen in words."""
        return Description(
            "combined",
            "Batches that resemble rehearsed attacks more than any kind of honest owner.",
            "Attacks on points that resemble no probe; neighbours of a target beside honest clusters at a boundary.",
            "ours; statistics of spec D2",
        )

    def judge(self, submission: Submission, threshold: float | None = None) -> Finding:
        """All statistics, and the least log-odds."""
        scores = measures(submission)
        if self.lines:
            values = (np.array([scores[name] for name in self.names]) - self.centre) / self.scale
            odds = {line.against: float(values @ np.array(line.weights) + line.offset) for line in self.lines}
            scores |= {f"against_{name}": value for name, value in odds.items()}
            scores["log_odds"] = min(odds.values())
        else:
            scores["log_odds"] = 0.0
        return compared("combined", scores, "log_odds", threshold, "Least log-odds of an attack")


def measures(submission: Submission) -> dict[str, float]:
    """Every statistic that the combined screen looks at."""
    found = forecast(submission.ground, submission.rows)
    own = float(found.own_drops.mean()) if len(found.own_drops) else 0.0
    ground = submission.ground
    return {**dry_run(ground, found), **alignment(ground, found), **statistics(submission), "own_drop": own}


def fit(
    attacked: Sequence[Mapping[str, float]], honest: Mapping[str, Sequence[Mapping[str, float]]], strength: float = 0.3
) -> Combined:
    """The screen fitted to measured batches; `strength` is the inverse of the L2 penalty."""
    from sklearn.linear_model import LogisticRegression

    names = tuple(attacked[0])
    bad = np.array([[each[name] for name in names] for each in attacked])
    good = {kind: np.array([[each[name] for name in names] for each in some]) for kind, some in honest.items()}
    everything = np.concatenate([bad, *good.values()])
    centre, scale = everything.mean(0), everything.std(0) + 1e-9
    lines = []
    for kind, some in good.items():
        points = (np.concatenate([bad, some]) - centre) / scale
        labels = np.array([1] * len(bad) + [0] * len(some))
        model = LogisticRegression(C=strength, max_iter=2000, class_weight="balanced").fit(points, labels)
        lines.append(Line(kind, tuple(map(float, model.coef_[0])), float(model.intercept_[0])))
    return Combined(names, tuple(map(float, centre)), tuple(map(float, scale)), tuple(lines))
