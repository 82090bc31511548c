"""Strata (owner, b, c): b complete other shards and c owners of the owner's own. Shared by the stratified samplers."""

from collections.abc import Iterator
from functools import lru_cache
from math import comb

import numpy as np
from jaxtyping import Bool, Float, Int

from expunge.valuation.blocks import Block, blocks
from expunge.valuation.estimator import Estimate, State, Status
from expunge.valuation.partition import Partition, rows

POOLED = 2
"""Weight, in samples, of the variance pooled over owners in the variance of one stratum."""


def levels(
    partition: Partition, coalitions: Bool[np.ndarray, "coalitions width"]
) -> tuple[
    Bool[np.ndarray, "coalitions present"], Int[np.ndarray, "coalitions present"], Int[np.ndarray, "coalitions present"]
]:
    """For each coalition and owner: whether it informs the owner, and the b and c of the owner's stratum.

    A coalition informs an owner when every *other* shard is in it completely or not at all.
    """
    shard = np.array([partition.shard_of[owner] for owner in partition.owners])
    inside = coalitions.astype(np.int64) @ rows(partition.shards, partition.width).T.astype(np.int64)
    complete = inside == np.array(partition.sizes)
    partial = (inside > 0) & ~complete
    informed = (partial.sum(1, keepdims=True) - partial[:, shard]) == 0
    return informed, complete.sum(1, keepdims=True) - complete[:, shard], inside[:, shard]


def cut(partition: Partition, generator: np.random.Generator, count: int) -> Bool[np.ndarray, "coalitions width"]:
    """The paper's draw: a permitted permutation and a cut after its 1st..nth owner, both uniform."""
    heads = [partition.draw(generator)[: generator.integers(1, len(partition.owners) + 1)] for _ in range(count)]
    return rows([head.tolist() for head in heads], partition.width)


@lru_cache(maxsize=4)
def cells(partition: Partition) -> tuple[tuple[Block, int, int], ...]:
    """Every (block, b, c) in which something is chosen, in a fixed order."""
    return tuple(
        (block, b, c)
        for block in blocks(partition)
        for b in range(len(block.contexts) + 1)
        for c in range(1, len(block.units))
    )


def covering(block: Block, b: int, c: int, generator: np.random.Generator) -> Iterator[Bool[np.ndarray, " width"]]:
    """Few coalitions of one cell, each uniform, among which every unit is both in and out: windows on a circle."""
    circle, count = generator.permutation(len(block.units)), len(block.units)
    for start in range(0, count, min(c, count - c)):
        beside = generator.permutation(len(block.contexts))[:b]
        yield block.coalition(beside.tolist(), circle[(start + np.arange(c)) % count].tolist())


def empty_tally(partition: Partition, sides: int) -> dict[str, np.ndarray]:
    """Counts, sums and sums of squares of `sides` families of strata."""
    shape = (sides, partition.width, len(partition.shards), max(partition.sizes) + 1)
    zeros = {name: np.zeros(shape) for name in ("sum", "square")}
    return {"count": np.zeros(shape, np.int64), **zeros, "filled": np.zeros((), np.int64)}


def add_tally(
    state: State, index: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], found: Float[np.ndarray, " samples"]
) -> dict[str, np.ndarray]:
    """Add samples at (side, owner, b, c)."""
    new = {name: state[name].copy() for name in ("count", "sum", "square")}
    np.add.at(new["count"], index, 1)
    np.add.at(new["sum"], index, found)
    np.add.at(new["square"], index, found**2)
    return {**state, **new}


def populations(partition: Partition, plus: bool) -> Float[np.ndarray, "width shards levels"]:
    """Coalitions in each stratum, with the owner (`plus`) or without; 0 where there is no such stratum."""
    m = len(partition.shards)
    table = np.zeros((partition.width, m, max(partition.sizes) + 1))
    for owner, shard in partition.shard_of.items():
        others = partition.sizes[shard] - 1
        for c in range(others + 1):
            table[owner, :, c + plus] = [float(comb(m - 1, b) * comb(others, c)) for b in range(m)]
    return table


def tally_estimate(
    partition: Partition, state: State, population: Float[np.ndarray, "sides width shards levels"]
) -> Estimate:
    """The sum over sides (the second subtracts) of the mean over strata of each stratum's mean.

    A stratum of one coalition has no variance. Elsewhere the stratum's own spread is blended with the spread pooled
    over owners at the same (side, b, c). An owner with an empty stratum, or one whose variance nothing shows, is
    incomplete: the mean over the filled strata stands there, with infinite variance.
    """
    count, real = state["count"], population > 0
    sign = np.array([1.0, -1.0])[: len(count), None, None, None]
    filled = real & (count > 0)
    mean = np.divide(state["sum"], count, out=np.zeros_like(state["sum"]), where=filled)
    strata = np.maximum(filled.sum((2, 3), keepdims=True), 1)
    value = (sign * mean / strata).sum((0, 2, 3))
    spread, freedom = _spread(count, state["square"] - count * mean**2, filled & (population > 1))
    share = np.where(filled, spread / np.maximum(count, 1), np.inf) / strata**2
    share = np.where(real, share, 0.0)
    variance = share.sum((0, 2, 3))
    weight = (share**2 / freedom).sum((0, 2, 3))
    fewest = np.where(real, count, np.iinfo(np.int64).max).min((0, 2, 3))
    known = np.isfinite(variance)
    with np.errstate(invalid="ignore"):
        welch = np.where(known & (weight > 0), variance**2 / weight, np.inf)
    return Estimate(
        value, variance, welch, count.sum((0, 2, 3)), fewest, np.zeros(partition.width),
        tuple(Status.ESTIMATED if good else Status.INCOMPLETE for good in known),
    )  # fmt: skip


def _spread(
    count: Int[np.ndarray, "sides width shards levels"],
    squares: Float[np.ndarray, "sides width shards levels"],
    varied: Bool[np.ndarray, "sides width shards levels"],
) -> tuple[Float[np.ndarray, "sides width shards levels"], Float[np.ndarray, "sides width shards levels"]]:
    """Variance of one sample in each stratum, and its degrees of freedom; infinite where nothing shows it."""
    own = np.where(varied, np.maximum(squares, 0.0), 0.0)
    degrees = np.where(varied, count - 1, 0)
    total = degrees.sum(1, keepdims=True)
    pooled = np.divide(own.sum(1, keepdims=True), total, out=np.full(total.shape, np.inf), where=total > 0)
    with np.errstate(invalid="ignore"):
        blended = (own + POOLED * pooled) / (degrees + POOLED)
    return np.where(varied, blended, 0.0), degrees + np.minimum(POOLED, np.maximum(total, 1.0))
