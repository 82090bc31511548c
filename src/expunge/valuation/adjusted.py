"""Our estimator: strata without replacement, Neyman's allocation, and a regression that explains utilities away."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from expunge.errors import ProgrammerError
from expunge.valuation.blocks import Block, blocks, divisor, spread
from expunge.valuation.estimator import Ask, Estimate, State, Status
from expunge.valuation.partition import Partition
from expunge.valuation.strata import Stratum, allocate, draw, strata
from expunge.valuation.surrogate import Samples, basis, basis_count, residuals

POOLED = 4
"""Weight, in samples, of the variance pooled over like strata of other shards in the variance of one stratum."""


DOUBT = 2
"""Weight, in samples, of the mean noise of all strata in the judgement where to draw. Two draws alike show no noise: a
stratum that were then left alone would keep what they happened to say, which biases a game that is 0 for the most."""

PILOT = 512
"""Draws of a pilot that come in one round, however narrow the rounds: before it is whole there is nothing to judge."""


@dataclass(frozen=True)
class Adjusted:
    """Stratified utility sampling with three savings. The default.

    A stratum holds coalitions of b complete shards and c units of a block (`blocks.py`). In it, the difference that
    unit i makes is estimated by the sample covariance of r = U - g with i's membership, plus g's own difference:

        D_i = D_i(g) + (P-1)/P * sum_k (r_k - mean r)(x_ik - p) / ((n-1) p (1-p)),    p = c/k, P coalitions.

    1. g is a linear model fitted on other strata (a control variate): only what it does not explain is noise.
    2. Draws go where they lower the variance most (Neyman), judged by the residuals so far.
    3. Small strata are drawn without replacement, so that one that is exhausted is exact.

    Unbiased for a given allocation; that the allocation learns from residuals adds a bias of lower order than the
    standard error, which the tests bound by simulation. Derivation and curves: `docs/valuation.md`.

    **Arguments:**

    - `fine`: levels near the ends that are strata of their own; fewer means a smaller pilot and coarser strata.
    - `folds`: of strata, for fitting g; at least 2.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    fine: int = 4
    folds: int = 4

    def __post_init__(self) -> None:
        if self.fine < 1 or self.folds < 2:
            raise ProgrammerError("bad-hyperparameter", "fine must be >= 1 and folds >= 2")

    def pilot(self, partition: Partition) -> int:
        """Coalitions that must be evaluated before there is an estimate: two for each stratum, and both ends."""
        return 2 + int(_least(strata(partition, self.fine, self.folds)).sum())

    def start(self, partition: Partition, seed: int) -> State:
        """Nothing drawn."""
        none = np.zeros(0, np.int64)
        return {
            "seed": np.array(seed, np.int64),
            "have": np.zeros(len(strata(partition, self.fine, self.folds)), np.int64),
            "ends": np.full(2, np.nan),
            "coalitions": np.zeros((0, -(-partition.width // 8)), np.uint8),
            "stratum": none,
            "b": none,
            "c": none,
            "utility": np.zeros(0),
            "sums": np.zeros(sum(len(block.units) for block in blocks(partition))),
            "noise": np.zeros(len(strata(partition, self.fine, self.folds))),
            "freedom": np.ones(len(strata(partition, self.fine, self.folds))),
        }

    def sample(self, partition: Partition, state: State, ask: Ask, generator: np.random.Generator, size: int) -> State:
        """The pilot first, then what the residuals call for."""
        plan = strata(partition, self.fine, self.folds)
        have, least = state["have"], _least(plan)
        if not plan:
            more = have
        elif (have < least).any():
            size = max(size, min(PILOT, int((least - have).sum())))
            more = allocate(1.0 * (have < least) + 1e-9, have, least.astype(np.float64), size)
        else:
            more = allocate(_priority(partition, plan, state["noise"], have), have, _limits(plan), size)
        drawn = draw(partition, plan, have, more, int(state["seed"]), generator)
        nobody = np.zeros((1, partition.width), np.bool_)
        everybody = np.isin(np.arange(partition.width), partition.owners)[None]
        worth = ask(np.concatenate([nobody, everybody, drawn.coalitions]))
        added = {"stratum": drawn.stratum, "b": drawn.b, "c": drawn.c, "utility": worth[2:]}
        added["coalitions"] = np.packbits(drawn.coalitions, axis=1)
        grown = {name: np.concatenate([state[name], part]) for name, part in added.items()}
        held = {**state, **grown, "have": have + more, "ends": worth[:2]}
        return {**held, **_analyse(partition, plan, held, self.folds)}

    def estimate(self, partition: Partition, state: State) -> Estimate:
        """U(all) - U(empty), and what the shard adds to its equal share, and the owner to the shard's."""
        plan, parts = strata(partition, self.fine, self.folds), blocks(partition)
        left = _spared(plan, state["have"])
        share = np.where(np.isfinite(left), state["noise"], 1.0) * left * _cells(plan) ** 2
        counts = [state["have"][_strata_of(plan, number)] for number in range(len(parts))]
        width, scale = partition.width, divisor(partition)
        total = float(state["ends"] @ [-1, 1]) + spread(partition, state["sums"])
        variance = _over_blocks(partition, plan, share) / scale**2
        weight = _over_blocks(partition, plan, share**2 / state["freedom"]) / scale**4
        known = np.isfinite(total) & np.isfinite(variance)
        exhausted = _over_blocks(partition, plan, 1.0 * (state["have"] < _limits(plan))) == 0
        return Estimate(
            value=np.where(known, total / scale, 0.0),
            variance=np.where(known, variance, np.inf),
            freedom=np.divide(variance**2, weight, out=np.full(width, np.inf), where=known & (weight > 0)),
            count=_over_blocks(partition, plan, state["have"]).astype(np.int64),
            fewest=_fewest(parts, counts, width),
            bias=np.zeros(width),
            status=_statuses(known, exhausted),
        )


def _priority(
    partition: Partition,
    plan: tuple[Stratum, ...],
    noise: Float[np.ndarray, " strata"],
    have: Int[np.ndarray, " strata"],
) -> Float[np.ndarray, " strata"]:
    """Neyman: square root of what one draw's variance costs all owners together; never quite 0."""
    shared = sum(1 / size for size in partition.sizes)
    reach = np.array([shared if block.shard is None else 1 / len(block.units) for block in blocks(partition)])
    degrees, cells = np.maximum(have - 1, 0), _cells(plan)
    judged = (degrees * noise + DOUBT * np.average(noise, weights=cells**2)) / (degrees + DOUBT)
    found = np.sqrt(judged * reach[[kind.block for kind in plan]]) * cells
    return np.maximum(found, 1e-6 * found.max()) if found.max() > 0 else np.ones(len(plan))


def _analyse(partition: Partition, plan: tuple[Stratum, ...], state: State, folds: int) -> dict[str, np.ndarray]:
    """Adjust, then estimate stratum by stratum: each unit's differences summed, and the noise of one draw."""
    sums, squares = [np.zeros(0)], np.zeros(len(plan))
    order = np.argsort(state["stratum"], kind="stable")
    edges = np.searchsorted(state["stratum"][order], np.arange(len(plan) + 1))
    for number, block in enumerate(blocks(partition)):
        mine = _strata_of(plan, number)
        picked = order[edges[mine.start] : edges[mine.stop]]
        samples = _samples(partition, block, plan, state, picked, mine)
        found, squares[mine] = _differences(block, plan[mine], samples, state["have"][mine], folds)
        sums.append(found)
    noise, freedom = _pooled(partition, plan, squares, state["have"])
    return {"sums": np.concatenate(sums), "noise": noise, "freedom": freedom}


def _samples(
    partition: Partition,
    block: Block,
    plan: tuple[Stratum, ...],
    state: State,
    picked: Int[np.ndarray, " samples"],
    mine: slice,
) -> Samples:
    """The samples of one block, with strata numbered from 0 and weighted by their part in the variance."""
    packed = state["coalitions"][picked]
    coalitions = np.unpackbits(packed, axis=1, count=partition.width).astype(np.bool_)
    group = state["stratum"][picked] - mine.start
    p = state["c"][picked] / len(block.units)
    spared = np.where(np.isfinite(left := _spared(plan[mine], state["have"][mine])), left, 0.0)
    part = spared / np.maximum(state["have"][mine] - 1, 1) * _cells(plan[mine]) ** 2
    weight = part[group] / (p * (1 - p))
    return Samples(
        chosen=block.chosen(coalitions).astype(np.float64),
        beside=block.beside(coalitions).astype(np.float64),
        b=state["b"][picked],
        c=state["c"][picked],
        group=group,
        fold=np.array([kind.fold for kind in plan[mine]], dtype=np.int64)[group],
        utility=state["utility"][picked],
        weight=weight / weight.max() if len(weight) and weight.max() > 0 else np.ones(len(weight)),
    )


def _differences(
    block: Block, kinds: tuple[Stratum, ...], samples: Samples, have: Int[np.ndarray, " kinds"], folds: int
) -> tuple[Float[np.ndarray, " units"], Float[np.ndarray, " kinds"]]:
    """Sum over strata of cells times D_i, and each stratum's sum of squared noise."""
    k = len(block.units)
    left, effects = residuals(samples, folds)
    p = samples.c / k
    mean = _by_group(samples.group, left, len(kinds)) / np.maximum(have, 1)
    r = left - mean[samples.group]
    correction = np.array([1.0 if kind.population is None else 1 - 1 / kind.population for kind in kinds])
    factor = correction * _cells(kinds) / np.maximum(have - 1, 1)
    weight = factor[samples.group] * r / (p * (1 - p))
    sums = weight @ (samples.chosen - p[:, None])
    fades = _mean_basis(kinds, basis_count(k, len(block.contexts)), folds)
    effect = sum((effects[fold] @ fades[fold] for fold in range(folds)), np.zeros(k))
    sums += (k * effect - effect.sum()) / (k - 1)
    return sums, _by_group(samples.group, r**2 / (p * (1 - p)), len(kinds))


def _by_group(
    group: Int[np.ndarray, " samples"], amounts: Float[np.ndarray, " samples"], count: int
) -> Float[np.ndarray, " {count}"]:
    """Sums by group; floats even where there are no samples."""
    return np.asarray(np.bincount(group, amounts, count), dtype=np.float64)


@lru_cache(maxsize=256)
def _mean_basis(kinds: tuple[Stratum, ...], count: int, folds: int) -> Float[np.ndarray, "folds bases"]:
    """For each fold the sum over the cells of its strata of the basis functions."""
    found = np.zeros((folds, count))
    for kind in kinds:
        b, c = np.meshgrid(np.arange(kind.b[0], kind.b[1] + 1.0), np.arange(kind.c[0], kind.c[1] + 1.0))
        found[kind.fold] += basis(b.ravel(), c.ravel(), count).sum(0)
    return found


def _pooled(
    partition: Partition,
    plan: tuple[Stratum, ...],
    squares: Float[np.ndarray, " strata"],
    have: Int[np.ndarray, " strata"],
) -> tuple[Float[np.ndarray, " strata"], Float[np.ndarray, " strata"]]:
    """Noise of one draw: the stratum's own, blended with that of equal strata in blocks of equal size."""
    parts = blocks(partition)
    kinds = [(parts[k.block].shard is None, len(parts[k.block].units), k.b, k.c) for k in plan]
    number = {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}
    group = np.array([number[kind] for kind in kinds], dtype=np.int64)
    degrees = np.maximum(have - 1, 0)
    total = np.bincount(group, degrees, len(number))[group]
    pooled = np.bincount(group, squares, len(number))[group] / np.maximum(total, 1)
    extra = np.minimum(POOLED, total - degrees)
    noise = (squares + extra * pooled) / np.maximum(degrees + extra, 1)
    return noise, np.maximum(degrees + extra, 1.0)


def _strata_of(plan: tuple[Stratum, ...], block: int) -> slice:
    """Strata of one block: they stand together."""
    return slice(bisect_left(plan, block, key=_block), bisect_right(plan, block, key=_block))


def _block(kind: Stratum) -> int:
    return kind.block


def _cells(plan: tuple[Stratum, ...]) -> Float[np.ndarray, " strata"]:
    return np.array([kind.cells for kind in plan], dtype=np.float64)


def _limits(plan: tuple[Stratum, ...]) -> Float[np.ndarray, " strata"]:
    """The most that can be drawn from each stratum."""
    return np.array([np.inf if kind.population is None else kind.population for kind in plan], dtype=np.float64)


def _least(plan: tuple[Stratum, ...]) -> Int[np.ndarray, " strata"]:
    """Draws that each stratum needs: two show a difference and a variance; one coalition is all of a stratum of one."""
    return np.asarray(np.minimum(_limits(plan), 2), dtype=np.int64)


def _spared(plan: tuple[Stratum, ...], have: Int[np.ndarray, " strata"]) -> Float[np.ndarray, " strata"]:
    """Variance of D_i in units of the noise: 1/(n-1) - 1/(P-1), as of any sample covariance; infinite at first."""
    limit = _limits(plan)
    sampled = 1 / np.maximum(have - 1, 1) - 1 / np.maximum(limit - 1, 1)
    return np.where(have >= limit, 0.0, np.where(have > 1, np.maximum(sampled, 0.0), np.inf))


def _over_blocks(
    partition: Partition, plan: tuple[Stratum, ...], amounts: Shaped[np.ndarray, " strata"]
) -> Float[np.ndarray, " width"]:
    """For each owner the sum over the strata of the owner's blocks."""
    parts = blocks(partition)
    block = np.array([kind.block for kind in plan], dtype=np.int64)
    whole = np.asarray(np.bincount(block, amounts, len(parts)), dtype=np.float64)
    return spread(partition, np.repeat(whole, np.array([len(part.units) for part in parts], dtype=np.int64)))


def _fewest(parts: tuple[Block, ...], counts: Sequence[Int[np.ndarray, " _"]], width: int) -> Int[np.ndarray, " width"]:
    """For each owner the draws in the least filled of the owner's strata."""
    found = np.full(width, np.iinfo(np.int64).max)
    for block, count in zip(parts, counts, strict=True):
        owners = [owner for unit in block.units for owner in unit]
        found[owners] = np.minimum(found[owners], count.min())
    return found


def _statuses(known: Bool[np.ndarray, " width"], exhausted: Bool[np.ndarray, " width"]) -> tuple[Status, ...]:
    best = np.where(exhausted, Status.EXACT, Status.ESTIMATED)
    return tuple(Status(str(text)) for text in np.where(known, best, Status.INCOMPLETE))
