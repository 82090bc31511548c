"""What verification answers: proved, violated or unknown; each says what it stands on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """What it cost: seconds, boxes bounded by branch and bound, mixed-integer programs and the nodes of their trees.

    All but the seconds are the same on every machine of one kind.
    """

    seconds: float
    boxes: int
    programs: int
    nodes: int


@dataclass(frozen=True)
class Counterexample:
    """Inputs in physical units at which the deployed network breaks the property.

    `x` (and `other` for two copies), the deployed network's outputs there, the margin (below 0), and the query.
    """

    query: str
    x: tuple[float, ...]
    output: tuple[float, ...]
    margin: float
    other: tuple[float, ...] | None = None
    other_output: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Proved:
    """The property holds for every point of its region.

    `bound` >= 0: the margin is at least this everywhere, after taking off `deviation`, the most by which the deployed
    arithmetic can differ from real arithmetic (0 when `arithmetic` is "real"). `by` is "bounds" (linear bounds with an
    outward rounding margin) or "milp" (HiGHS took part: sound as far as its tolerances are kept).
    """

    bound: float
    by: str
    arithmetic: str
    deviation: float
    effort: Effort


@dataclass(frozen=True)
class Violated:
    """The property is false: the counterexample was run through the deployed network."""

    counterexample: Counterexample
    effort: Effort


@dataclass(frozen=True)
class Unknown:
    """Neither within the budget. The margin is at least `lower` (below 0), and `upper` was seen: the gap is between."""

    lower: float
    upper: float
    why: str
    effort: Effort

    @property
    def gap(self) -> float:
        """upper - lower, in output units."""
        return self.upper - self.lower


Verdict = Proved | Violated | Unknown
"""One of three; never Proved from sampling."""
