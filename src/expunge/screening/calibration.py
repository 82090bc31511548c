"""Thresholds that at most 5 % of honest owners of any kind pass, measured on batches that did not set them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expunge.plain import decode, encode
from expunge.progress import Progress, task
from expunge.screening.combined import Combined, Line, fit, measures
from expunge.screening.ground import Ground
from expunge.screening.rehearsal import ATTACKS, HONEST, Batches, aimed, attacks, honest
from expunge.screening.submission import Submission


@dataclass(frozen=True)
class Level:
    """What was found for batches of one size.

    **Arguments:**

    - `threshold`: of the combined screen's score.
    - `false_positives`: kind of honest owner -> share above it, on fresh batches; `caught`: the same of attacks.
    - `batches`: in each of these shares.
    """

    size: int
    threshold: float
    false_positives: Mapping[str, float]
    caught: Mapping[str, float]
    batches: int


@dataclass(frozen=True)
class Calibration:
    """The combined screen as fitted to one model, and its thresholds by size.

    It is of that model alone: figures over all its records are in it, so it goes when a deletion replaces the model.
    """

    model: str
    screen: Combined
    levels: tuple[Level, ...]
    rate: float = 0.05

    def threshold(self, size: int) -> float:
        """Of the two nearest calibrated sizes the higher one; beyond the largest size, the largest's."""
        below = [level.threshold for level in self.levels if level.size <= size][-1:]
        above = [level.threshold for level in self.levels if level.size >= size][:1]
        return max([*below, *above])

    def to_json(self) -> dict[str, Any]:
        """Plain form, strict JSON."""
        return dict(encode(self))

    @staticmethod
    def from_json(value: Any) -> "Calibration":
        """The inverse; raises `OperatorError("bad-config")`."""
        found: Calibration = decode(value, (Calibration, Combined, Line, Level))
        return found


def calibrate(
    ground: Ground,
    *,
    sizes: Sequence[int] = (5, 20, 60),
    batches: int = 100,
    rate: float = 0.05,
    progress: Progress | None = None,
) -> Calibration:
    """Fit the combined screen on rehearsed attacks, set its thresholds, and measure them on fresh batches.

    The threshold is the highest over the kinds of honest owners of the (1 - rate) order statistic, taken
    conservatively.

    **Raises:** `ProgrammerError("method-unfit")` as `Ground.heads`.
    """
    usable = sorted({min(size, max(1, ground.size // 10)) for size in sizes})
    with task(progress, "calibrating the screen", 3 * len(usable)) as advance:
        drawn = {size: _measured(ground, size, batches, "fit") for size in usable}
        advance(len(usable))
        bad = {kind: [each for found in drawn.values() for each in found[kind]] for kind in ATTACKS}
        good = {kind: [each for found in drawn.values() for each in found[kind]] for kind in HONEST}
        screen = fit(bad, good)
        levels = []
        for size in usable:
            levels.append(_level(ground, screen, size, batches, rate))
            advance(2)
    return Calibration(ground.model.digest, screen, tuple(levels), rate)


def _level(ground: Ground, screen: Combined, size: int, batches: int, rate: float) -> Level:
    """A threshold that broke its promise on fresh batches takes them in, and is tried on others."""
    setting = {kind: _scores(ground, screen, honest(ground, kind, size, batches, "threshold")) for kind in HONEST}
    threshold, shares = 0.0, dict.fromkeys(HONEST, 1.0)
    for attempt in range(ATTEMPTS):
        threshold = max(_quantile(scores, 1 - rate / 2) for scores in setting.values())
        fresh = {kind: _scores(ground, screen, honest(ground, kind, size, batches, f"{attempt}")) for kind in HONEST}
        shares = _above(fresh, threshold)
        if max(shares.values()) <= rate:
            break
        setting = {kind: setting[kind] + fresh[kind] for kind in HONEST}
    tried = {kind: _scores(ground, screen, attacks(ground, kind, size, batches, "check")) for kind in ATTACKS}
    return Level(size, threshold, shares, _above(tried, threshold), batches)


def _quantile(scores: Sequence[float], share: float) -> float:
    """At half the rate: a quantile of so few batches is itself uncertain, and the rate must hold on fresh ones."""
    ordered = sorted(scores)
    return ordered[min(len(ordered), math.ceil(share * (len(ordered) + 1))) - 1]


ATTEMPTS = 5
"""Draws of fresh batches; where the rate never holds, the level says so."""


def _measured(ground: Ground, size: int, count: int, name: str) -> dict[str, list[dict[str, float]]]:
    """Attacks as they look where their target is none of the probes."""
    good = {kind: [(None, rows) for rows in honest(ground, kind, size, count, name)] for kind in HONEST}
    bad = {kind: aimed(ground, kind, size, count, name) for kind in ATTACKS}
    return {
        kind: [measures(_asked(ground, rows), unseen) for unseen, rows in some] for kind, some in (good | bad).items()
    }


def _scores(ground: Ground, screen: Combined, batches: Batches) -> list[float]:
    return [screen.judge(_asked(ground, rows)).score for rows in batches]


def _asked(ground: Ground, rows: Any) -> Submission:
    ids = ground.records.train.ids
    return Submission(ground, tuple(ids[row] for row in rows.tolist()))


def _above(scores: Mapping[str, Sequence[float]], threshold: float) -> dict[str, float]:
    return {kind: sum(each > threshold for each in some) / max(1, len(some)) for kind, some in scores.items()}
