"""After a deletion, or when an owner joins: update the values instead of estimating them anew.

Take a uniform permitted permutation and strike the leavers out: what is left is a uniform permitted permutation of
those who stay, whether a leaver's shard lives on or empties. Hence an owner's new value is the mean of the marginals
in the game C -> U(C minus leavers) over the *old* partition, and the change is the S-Shapley value, over the old
partition, of the differential game

    W(C) = U(C minus leavers) - U(C).

W is 0 wherever no leaver is in C: nothing to evaluate. Elsewhere it is small: few samples are enough. Any estimator
values it, `Exact` included; `Touched`, the default, draws only coalitions with a leaver. `docs/valuation.md` unfolds
this into the cases of the paper and names the one that the paper's lemma leaves out (the leaver's shard lives on; the
owner is elsewhere).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from expunge.errors import ProgrammerError
from expunge.progress import Progress
from expunge.randomness import derive
from expunge.valuation.estimator import Estimator, Status
from expunge.valuation.exact import Exact
from expunge.valuation.front_door import value
from expunge.valuation.game import Cached, Game, Metered, step_of
from expunge.valuation.partition import Partition
from expunge.valuation.stopping import HalfWidth, Stop
from expunge.valuation.touched import Touched
from expunge.valuation.values import Values

STEP = 128
"""Coalitions asked for in each of the first rounds: a change takes few, and most of a wide round would be too many."""

LEAST = 20
"""Samples that must inform each owner of a change: fewer than for values. None is spent where W is 0 for certain."""

FEW = 512
"""Permitted coalitions that are all evaluated: not many more than a pilot takes, and nothing is left to estimate."""


@dataclass(frozen=True, eq=False)
class Differential:
    """The game W(C) = U(C minus gone) - U(C), times `sign`; free where C holds none of `gone`."""

    game: Metered
    gone: tuple[int, ...]
    sign: int = 1

    @property
    def owners(self) -> int:
        """Number of columns."""
        return self.game.owners

    @property
    def evaluations(self) -> int:
        """Utilities of the original game that were evaluated."""
        return self.game.evaluations

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """Both utilities of each coalition that the leavers touch, in one batch."""
        worth = np.zeros(len(coalitions))
        touched = coalitions[:, list(self.gone)].any(1)
        if not touched.any():
            return worth
        full = coalitions[touched]
        less = full.copy()
        less[:, list(self.gone)] = False
        both = self.game.utilities(np.concatenate([less, full]))
        worth[touched] = self.sign * (both[: len(full)] - both[len(full) :])
        return worth


def update(
    values: Values,
    game: Game,
    leavers: Iterable[int],
    estimator: Estimator | None = None,
    stop: Stop | None = None,
    *,
    seed: int = 0,
    batch: int = STEP,
    progress: Progress | None = None,
) -> Values:
    """The values of those who stay, after one or several owners left in one pass.

    Call it while the leavers' data may still be used, then `forget` them in every cache: coalitions with a leaver are
    evaluated here. The result holds no such utility, but its sampling error is a function of some; a run of `value` on
    the new partition, from the utilities that are left, is free of that.

    **Arguments:**

    - `game`: the game before the exit; a `Cached` one saves what was evaluated before.
    - `estimator`: of the change; unless given `Touched(leavers)`, which knows where W is 0, and `Exact()` where there
      are at most `FEW` coalitions or as many as there are were drawn before `stop` was met.
    - `stop`: judges the *change*, whose variance adds to that of `values`; `HalfWidth(0.005, least=LEAST)`
      unless given.
    - the others as for `value`. Draws are independent of those behind `values`, even at the same seed.

    **Raises:** `RequesterError`: `unknown-owner`, `nothing-to-delete`, `delete-everything`; and what `value` raises.
    """
    gone = tuple(sorted(set(leavers)))
    left = values.partition.without(gone)
    drawn = derive(seed, f"valuation/update/{gone}/{values.partition.shards}")
    change = _change(
        Differential(_metered(game), gone),
        values.partition,
        estimator,
        stop,
        seed=drawn,
        batch=batch,
        progress=progress,
    )
    return _combined(values, change, left)


def join(
    values: Values,
    game: Game,
    joiners: Mapping[int, int],
    estimator: Estimator | None = None,
    stop: Stop | None = None,
    *,
    seed: int = 0,
    batch: int = STEP,
    progress: Progress | None = None,
) -> Values:
    """The values of all after owners joined: an exit read backwards. The joiners' own values come out of the same pass.

    **Arguments:**

    - `game`: has the joiners' columns.
    - `joiners`: the shard number of each new owner; the number after the last opens a new shard.
    - the others as for `update`.

    **Raises:** `ProgrammerError("bad-partition")` for an owner who is already there or a shard that is not.
    """
    if not joiners:
        raise ProgrammerError("bad-partition", "nobody joins")
    grown = values.partition
    for owner, shard in joiners.items():
        grown = grown.including(owner, shard)
    new = tuple(sorted(joiners))
    drawn = derive(seed, f"valuation/join/{new}/{grown.shards}")
    change = _change(
        Differential(_metered(game), new, sign=-1), grown, estimator, stop, seed=drawn, batch=batch, progress=progress
    )
    return _combined(values, change, grown)


@dataclass(frozen=True)
class _AsMany(Stop):
    """So many coalitions were asked for, known ones included."""

    count: int

    def met(self, values: Values) -> bool:
        """They were."""
        return self.share(values) >= 1

    def share(self, values: Values) -> float:
        """Asked for so far."""
        return min(1.0, values.lookups / self.count)


def _change(
    game: Differential,
    partition: Partition,
    estimator: Estimator | None,
    stop: Stop | None,
    *,
    seed: int,
    batch: int,
    progress: Progress | None,
) -> Values:
    """The values of the differential game.

    Unless an estimator is named, enumeration where there are few coalitions, and where as many as there are were drawn
    in vain: a draw repeats what was seen, and beside contexts none is the last.
    """
    rule = stop or HalfWidth(0.005, least=LEAST)
    if estimator is not None or partition.coalitions <= FEW:
        return value(game, partition, estimator or Exact(), rule, seed=seed, batch=batch, progress=progress)
    count, touched = partition.coalitions, Touched(game.gone, step=step_of(game.game))
    ends = rule | _AsMany(count) if count <= Exact().limit else rule
    found = value(game, partition, touched, ends, seed=seed, batch=batch, progress=progress)
    if found.exact or rule.met(found):
        return found
    whole = value(game, partition, Exact(), rule, progress=progress)
    return replace(
        whole,
        evaluations=found.evaluations + whole.evaluations,
        lookups=found.lookups + whole.lookups,
        seconds=found.seconds + whole.seconds,
    )


def _metered(game: Game) -> Metered:
    return game if isinstance(game, Metered) else Cached(game)


def _combined(values: Values, change: Values, partition: Partition) -> Values:
    """Old values plus change for the owners of `partition`; one who was not there before starts from an exact 0."""
    start = _aligned(values, partition.owners)
    step = _aligned(change, partition.owners)
    variance = start.variance + step.variance
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = start.variance**2 / start.freedom + step.variance**2 / step.freedom
        freedom = np.where(np.isfinite(variance) & (weight > 0), variance**2 / weight, np.inf)
    return Values(
        partition=partition,
        value=start.value + step.value,
        variance=variance,
        freedom=np.where(np.isfinite(variance), freedom, 1.0),
        bias=start.bias + step.bias,
        count=np.minimum(start.count, step.count),
        fewest=np.minimum(start.fewest, step.fewest),
        status=tuple(_worse(one, other) for one, other in zip(start.status, step.status, strict=True)),
        evaluations=change.evaluations,
        lookups=change.lookups,
        seconds=change.seconds,
    )


@dataclass(frozen=True, eq=False)
class _Aligned:
    """The arrays of `Values` for other owners."""

    value: Float[np.ndarray, " owners"]
    variance: Float[np.ndarray, " owners"]
    freedom: Float[np.ndarray, " owners"]
    bias: Float[np.ndarray, " owners"]
    count: np.ndarray
    fewest: np.ndarray
    status: tuple[Status, ...]


def _aligned(values: Values, owners: tuple[int, ...]) -> _Aligned:
    place = {owner: row for row, owner in enumerate(values.owners)}
    rows = np.array([place.get(owner, len(place)) for owner in owners])
    most = np.iinfo(np.int64).max
    return _Aligned(
        value=np.append(values.value, 0.0)[rows],
        variance=np.append(values.variance, 0.0)[rows],
        freedom=np.append(values.freedom, np.inf)[rows],
        bias=np.append(values.bias, 0.0)[rows],
        count=np.append(values.count, most)[rows],
        fewest=np.append(values.fewest, most)[rows],
        status=tuple((*values.status, Status.EXACT)[row] for row in rows),
    )


def _worse(one: Status, other: Status) -> Status:
    order = (Status.EXACT, Status.ESTIMATED, Status.BIASED, Status.INCOMPLETE)
    return max(one, other, key=order.index)
