"""The screen that decides: all statistics together, against each kind of honest owner in turn.

For each kind of rehearsed attack and each kind of honest owner a logistic regression, fitted at calibration, tells one
from the other. The score is the largest, over the attacks, of the least, over the owners, of the log-odds: a batch is
suspicious if it resembles some attack more than every kind of honest owner.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float

from expunge.screening.forecasts import alignment, dry_run, statistics
from expunge.screening.submission import Description, Finding, Submission, compared


@dataclass(frozen=True)
class Line:
    """Log-odds of one kind of attack against one kind of honest owner, linear in the standardised statistics."""

    attack: str
    against: str
    weights: tuple[float, ...]
    offset: float


@dataclass(frozen=True)
class Combined:
    """Log-odds of the likeliest attack against the likeliest honest owner. Without lines it holds nothing.

    **Arguments:** `names`: statistics in order; `centre`, `scale`: their mean and deviation; `lines`: one a pair.
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
            values = _tamed((np.array([scores[name] for name in self.names]) - self.centre) / self.scale)
            odds = self._odds(values)
            scores |= {f"like_{attack}": least for attack, least in odds.items()}
            scores["log_odds"] = max(odds.values())
        else:
            scores["log_odds"] = 0.0
        return compared("combined", scores, "log_odds", threshold, "Log-odds of the likeliest attack")

    def _odds(self, values: Float[np.ndarray, " statistics"]) -> dict[str, float]:
        """For each attack the least log-odds over the kinds of owners."""
        found: dict[str, float] = {}
        for line in self.lines:
            odds = float(values @ np.array(line.weights) + line.offset)
            found[line.attack] = min(odds, found.get(line.attack, odds))
        return found


def measures(submission: Submission, unseen: int | None = None) -> dict[str, float]:
    """Every statistic that the combined screen looks at; `unseen`: a probe to be left out, a rehearsed attack's target.

    An attacker's target is seldom one of the probes: a screen fitted to attacks on its own probes would lean on what
    it then does not see.
    """
    ground, found = submission.ground, submission.forecast
    own = float(found.own_drops.mean()) if len(found.own_drops) else 0.0
    return {
        **dry_run(ground, found, unseen),
        **alignment(ground, found, unseen),
        **statistics(submission),
        "own_drop": own,
    }


def fit(
    attacked: Mapping[str, Sequence[Mapping[str, float]]],
    honest: Mapping[str, Sequence[Mapping[str, float]]],
    strength: float = 0.3,
) -> Combined:
    """The screen fitted to measured batches; `strength` is the inverse of the L2 penalty."""
    from sklearn.linear_model import LogisticRegression

    names = tuple(next(iter(attacked.values()))[0])
    bad = {kind: np.array([[each[name] for name in names] for each in some]) for kind, some in attacked.items()}
    good = {kind: np.array([[each[name] for name in names] for each in some]) for kind, some in honest.items()}
    everything = np.concatenate([*bad.values(), *good.values()])
    centre, scale = everything.mean(0), everything.std(0) + 1e-9
    lines = []
    for (attack, crafted), (kind, some) in product(bad.items(), good.items()):
        points = _tamed((np.concatenate([crafted, some]) - centre) / scale)
        labels = np.array([1] * len(crafted) + [0] * len(some))
        model = LogisticRegression(C=strength, max_iter=2000, class_weight="balanced").fit(points, labels)
        lines.append(Line(attack, kind, tuple(map(float, model.coef_[0])), float(model.intercept_[0])))
    return Combined(names, tuple(map(float, centre)), tuple(map(float, scale)), tuple(lines))


def _tamed(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Cut at so many deviations: no single statistic that runs off may outweigh all others."""
    cut: Float[np.ndarray, ...] = np.clip(values, -CUT, CUT)
    return cut


CUT = 1.5
"""Deviations."""
