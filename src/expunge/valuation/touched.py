"""The estimator of a change: of a game that is worth 0 for every coalition without a leaver."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from expunge.errors import ProgrammerError
from expunge.valuation.blocks import blocks, divisor, spread
from expunge.valuation.estimator import Ask, Estimate, State, Status
from expunge.valuation.partition import Partition, rows
from expunge.valuation.strata import allocate
from expunge.valuation.touched_strata import Side, looks, sides

POOLED = 4
"""Weight, in draws, of the variance pooled over blocks of one kind in the variance of one stratum."""

FLOOR = 0.25
"""Least priority of a stratum, as a share of the highest: a block that looks quiet is still looked at."""

RARE = 2
"""Draws of each stratum that are supposed to have moved by one step: z^2/2 at 95 %, as in Agresti and Coull."""

COST = 8
"""Coalitions that one draw counts for in the width of a round: a game and its twin without the leavers, four sizes."""


@dataclass(frozen=True)
class Touched:
    """Stratified sampling of a game in which every coalition (the empty one apart) without any of `gone` is worth 0.

    A draw chooses c units of a block (`blocks.py`) and looks at them beside contexts of every size at once:

        Y = sum over ranges of b of |range| P(touched | b) U(contexts, units),

    b uniform in its range, the contexts uniform among those that bring a leaver where the units hold none. Contexts are
    complete shards and need no training, so that a draw costs one constituent, or two. With p = c/k, t telling whether
    the units hold a leaver, and q_i = P(i chosen | t), Y says what every unit adds:

        sum over b of D_i(b, c) = sum over t of P(t)/(p (1-p)) * { Cov(Y, x_i | t) + E[Y | t] (q_i - p) }.

    Draws are shared out by block, not by what single strata have shown: a change is 0 for the most, and a stratum that
    few draws call quiet keeps what they happened to say, which biases the estimate. Derivation: `docs/valuation.md`.

    The stated variance is that of independent draws. Choices from a list leave less to chance, so that it is too large
    beside contexts: 2.7 times in the tests' game in which everybody leaves.

    Accuracy moves in steps of a test record, and for most coalitions not at all: n draws that all gave 0 vary by
    nothing, and yet one draw in n/3 may well give something else. So every stratum counts as if `RARE` draws more had
    moved by one `step` in the look that weighs most, at the leverage of its draws. With k of n draws unlike the rest, k
    nearly Poisson, what is stated is k -+ z sqrt(k + 2) in place of k -+ z sqrt(k): at 95 % it holds the rate in 0.931
    of cases or more, whatever the rate (by summation); the other, where the rate is near 0, never. It is the plus-two
    rule of Agresti and Coull, The American Statistician 52(2), 1998, around the unbiased estimate. Changes that are
    rare and of many steps are not covered by it.

    **Arguments:**

    - `gone`: columns of those without whom the game is 0; all owners make it an estimator of any game.
    - `fine`: sizes of contexts near 0 that are looked at one by one.
    - `pilot`: draws of each stratum before there is an estimate, twice as many where units hold no leaver; at least 2.
    - `step`: the least difference between two utilities, of accuracy one test record's share; 0 where there is none.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    gone: tuple[int, ...]
    fine: int = 1
    pilot: int = 3
    step: float = 0.0

    def __post_init__(self) -> None:
        if not self.gone or self.fine < 1 or self.pilot < 2 or not 0 <= self.step < np.inf:
            raise ProgrammerError("bad-hyperparameter", "gone names somebody, fine >= 1, pilot >= 2, step is >= 0")

    def start(self, partition: Partition, seed: int) -> State:
        """Nothing drawn."""
        none = np.zeros(len(sides(partition, self.gone, self.fine)), np.int64)
        return {
            "seed": np.array(seed, np.int64),
            "have": none,
            "looked": none,
            "ends": np.full(2, np.nan),
            "stratum": np.zeros(0, np.int64),
            "chosen": np.zeros((0, -(-partition.width // 8)), np.uint8),
            "utility": np.zeros(0),
        }

    def sample(self, partition: Partition, state: State, ask: Ask, generator: np.random.Generator, size: int) -> State:
        """The pilot first, whole; then what the noise of the blocks calls for."""
        plan, have = sides(partition, self.gone, self.fine), state["have"]
        limit = np.array([side.limit for side in plan])
        least = np.minimum(limit, [self.pilot * (1 if side.touched else 2) for side in plan]).astype(np.int64)
        if (have < least).any():
            more = np.maximum(least - have, 0)
        elif plan:
            noise, _ = _noise(plan, _differences(plan, state, self.step).squares, have)
            more = allocate(_priority(partition, plan, noise), have, limit, max(1, size // COST))
        else:
            more = have
        drawn = looks(plan, have, more, int(state["seed"]), generator)
        ends = np.isin(np.arange(partition.width), partition.owners)
        worth = ask(np.concatenate([np.zeros_like(ends)[None], ends[None], rows(drawn.members, partition.width)]))
        packed = np.packbits(rows(drawn.chosen, partition.width), axis=1)
        found = np.bincount(drawn.draw, worth[2:] * drawn.weight, len(drawn.chosen))
        return {
            **state,
            "have": have + more,
            "looked": state["looked"] + np.bincount(drawn.stratum[drawn.draw], minlength=len(plan)),
            "ends": worth[:2],
            "stratum": np.concatenate([state["stratum"], drawn.stratum]),
            "chosen": np.concatenate([state["chosen"], packed]),
            "utility": np.concatenate([state["utility"], found]),
        }

    def estimate(self, partition: Partition, state: State) -> Estimate:
        """U(all) - U(empty), and what the shard adds to its equal share, and the owner to the shard's."""
        plan, have, scale = sides(partition, self.gone, self.fine), state["have"], divisor(partition)
        found = _differences(plan, state, self.step)
        noise, freedom = _noise(plan, found.squares, have)
        left = np.array([_spared(side.limit, count) for side, count in zip(plan, have.tolist(), strict=True)])
        parts = zip(left, noise, found.profile, found.leaning, strict=True)
        share = [at * (one * unit + lean) for at, one, unit, lean in parts]
        variance = _total(partition, plan, share) / scale**2
        weight = [each**2 / degrees for each, degrees in zip(share, freedom, strict=True)]
        total = _total(partition, plan, weight) / scale**4
        known = np.full(partition.width, np.isfinite(state["ends"]).all())
        exact = known & (_total(partition, plan, (left > 0).astype(float)) == 0)
        best = np.where(exact, Status.EXACT, Status.ESTIMATED)
        return Estimate(
            value=np.where(known, (state["ends"] @ [-1, 1] + _total(partition, plan, found.sums)) / scale, 0.0),
            variance=np.where(known, variance, np.inf),
            freedom=np.divide(variance**2, total, out=np.full(len(scale), np.inf), where=known & (total > 0)),
            count=_total(partition, plan, state["looked"]).astype(np.int64),
            fewest=_fewest(partition, plan, have),
            bias=np.zeros(len(scale)),
            status=tuple(Status(str(text)) for text in np.where(known, best, Status.INCOMPLETE)),
        )


@dataclass(frozen=True, eq=False)
class _Differences:
    """For each stratum its units' differences, squares of the covariance's noise, how much of that is each unit's (1 on
    average), and variances of the mean's part."""

    sums: list[Float[np.ndarray, " _"]]
    squares: Float[np.ndarray, " strata"]
    profile: list[Float[np.ndarray, " _"]]
    leaning: list[Float[np.ndarray, " _"]]


def _differences(plan: Sequence[Side], state: State, step: float) -> _Differences:
    """The formula of the class, stratum by stratum."""
    chosen = np.unpackbits(state["chosen"], axis=1).astype(np.bool_)
    sums, squares, profile, leaning = [], np.zeros(len(plan)), [], []
    for number, side in enumerate(plan):
        mine = np.flatnonzero(state["stratum"] == number)
        x, y, n = side.block.chosen(chosen[mine]).astype(np.float64), state["utility"][mine], max(len(mine), 1)
        levels, at = np.unique(x.sum(1).astype(np.int64), return_inverse=True)
        p, apart = levels / x.shape[1], max(n - 1, 1)
        factor = (side.cells * np.array([side.chance(c) for c in levels.tolist()]) / (p * (1 - p)))[at]
        q = np.array([side.inclusion(c) for c in levels.tolist()]).reshape(-1, x.shape[1])[at]
        noise, inside = factor * (y - y.sum() / n), x - q
        lean = (factor * y)[:, None] * (q - p[at, None])
        mean = lean.sum(0) / n
        sums.append(_repeated(side.population, len(mine)) * (noise @ inside) / apart + mean)
        rare, leverage = RARE * (step * side.reach) ** 2, factor**2 / n
        squares[number] = (noise**2 + rare * leverage) @ (inside**2).mean(1)
        varied = (q * (1 - q)).sum(0)
        profile.append(varied / varied.mean() if varied.sum() > 1e-9 else np.zeros(len(varied)))
        leaning.append((((lean - mean) ** 2).sum(0) + rare * leverage @ (q - p[at, None]) ** 2) / apart)
    return _Differences(sums, squares, profile, leaning)


def _repeated(population: int | None, have: int) -> float:
    """Draws from a list differ more often than independent ones do, which makes their sample covariance too large."""
    if population is None or have < 2:
        return 1.0
    turns, more = divmod(have, population)
    same = more * (turns + 1) * turns + (population - more) * turns * (turns - 1)
    apart = 1 - same / (have * (have - 1))
    return (1 - 1 / population) / apart if apart > 0 else 0.0


def _spared(limit: float, have: int) -> float:
    """Variance in units of the noise; that of a list that is through and has no contexts is 0."""
    return 0.0 if have >= limit else 1 / max(have - 1, 1) - 1 / max(limit - 1, 1)


def _noise(
    plan: Sequence[Side], squares: Float[np.ndarray, " strata"], have: Int[np.ndarray, " strata"]
) -> tuple[Float[np.ndarray, " strata"], Float[np.ndarray, " strata"]]:
    """Noise of one draw and its degrees of freedom: the stratum's own, blended with that of like blocks."""
    group, degrees = _grouped([(side.like, side.c) for side in plan]), np.maximum(have - 1, 0)
    total = np.bincount(group, degrees)[group]
    pooled = np.bincount(group, squares)[group] / np.maximum(total, 1)
    extra = np.minimum(POOLED, total - degrees)
    return (squares + extra * pooled) / np.maximum(degrees + extra, 1), np.maximum(degrees + extra, 1.0)


def _priority(
    partition: Partition, plan: Sequence[Side], noise: Float[np.ndarray, " strata"]
) -> Float[np.ndarray, " strata"]:
    """Square root of what one draw's variance costs all owners together, by the mean of like blocks."""
    group, shared = _grouped([side.like for side in plan]), sum(1 / size for size in partition.sizes)
    reach = np.array([shared if side.block.shard is None else 1 / len(side.block.units) for side in plan])
    found = np.sqrt((np.bincount(group, noise) / np.bincount(group))[group] * reach)
    return np.maximum(found, FLOOR * found.max()) if found.max() > 0 else np.ones(len(plan))


def _grouped(kinds: Sequence[Hashable]) -> Int[np.ndarray, " kinds"]:
    number = {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}
    return np.array([number[kind] for kind in kinds], dtype=np.int64)


def _total(
    partition: Partition, plan: Sequence[Side], amounts: Sequence[Float[np.ndarray, " _"]] | np.ndarray
) -> Float[np.ndarray, " width"]:
    """For each owner the sum over the strata of the owner's blocks."""
    parts = blocks(partition)
    first = np.cumsum([0, *(len(block.units) for block in parts)])
    units = np.zeros(first[-1])
    for side, amount in zip(plan, amounts, strict=True):
        units[first[side.number] : first[side.number + 1]] += amount
    return spread(partition, units)


def _fewest(partition: Partition, plan: Sequence[Side], have: Int[np.ndarray, " strata"]) -> Int[np.ndarray, " width"]:
    """For each owner the draws in the least filled of the owner's strata; many where all are 0 for certain."""
    found = np.full(partition.width, np.iinfo(np.int64).max)
    for side, count in zip(plan, have.tolist(), strict=True):
        for unit in side.block.units:
            found[list(unit)] = np.minimum(found[list(unit)], count)
    return found
