"""Strata of the adjusted estimator: which coalitions each holds, how many to draw from each, and drawing them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from expunge.randomness import numpy_generator
from expunge.valuation.blocks import Block, blocks, subset
from expunge.valuation.partition import Partition, rows

LISTED = 1 << 16
"""Cells of at most this many coalitions are drawn without replacement, in an order fixed by the seed."""


@dataclass(frozen=True)
class Stratum:
    """The cells (b, c) of one block with b in `b`, c in `c` (both ends included), all cells equally likely.

    **Arguments:**

    - `block`: number in `blocks(partition)`.
    - `population`: coalitions, where the stratum is one cell small enough to list; None is drawn with replacement.
    - `fold`: strata of one fold are adjusted by what the other folds taught.
    """

    block: int
    b: tuple[int, int]
    c: tuple[int, int]
    population: int | None
    fold: int

    @property
    def cells(self) -> int:
        """How many (b, c)."""
        return (self.b[1] - self.b[0] + 1) * (self.c[1] - self.c[0] + 1)


@dataclass(frozen=True, eq=False)
class Draws:
    """Coalitions with the stratum and the cell that each was drawn from."""

    coalitions: Bool[np.ndarray, "draws width"]
    stratum: Int[np.ndarray, " draws"]
    b: Int[np.ndarray, " draws"]
    c: Int[np.ndarray, " draws"]


@lru_cache(maxsize=4)
def strata(partition: Partition, fine: int, folds: int) -> tuple[Stratum, ...]:
    """All strata: each (b, c) for itself near the ends, in ranges of doubling width beyond `fine` levels."""
    found = []
    for number, block in enumerate(blocks(partition)):
        for row, b in enumerate(ranges(0, len(block.contexts), fine, both_ends=False)):
            for column, c in enumerate(ranges(1, len(block.units) - 1, fine, both_ends=True)):
                size = block.population(b[0], c[0]) if b[0] == b[1] and c[0] == c[1] else None
                listed = size if size is not None and size <= LISTED else None
                found.append(Stratum(number, b, c, listed, (row + column) % folds))
    return tuple(found)


def ranges(first: int, last: int, fine: int, *, both_ends: bool) -> list[tuple[int, int]]:
    """first..last cut into ranges: `fine` of width 1 at the start (and at the end), then 2, 4, 8, ... towards the rest.

    >>> ranges(0, 9, 3, both_ends=False), ranges(1, 7, 2, both_ends=True)
    ([(0, 0), (1, 1), (2, 2), (3, 4), (5, 8), (9, 9)], [(1, 1), (2, 2), (3, 5), (6, 6), (7, 7)])
    """
    left: list[tuple[int, int]] = []
    right: list[tuple[int, int]] = []
    while first <= last:
        width = 1 if len(left) < fine else 2 ** (len(left) - fine + 1)
        if both_ends and 2 * width <= last - first + 1:
            right.append((last - width + 1, last))
            last -= width
        elif both_ends and 2 * width > last - first + 1:
            width = max(width, last - first + 1) if width > 1 else width
        left.append((first, min(first + width - 1, last)))
        first += width
    return left + right[::-1]


def allocate(
    priority: Float[np.ndarray, " strata"],
    have: Int[np.ndarray, " strata"],
    limit: Float[np.ndarray, " strata"],
    more: int,
) -> Int[np.ndarray, " strata"]:
    """How many of `more` draws each stratum gets, so that all draws come closest to shares of `priority`.

    Neyman's allocation under the bounds that nothing drawn is undone and no stratum is drawn beyond `limit`: the level
    of water poured over steps. What rounding leaves goes to the largest remainders.
    """
    room = np.minimum(limit - have, more)
    more = int(min(more, room.sum()))
    if more <= 0:
        return np.zeros(len(have), np.int64)
    low, high = 0.0, float((have + more).max() / priority.min()) + 1.0
    for _ in range(100):
        level = (low + high) / 2
        if np.clip(level * priority - have, 0, room).sum() > more:
            high = level
        else:
            low = level
    ideal = np.clip(low * priority - have, 0, room)
    whole = np.floor(ideal).astype(np.int64)
    open_ = np.flatnonzero(whole < room)
    order = open_[np.argsort(-(ideal - whole)[open_], kind="stable")]
    whole[order[: more - int(whole.sum())]] += 1
    return np.asarray(whole)


def draw(
    partition: Partition,
    plan: tuple[Stratum, ...],
    have: Int[np.ndarray, " strata"],
    more: Int[np.ndarray, " strata"],
    seed: int,
    generator: np.random.Generator,
) -> Draws:
    """The next `more` coalitions of each stratum, after the `have` that were drawn before."""
    parts = blocks(partition)
    members: list[list[int]] = []
    cell: list[tuple[int, int]] = []
    for number in np.flatnonzero(more):
        kind = plan[number]
        block = parts[kind.block]
        wanted, before = int(more[number]), int(have[number])
        picked = (
            _listed(block, kind, numpy_generator(seed, f"valuation/strata/{number}"), before, wanted)
            if kind.population is not None
            else _anew(block, kind, generator, wanted)
        )
        members += [block.members(beside, chosen) for beside, chosen in picked]
        cell += [(len(beside), len(chosen)) for beside, chosen in picked]
    b, c = np.array(cell, dtype=np.int64).reshape(-1, 2).T
    return Draws(rows(members, partition.width), np.repeat(np.arange(len(plan)), more), b, c)


def _listed(
    block: Block, kind: Stratum, generator: np.random.Generator, before: int, wanted: int
) -> list[tuple[list[int], list[int]]]:
    """Numbers `before`.. of the stratum's own shuffled list."""
    order = generator.permutation(int(kind.population or 0))[before : before + wanted]
    b, c = kind.b[0], kind.c[0]
    inside = block.population(0, c)
    return [
        (subset(rank // inside, b, len(block.contexts)), subset(rank % inside, c, len(block.units)))
        for rank in order.tolist()
    ]


def _anew(
    block: Block, kind: Stratum, generator: np.random.Generator, wanted: int
) -> list[tuple[list[int], list[int]]]:
    """Independent draws: a cell, then a uniform coalition of it."""
    b = generator.integers(kind.b[0], kind.b[1] + 1, wanted)
    c = generator.integers(kind.c[0], kind.c[1] + 1, wanted)
    return [
        (generator.permutation(len(block.contexts))[:i].tolist(), generator.permutation(len(block.units))[:j].tolist())
        for i, j in zip(b.tolist(), c.tolist(), strict=True)
    ]
