"""Partitions of owners into shards, and the coalitions and permutations that they permit."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, permutations, product

import numpy as np
from jaxtyping import Bool, Int

from expunge.errors import ProgrammerError, RequesterError


@dataclass(frozen=True)
class Partition:
    """Disjoint, non-empty shards of owners; owners are columns of a game and need not be consecutive.

    A permutation of the owners is **permitted** when the owners of each shard stand together; a coalition is permitted
    when at most one shard is in it only in part (the prefixes of permitted permutations).

    **Raises:** `ProgrammerError("bad-partition")` for no shard, an empty shard, a negative or a repeated owner.
    """

    shards: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        owners = list(chain.from_iterable(self.shards))
        if not self.shards or not all(self.shards):
            raise ProgrammerError("bad-partition", "a partition has at least one shard, and no shard is empty")
        if len(set(owners)) < len(owners) or min(owners) < 0:
            raise ProgrammerError("bad-partition", "each owner stands in one shard, as a column number >= 0")

    @classmethod
    def even(cls, owners: int, shards: int) -> "Partition":
        """Owners 0..owners-1 in `shards` consecutive shards whose sizes differ by at most one."""
        if not 1 <= shards <= owners:
            raise ProgrammerError("bad-partition", f"{owners} owners cannot fill {shards} shards")
        return cls(tuple(tuple(part.tolist()) for part in np.array_split(np.arange(owners), shards)))

    @classmethod
    def whole(cls, owners: int) -> "Partition":
        """One shard of all: S-Shapley is then the ordinary Shapley value."""
        return cls.even(owners, 1)

    @cached_property
    def owners(self) -> tuple[int, ...]:
        """All owners, ascending: the order of every result."""
        return tuple(sorted(chain.from_iterable(self.shards)))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Owners in each shard."""
        return tuple(map(len, self.shards))

    @cached_property
    def width(self) -> int:
        """Columns that a coalition of these owners needs."""
        return self.owners[-1] + 1

    @cached_property
    def shard_of(self) -> dict[int, int]:
        """The shard of each owner."""
        return {owner: number for number, shard in enumerate(self.shards) for owner in shard}

    @property
    def coalitions(self) -> int:
        """How many different coalitions are permitted: the utilities that exact values take."""
        beside = 1 << (len(self.shards) - 1)
        return 2 * beside + sum(beside * ((1 << size) - 2) for size in self.sizes)

    def without(self, leavers: Iterable[int]) -> "Partition":
        """The partition of those who stay; a shard that empties is gone. Columns keep their meaning.

        **Raises:** `RequesterError`: `nothing-to-delete`, `unknown-owner`, `delete-everything`.
        """
        gone = frozenset(leavers)
        if not gone:
            raise RequesterError("nothing-to-delete", "no owner was named")
        if not gone <= self.shard_of.keys():
            raise RequesterError("unknown-owner", "an owner who is to leave stands in no shard")
        if len(gone) == len(self.owners):
            raise RequesterError("delete-everything", "nobody would be left to value")
        kept = (tuple(owner for owner in shard if owner not in gone) for shard in self.shards)
        return Partition(tuple(shard for shard in kept if shard))

    def including(self, owner: int, shard: int) -> "Partition":
        """The partition with one more owner in shard number `shard`; the next number opens a new shard."""
        if not 0 <= shard <= len(self.shards):
            raise ProgrammerError("bad-partition", f"shards are 0..{len(self.shards) - 1}; one more opens a new one")
        shards = [*self.shards, ()] if shard == len(self.shards) else list(self.shards)
        shards[shard] = (*shards[shard], owner)
        return Partition(tuple(shards))

    def draw(self, generator: np.random.Generator) -> Int[np.ndarray, " present"]:
        """One permitted permutation, uniform over all of them: shards shuffled, owners shuffled within."""
        order = generator.permutation(len(self.shards))
        return np.concatenate([generator.permutation(np.array(self.shards[shard])) for shard in order])

    def permutations(self) -> Iterator[tuple[int, ...]]:
        """Every permitted permutation; there are m! times the product of the shards' factorials."""
        for order in permutations(self.shards):
            for parts in product(*(permutations(shard) for shard in order)):
                yield tuple(chain.from_iterable(parts))

    def permits(self, coalition: Bool[np.ndarray, " owners"]) -> bool:
        """Whether at most one shard is in the coalition only in part, and nobody from outside the partition."""
        inside = [int(coalition[list(shard)].sum()) for shard in self.shards]
        partial = sum(0 < count < size for count, size in zip(inside, self.sizes, strict=True))
        return partial <= 1 and sum(inside) == int(coalition.sum())


def rows(owner_sets: Sequence[Iterable[int]], width: int) -> Bool[np.ndarray, "coalitions width"]:
    """A coalition matrix with one row for each set of owners."""
    columns = [list(owners) for owners in owner_sets]
    matrix = np.zeros((len(columns), width), dtype=np.bool_)
    row = np.repeat(np.arange(len(columns)), np.array([len(owners) for owners in columns], dtype=np.int64))
    matrix[row, np.array(list(chain.from_iterable(columns)), dtype=np.int64)] = True
    return matrix
