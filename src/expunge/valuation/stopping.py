"""When to stop sampling: rules that combine with `&`, `|` and `~`.

`HalfWidth(0.01) & Evaluations(2_000) | Seconds(60)` stops when the intervals are narrow *and* at least 2000 utilities
were evaluated, or after a minute, whichever comes first. Rules are looked at between rounds. A run also ends when all
values are exact.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from expunge.errors import ProgrammerError
from expunge.valuation.estimator import Status
from expunge.valuation.values import Values


class Stop(ABC):
    """A stopping rule: whether it is met, and about how far the run is on the way there."""

    @abstractmethod
    def met(self, values: Values) -> bool:
        """Whether sampling may stop."""

    @abstractmethod
    def share(self, values: Values) -> float:
        """Share of the way done, in [0, 1], for the progress bar."""

    def __and__(self, other: "Stop") -> "Stop":
        return Both(self, other)

    def __or__(self, other: "Stop") -> "Stop":
        return Either(self, other)

    def __invert__(self) -> "Stop":
        return Unless(self)


@dataclass(frozen=True)
class Both(Stop):
    """Met when both are."""

    one: Stop
    other: Stop

    def met(self, values: Values) -> bool:
        """Both."""
        return self.one.met(values) and self.other.met(values)

    def share(self, values: Values) -> float:
        """Of the slower one."""
        return min(self.one.share(values), self.other.share(values))


@dataclass(frozen=True)
class Either(Stop):
    """Met when one is."""

    one: Stop
    other: Stop

    def met(self, values: Values) -> bool:
        """Either."""
        return self.one.met(values) or self.other.met(values)

    def share(self, values: Values) -> float:
        """Of the faster one."""
        return max(self.one.share(values), self.other.share(values))


@dataclass(frozen=True)
class Unless(Stop):
    """Met while the other is not: `HalfWidth(0.01) & ~Evaluations(100)` accepts only a quick success."""

    other: Stop

    def met(self, values: Values) -> bool:
        """Not the other."""
        return not self.other.met(values)

    def share(self, values: Values) -> float:
        """All or nothing."""
        return float(self.met(values))


@dataclass(frozen=True)
class HalfWidth(Stop):
    """Every owner's confidence interval, bias bound included, is at most `width` to either side.

    The level holds for each owner at a fixed sample size. Stopping at the first narrow moment makes coverage a little
    lower than stated, by what `docs/valuation.md` measures.

    **Arguments:**

    - `width`: in units of the utility, > 0.
    - `confidence`: of each interval.
    - `together`: widen them (Bonferroni) so that `confidence` holds for all owners at once.
    - `least`: samples that must inform each owner first, unless the value is exact. No interval can see what no sample
      saw: a utility that is flat almost everywhere looks certain too early, and marginals are skewed (few owners come
      first).

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    width: float
    confidence: float = 0.95
    together: bool = False
    least: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.width < np.inf or not 0 < self.confidence < 1 or self.least < 2:
            raise ProgrammerError("bad-hyperparameter", "width > 0, confidence in (0, 1), least >= 2")

    def met(self, values: Values) -> bool:
        """All intervals are narrow, on enough samples; an exact value needs none more, and may have few to give."""
        enough = [
            count >= self.least or status is Status.EXACT
            for count, status in zip(values.count.tolist(), values.status, strict=True)
        ]
        return self._widest(values) <= self.width and all(enough)

    def share(self, values: Values) -> float:
        """A half-width falls with the square root of the samples."""
        widest = self._widest(values)
        return min(1.0, (self.width / widest) ** 2) if widest > 0 else 1.0

    def _widest(self, values: Values) -> float:
        error = (1 - self.confidence) / (len(values.owners) if self.together else 1)
        return float(values.half_width(1 - error).max())


@dataclass(frozen=True)
class Evaluations(Stop):
    """`count` utilities were newly evaluated. The last round may go beyond.

    A small game, or a warm cache, has fewer than that to give: 20 times as many questions count as well.
    """

    count: int

    def met(self, values: Values) -> bool:
        """The count is reached."""
        return self.share(values) >= 1

    def share(self, values: Values) -> float:
        """Evaluated so far."""
        return min(1.0, max(values.evaluations, values.lookups / 20) / max(self.count, 1))


@dataclass(frozen=True)
class Seconds(Stop):
    """So much time has gone by. The one rule that makes a result depend on the machine."""

    seconds: float

    def met(self, values: Values) -> bool:
        """The time is up."""
        return values.seconds >= self.seconds

    def share(self, values: Values) -> float:
        """Time gone by."""
        return min(1.0, values.seconds / self.seconds) if self.seconds > 0 else 1.0


@dataclass(frozen=True)
class Rounds(Stop):
    """So many rounds were sampled."""

    count: int

    def met(self, values: Values) -> bool:
        """The count is reached."""
        return self.share(values) >= 1

    def share(self, values: Values) -> float:
        """Rounds so far."""
        return 1.0 if values.run is None else min(1.0, values.run.rounds / max(self.count, 1))
