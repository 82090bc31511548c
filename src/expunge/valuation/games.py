"""Known games: oracles whose values follow from a formula, for tests, for docs and for anybody's sanity.

`s_shapley(partition)` is the closed form for any partition, where there is one. All are over owners 0..owners-1.
"""

from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Bool, Float

from expunge.errors import ProgrammerError
from expunge.randomness import numpy_generator
from expunge.valuation.partition import Partition


@dataclass(frozen=True)
class Additive:
    """Each owner brings a fixed amount. Value = that amount, whatever the partition."""

    amounts: tuple[float, ...]

    @property
    def owners(self) -> int:
        """Number of columns."""
        return len(self.amounts)

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """The sum of the members' amounts."""
        return coalitions @ np.array(self.amounts, dtype=np.float64)

    def s_shapley(self, partition: Partition) -> Float[np.ndarray, " present"]:
        """In the order of `partition.owners`."""
        return np.array([self.amounts[owner] for owner in partition.owners], dtype=np.float64)


@dataclass(frozen=True)
class Dividends:
    """A sum of unanimity games: `amounts[j]` is earned when all of `sets[j]` are in. Every game is one of these.

    Harsanyi's dividends: S-Shapley splits each equally over the shards it touches, and there equally over the members
    it touches; those who left take their dividends with them.
    """

    owners: int
    sets: tuple[tuple[int, ...], ...]
    amounts: tuple[float, ...]

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """The sum of the amounts earned."""
        earned = [coalitions[:, list(members)].all(1) * amount for members, amount in self._terms]
        return np.asarray(sum(earned, np.zeros(len(coalitions))))

    def s_shapley(self, partition: Partition) -> Float[np.ndarray, " present"]:
        """In the order of `partition.owners`."""
        value = dict.fromkeys(partition.owners, 0.0)
        for members, amount in self._terms:
            if value.keys() >= set(members):
                _divide(value, partition, members, amount)
        return np.array(list(value.values()), dtype=np.float64)

    @property
    def _terms(self) -> list[tuple[tuple[int, ...], float]]:
        return list(zip(self.sets, self.amounts, strict=True))


def unanimity(owners: int, members: tuple[int, ...]) -> Dividends:
    """1 when all of `members` are in, else 0."""
    return Dividends(owners, (members,), (1.0,))


def random_dividends(owners: int, terms: int, seed: int) -> Dividends:
    """Dividends on random sets of one to four owners: a random game of any size whose values are known."""
    generator = numpy_generator(seed, "valuation/dividends")
    sizes = generator.integers(1, min(4, owners) + 1, terms)
    sets = tuple(tuple(generator.permutation(owners)[:size].tolist()) for size in sizes)
    return Dividends(owners, sets, tuple(generator.normal(size=terms).tolist()))


@dataclass(frozen=True)
class Airport:
    """The runway that the largest member needs: U(S) = max of the members' costs, all >= 0.

    The sum over steps of (step) * [somebody needs it], and "somebody of T" shares as "all of T" does (duality).
    Littlechild and Owen 1973; with a-priori unions Vazquez-Brage, van den Nouweland, Garcia-Jurado 1997.
    """

    costs: tuple[float, ...]

    def __post_init__(self) -> None:
        if min(self.costs, default=-1.0) < 0:
            raise ProgrammerError("bad-hyperparameter", "costs are >= 0, for at least one owner")

    @property
    def owners(self) -> int:
        """Number of columns."""
        return len(self.costs)

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """The largest cost in each coalition."""
        return np.asarray(np.where(coalitions, np.array(self.costs, dtype=np.float64), 0.0).max(1))

    def s_shapley(self, partition: Partition) -> Float[np.ndarray, " present"]:
        """In the order of `partition.owners`."""
        value, before = dict.fromkeys(partition.owners, 0.0), 0.0
        for cost in sorted({self.costs[owner] for owner in partition.owners}):
            users = tuple(owner for owner in partition.owners if self.costs[owner] >= cost)
            _divide(value, partition, users, cost - before)
            before = cost
        return np.array(list(value.values()), dtype=np.float64)


@dataclass(frozen=True)
class Voting:
    """1 when the members' weights reach `quota`, else 0. Equal weights make a majority game: 1/n each, by symmetry."""

    weights: tuple[float, ...]
    quota: float

    @property
    def owners(self) -> int:
        """Number of columns."""
        return len(self.weights)

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """Whether each coalition wins."""
        return (coalitions @ np.array(self.weights, dtype=np.float64) >= self.quota).astype(np.float64)


@dataclass(frozen=True)
class Glove:
    """Left and right gloves: owners 0..left-1 hold one left glove each, the others a right one. Pairs are worth 1."""

    left: int
    right: int

    @property
    def owners(self) -> int:
        """Number of columns."""
        return self.left + self.right

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """The number of pairs."""
        pairs = np.minimum(coalitions[:, : self.left].sum(1), coalitions[:, self.left :].sum(1))
        return np.asarray(pairs, dtype=np.float64)

    def shapley(self) -> Float[np.ndarray, " owners"]:
        """The Shapley value where one side has a single glove: 1 - 1/n to it, 1/(n (n-1)) to each of the others.

        **Raises:** `ProgrammerError("bad-hyperparameter")` where both sides have more: no short formula.
        """
        if min(self.left, self.right) != 1:
            raise ProgrammerError("bad-hyperparameter", "the closed form is for one glove against many")
        value = np.full(self.owners, 1 / (self.owners * (self.owners - 1)))
        value[0 if self.left == 1 else -1] = 1 - 1 / self.owners
        return value


@dataclass(frozen=True, eq=False)
class Table:
    """Any game, from the worth of each coalition: entry s of `worth` is that of the owners whose bits are in s."""

    worth: Float[np.ndarray, " subsets"]

    def __post_init__(self) -> None:
        if len(self.worth) < 2 or len(self.worth) & (len(self.worth) - 1):
            raise ProgrammerError("bad-utility", "a table has 2^n entries, n >= 1")

    @property
    def owners(self) -> int:
        """Number of columns."""
        return len(self.worth).bit_length() - 1

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """Looked up."""
        return np.asarray(self.worth[coalitions @ (1 << np.arange(self.owners))])


def paper_game() -> Table:
    """The paper's example: with shards {0, 1}, {2} the values are (3, 7, 2), without shards (8/3, 20/3, 8/3)."""
    return Table(np.array([0.0, 2.0, 2.0, 10.0, 2.0, 2.0, 10.0, 12.0]))


def random_game(owners: int, seed: int) -> Table:
    """Independent normal worths, U(empty) included."""
    return Table(numpy_generator(seed, "valuation/random-game").normal(size=1 << owners))


def _divide(value: dict[int, float], partition: Partition, members: tuple[int, ...], amount: float) -> None:
    """Split an amount equally over the shards that the members touch, and there equally over the members."""
    touched = [[owner for owner in shard if owner in members] for shard in partition.shards]
    shares = [[amount / len(part)] * len(part) for part in touched if part]
    for owner, share in zip(chain.from_iterable(touched), chain.from_iterable(shares), strict=True):
        value[owner] += share / len(shares)
