"""What each owner is paid: revenue in proportion to positive values, to the last cent, before and after a deletion."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from expunge.errors import OperatorError, ProgrammerError
from expunge.valuation.estimator import Status
from expunge.valuation.values import Values

NOTHING = 1e-12
"""Values up to this are rounding errors of sums of utilities: where nobody earns more, nobody earned anything."""


@dataclass(frozen=True)
class Settlement:
    """One sale shared out.

    **Arguments:**

    - `revenue`: in the smallest unit of the currency (cents).
    - `owners`, `values`: as valued; `payouts`: in the unit of `revenue`, one for each owner.
    - `unallocated`: what nobody earned: all of it where no value is positive, else 0.
    """

    revenue: int
    owners: tuple[int, ...]
    values: tuple[float, ...]
    payouts: tuple[int, ...]
    unallocated: int

    def payout(self, owner: int) -> int:
        """What one owner gets; 0 for one who is not there."""
        return self.payouts[self.owners.index(owner)] if owner in self.owners else 0


@dataclass(frozen=True)
class Line:
    """One owner's line of a statement; values are None where the owner was not there."""

    owner: int
    value_before: float | None
    value_after: float | None
    paid_before: int
    paid_after: int

    @property
    def change(self) -> int:
        """What the deletion changed for this owner, in the unit of the revenue."""
        return self.paid_after - self.paid_before

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "owner": self.owner,
            "value_before": self.value_before,
            "value_after": self.value_after,
            "paid_before": self.paid_before,
            "paid_after": self.paid_after,
            "change": self.change,
        }


def settle(values: Values, revenue: int) -> Settlement:
    """Share `revenue` in proportion to positive values.

    An owner whose value is negative or zero is paid nothing and owes nothing: a fine would ask money of people for
    data that they may have given in good faith, and the estimate of a small negative value is mostly noise. What is
    not above `NOTHING` counts as zero: else rounding errors would share out the revenue of a flat game. The
    shares of the others are therefore of the *sum of positive values*, which is larger than U(all) - U(empty) where
    anybody is negative. Amounts are rounded down to whole units, and what is left goes, one unit each, to the largest
    remainders (ties to the lower column), so that the payouts add up to `revenue` exactly.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for a negative revenue, `OperatorError("incomplete-values")`
    where an owner has no estimate yet.
    """
    if revenue < 0:
        raise ProgrammerError("bad-hyperparameter", "revenue is a whole number of the smallest unit, >= 0")
    if Status.INCOMPLETE in values.status:
        raise OperatorError("incomplete-values", "some owners have no estimate yet")
    worths = [Fraction(float(worth) if worth > NOTHING else 0.0) for worth in values.value]
    payouts = _shares(worths, revenue)
    plain = tuple(float(worth) for worth in values.value)
    return Settlement(revenue, values.owners, plain, payouts, revenue - sum(payouts))


def statement(before: Settlement | None, after: Settlement) -> tuple[Line, ...]:
    """A line for everybody who stands in either settlement, ascending: those who left are paid nothing after."""
    owners = sorted({*after.owners, *(before.owners if before else ())})
    return tuple(
        Line(
            owner,
            _value(before, owner),
            _value(after, owner),
            before.payout(owner) if before else 0,
            after.payout(owner),
        )
        for owner in owners
    )


def _value(settlement: Settlement | None, owner: int) -> float | None:
    if settlement is None or owner not in settlement.owners:
        return None
    return settlement.values[settlement.owners.index(owner)]


def _shares(worths: Sequence[Fraction], revenue: int) -> tuple[int, ...]:
    """Largest-remainder shares, exact in rational numbers."""
    total = sum(worths, Fraction(0))
    if total == 0:
        return (0,) * len(worths)
    ideal = [worth * revenue / total for worth in worths]
    whole = [share.numerator // share.denominator for share in ideal]
    order = sorted(range(len(ideal)), key=lambda row: (whole[row] - ideal[row], row))
    for row in order[: revenue - sum(whole)]:
        whole[row] += 1
    return tuple(whole)
