"""Strata of the estimator of a change: which units and contexts bring a leaver, and drawing such coalitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Float, Int

from expunge.randomness import numpy_generator
from expunge.valuation.blocks import Block, blocks
from expunge.valuation.partition import Partition
from expunge.valuation.strata import ranges

LISTED = 4096
"""Choices of units, where there are at most so many, come without repetition until all were looked at."""

FINE = 2
"""Levels of c near the ends that are strata of their own, where units hold a leaver."""

Choice = tuple[int, ...]


@dataclass(frozen=True)
class Side:
    """c units of one block, c uniform in `c`, either all choices that hold a leaver (`touched`) or all that hold none.

    **Arguments:**

    - `number`: of the block in `blocks(partition)`.
    - `units`, `contexts`: those that hold a leaver.
    - `levels`: ranges of b, the number of contexts, each of which every draw looks at.
    """

    number: int
    block: Block
    c: tuple[int, int]
    touched: bool
    units: Choice
    contexts: Choice
    levels: tuple[tuple[int, int], ...]

    @property
    def cells(self) -> int:
        """How many c."""
        return self.c[1] - self.c[0] + 1

    @property
    def like(self) -> tuple[bool, int, int, int, bool]:
        """Equal for blocks of one kind."""
        return self.block.shard is None, len(self.block.units), len(self.units), len(self.contexts), self.touched

    @property
    def population(self) -> int | None:
        """Choices of units, where c is one number and they are few."""
        if self.cells > 1 or comb(len(self.block.units), self.c[0]) > LISTED:
            return None
        return len(_listed(len(self.block.units), self.c[0], self.units, self.touched))

    @property
    def limit(self) -> float:
        """The most that can be drawn. Beside contexts, which differ from draw to draw, none is the last."""
        return float(self.population or np.inf) if not self.block.contexts else np.inf

    def chance(self, c: int) -> float:
        """P(t): the chance of this side among all choices of c units."""
        without = _without(len(self.block.units), len(self.units), c)
        return 1 - without if self.touched else without

    def beside(self, b: int) -> float:
        """Chance that b contexts and these units hold a leaver."""
        return 1.0 if self.touched else 1 - _without(len(self.block.contexts), len(self.contexts), b)

    @property
    def reach(self) -> float:
        """The most that one look weighs in what a draw shows."""
        return max((high - low + 1) * self.beside(high) for low, high in self.levels)

    def inclusion(self, c: int) -> Float[np.ndarray, " units"]:
        """q_i = P(unit i is chosen | this side, c)."""
        return _inclusion(len(self.block.units), self.units, self.touched, c)


@dataclass(frozen=True, eq=False)
class Looks:
    """Coalitions to evaluate, the draw that each belongs to and its weight there; each draw's stratum and units."""

    members: list[list[int]]
    draw: Int[np.ndarray, " looks"]
    weight: Float[np.ndarray, " looks"]
    stratum: Int[np.ndarray, " draws"]
    chosen: list[list[int]]


@lru_cache(maxsize=4)
def sides(partition: Partition, gone: tuple[int, ...], fine: int) -> tuple[Side, ...]:
    """All strata in which the game is not 0 for certain; those of a block stand together."""
    found = []
    for number, block in enumerate(blocks(partition)):
        units, contexts = (_holding(part, gone) for part in (block.units, block.contexts))
        levels = tuple(ranges(0, len(block.contexts), fine, both_ends=False))
        k = len(block.units)
        inside = ranges(1, k - 1, FINE, both_ends=True) if units else []
        found += [Side(number, block, c, True, units, contexts, levels) for c in inside]
        top = min(k - 1, k - len(units))
        if contexts and top:
            found.append(Side(number, block, (1, top), False, units, contexts, levels[1:]))
    return tuple(found)


def looks(
    plan: Sequence[Side],
    have: Int[np.ndarray, " strata"],
    more: Int[np.ndarray, " strata"],
    seed: int,
    generator: np.random.Generator,
) -> Looks:
    """The next `more` draws of each stratum, after the `have` before; each beside contexts of every range of sizes."""
    members: list[list[int]] = []
    chosen: list[list[int]] = []
    weight, draw = [], []
    for number in np.flatnonzero(more).tolist():
        side = plan[number]
        fixed = numpy_generator(seed, f"valuation/touched/{number}")
        for units in _choices(side, int(have[number]), int(more[number]), fixed, generator):
            for low, high in side.levels:
                b = int(generator.integers(low, high + 1))
                contexts = _some(len(side.block.contexts), b, () if side.touched else side.contexts, generator)
                members.append(side.block.members(contexts, units))
                weight.append((high - low + 1) * side.beside(b))
                draw.append(len(chosen))
            chosen.append(side.block.members((), units))
    stratum = np.repeat(np.arange(len(plan)), more)
    return Looks(members, np.array(draw, dtype=np.int64), np.array(weight, dtype=np.float64), stratum, chosen)


def _choices(
    side: Side, have: int, more: int, fixed: np.random.Generator, generator: np.random.Generator
) -> list[Choice]:
    """Numbers `have`.. of the list, shuffled anew whenever it is through; independent draws where there is no list."""
    k = len(side.block.units)
    if (population := side.population) is not None:
        turns = [fixed.permutation(population) for _ in range(-(-(have + more) // population))]
        every = _listed(k, side.c[0], side.units, side.touched)
        return [every[place] for place in np.concatenate(turns)[have : have + more].tolist()]
    sizes = generator.integers(side.c[0], side.c[1] + 1, more).tolist()
    if side.touched:
        return [_some(k, c, side.units, generator) for c in sizes]
    others = _others(k, side.units)
    return [tuple(generator.permutation(others)[:c].tolist()) for c in sizes]


def _some(count: int, size: int, required: Choice, generator: np.random.Generator) -> Choice:
    """Uniform among the sets of `size` out of 0..count-1 that hold one of `required`, where any is required."""
    if not required:
        return tuple(generator.permutation(count)[:size].tolist())
    odds, others = _odds(count, size, len(required)), _others(count, required)
    j = 1 + int(odds.searchsorted(generator.random() * odds[-1], side="right"))
    return (*generator.permutation(required)[:j].tolist(), *generator.permutation(others)[: size - j].tolist())


@lru_cache(maxsize=4096)
def _odds(count: int, size: int, r: int) -> Float[np.ndarray, " numbers"]:
    """Chances, added up, that `size` out of `count` hold 1, 2, ... of `r`, given that they hold any."""
    total = comb(count, size) - comb(count - r, size)
    return np.cumsum([comb(r, j) * comb(count - r, size - j) / total for j in range(1, min(r, size) + 1)])


@lru_cache(maxsize=64)
def _others(count: int, those: Choice) -> Int[np.ndarray, " others"]:
    return np.setdiff1d(np.arange(count), those)


def _holding(parts: Sequence[tuple[int, ...]], gone: tuple[int, ...]) -> Choice:
    return tuple(number for number, owners in enumerate(parts) if not set(gone).isdisjoint(owners))


@lru_cache(maxsize=256)
def _listed(k: int, c: int, units: Choice, touched: bool) -> list[Choice]:
    held = set(units)
    return [choice for choice in combinations(range(k), c) if held.isdisjoint(choice) != touched]


def _without(count: int, marked: int, size: int) -> float:
    """Chance that `size` out of `count` hold none of the `marked`."""
    return comb(count - marked, size) / comb(count, size)


@lru_cache(maxsize=4096)
def _inclusion(k: int, units: Choice, touched: bool, c: int) -> Float[np.ndarray, " units"]:
    u, marked = len(units), np.isin(np.arange(k), units)
    if not touched:
        return np.where(marked, 0.0, c / max(k - u, 1))
    # One of the others who is chosen leaves c-1 to hold a leaver.
    other = 1 - _without(k - 1, u, c - 1) if u < k else 1.0
    return np.asarray(c / k * np.where(marked, 1.0, other) / (1 - _without(k, u, c)))
