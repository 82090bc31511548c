"""Which constituent models a batch of coalitions needs, and the game of sharded training over them.

A coalition's sharded model is made of one constituent for each shard, trained on the owners of that shard who are in
the coalition. Constituents are known by the set of owners that they saw: 64 owners in 8 shards have 2^64 coalitions
but only 8 * 255 constituents.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from expunge.errors import ProgrammerError
from expunge.valuation.partition import Partition

Owners = tuple[int, ...]
"""The owners that a constituent saw, ascending."""

PORTION = 256
"""Constituents that are trained at once: several stacks wide, and what a kill can lose at most."""

CHUNK = 512
"""Coalitions whose posteriors are in memory at once."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a batch of coalitions is made of.

    **Arguments:**

    - `ids`: constituent of each coalition and shard; -1 where the coalition has nobody of the shard.
    - `fresh`: owners of each constituent that is new, in the order of their ids.
    """

    ids: Int[np.ndarray, "coalitions shards"]
    fresh: tuple[Owners, ...]


class Constituents:
    """A register of constituents: every set of owners of one shard gets a number once."""

    def __init__(self) -> None:
        self._ids: dict[Owners, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def created(self) -> int:
        """Constituents ever registered, those that were forgotten included: the trainings so far."""
        return self._next

    def plan(self, partition: Partition, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Plan:
        """Numbers for all constituents that the coalitions need, new ones registered.

        **Raises:** `ProgrammerError("bad-partition")` where a coalition holds an owner who stands in no shard.
        """
        outside = np.ones(coalitions.shape[1], np.bool_)
        outside[list(partition.owners)] = False
        if coalitions[:, outside].any():
            raise ProgrammerError("bad-partition", "a coalition holds an owner who stands in no shard")
        first, fresh = self._next, []
        ids = np.empty((len(coalitions), len(partition.shards)), np.int64)
        for number, shard in enumerate(partition.shards):
            members = sorted(shard)
            kinds, index = np.unique(coalitions[:, members], axis=0, return_inverse=True)
            numbers = [self._number(tuple(np.array(members)[kind].tolist())) for kind in kinds]
            ids[:, number] = np.array(numbers, dtype=np.int64)[index.reshape(-1)]
        fresh = [owners for owners, number in self._ids.items() if number >= first]
        return Plan(ids, tuple(fresh))

    @property
    def known(self) -> dict[Owners, int]:
        """Number of every constituent that is registered, by the owners that it saw."""
        return dict(self._ids)

    def register(self, owners: Owners) -> int:
        """The number of one constituent; a new one where it is not registered yet, -1 for nobody."""
        return self._number(owners)

    def forget(self, owners: Iterable[int]) -> tuple[int, ...]:
        """Strike out every constituent that saw one of `owners`; returns their numbers, which are not used again."""
        gone = frozenset(owners)
        dropped = [seen for seen in self._ids if not gone.isdisjoint(seen)]
        return tuple(self._ids.pop(seen) for seen in dropped)

    def _number(self, owners: Owners) -> int:
        if not owners:
            return -1
        if owners not in self._ids:
            self._ids[owners] = self._next
            self._next += 1
        return self._ids[owners]


@runtime_checkable
class Trainer(Protocol):
    """Trains one constituent for each set of owners, all in one stacked computation, and applies it to the test set."""

    def __call__(self, owner_sets: Sequence[Owners]) -> Float[np.ndarray, "constituents records classes"]:
        """Posteriors of each constituent over the test records, in the order of `owner_sets`."""


Measure = Callable[
    [Float[np.ndarray, "coalitions records classes"], Int[np.ndarray, " records"]], Float[np.ndarray, " coalitions"]
]
"""A utility from posteriors and true classes."""


def accuracy(
    posteriors: Float[np.ndarray, "coalitions records classes"], targets: Int[np.ndarray, " records"]
) -> Float[np.ndarray, " coalitions"]:
    """Share of records whose most likely class (the lowest of equals) is the true one."""
    return np.asarray((posteriors.argmax(2) == targets).mean(1), dtype=np.float64)


def true_class(
    posteriors: Float[np.ndarray, "coalitions records classes"], targets: Int[np.ndarray, " records"]
) -> Float[np.ndarray, " coalitions"]:
    """Mean probability of the true class: smoother than accuracy, so that fewer samples are enough."""
    return np.asarray(posteriors[:, np.arange(len(targets)), targets].mean(1), dtype=np.float64)


class ShardedGame:
    """The utility of sharded training: train what is missing, mean the posteriors or vote, measure.

    **Arguments:**

    - `partition`: of the owners. Assign a new one when owners join; constituents stay known by what they saw.
    - `owners`: columns of a coalition.
    - `train`: called with the constituents that a batch lacks, `PORTION` at once.
    - `targets`: true classes of the test records.
    - `measure`: `accuracy`, `true_class`, or another.
    - `aggregation`: `"mean"` posterior, or `"vote"`, ties broken by the mean posterior, then the lowest class.
    - `empty`: U(empty); None is what always answering the most frequent class of `targets` has in accuracy.

    Set `trained` to be called after every portion: `contents` can be stored then.
    """

    def __init__(
        self,
        partition: Partition,
        owners: int,
        train: Trainer,
        targets: Int[np.ndarray, " records"],
        *,
        measure: Measure = accuracy,
        aggregation: Literal["mean", "vote"] = "mean",
        empty: float | None = None,
    ) -> None:
        self.partition = partition
        self.constituents = Constituents()
        self.empty = float(np.bincount(targets).max() / len(targets)) if empty is None else empty
        self._owners, self._train, self._targets = owners, train, targets
        self._measure, self._aggregation = measure, aggregation
        self._posteriors: dict[int, Float32[np.ndarray, "records classes"]] = {}
        self._lacking: tuple[Owners, ...] = ()  # planned when training failed
        self._trained = 0
        self.trained: Callable[[], None] | None = None

    @property
    def owners(self) -> int:
        """Number of columns."""
        return self._owners

    @property
    def step(self) -> float:
        """Accuracy moves by one test record's share at least; no least difference is known of another measure."""
        return 1 / len(self._targets) if self._measure is accuracy else 0.0

    @property
    def trainings(self) -> int:
        """Constituents trained so far; those that came from `restore` were trained elsewhere."""
        return self._trained

    def contents(self) -> dict[Owners, Float32[np.ndarray, "records classes"]]:
        """Posteriors over the test records of every constituent that is known, by the owners that it saw."""
        known = self.constituents.known.items()
        return {owners: self._posteriors[number] for owners, number in known if number in self._posteriors}

    def restore(self, found: Mapping[Owners, Float32[np.ndarray, "records classes"]]) -> None:
        """Take over what `contents` gave; raises `ProgrammerError("bad-utility")` for other test records."""
        for owners, posteriors in found.items():
            if posteriors.ndim != 2 or len(posteriors) != len(self._targets):
                raise ProgrammerError("bad-utility", "stored posteriors do not fit the test records")
            self._posteriors[self.constituents.register(owners)] = posteriors

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """Train what is missing, a portion at a time; then measure, a chunk at a time."""
        plan = self.constituents.plan(self.partition, coalitions)
        lacking = (*self._lacking, *plan.fresh)
        for at in range(0, len(lacking), PORTION):
            self._lacking = lacking[at:]
            self._learn(lacking[at : at + PORTION])
        self._lacking = ()
        parts = range(0, len(coalitions), CHUNK)
        return np.concatenate([np.zeros(0), *(self._score(plan.ids[at : at + CHUNK]) for at in parts)])

    def forget(self, owners: Iterable[int]) -> int:
        """Delete every posterior of a constituent that saw one of `owners`; returns how many."""
        gone = frozenset(owners)
        self._lacking = tuple(saw for saw in self._lacking if gone.isdisjoint(saw))
        dropped = self.constituents.forget(gone)
        for number in dropped:
            self._posteriors.pop(number, None)
        return len(dropped)

    def _learn(self, fresh: tuple[Owners, ...]) -> None:
        found = np.asarray(self._train(fresh), dtype=np.float32)
        if found.ndim != 3 or found.shape[:2] != (len(fresh), len(self._targets)):
            raise ProgrammerError(
                "bad-utility", f"a trainer answered shape {found.shape} for {len(fresh)} constituents"
            )
        for owners, posteriors in zip(fresh, found, strict=True):
            self._posteriors[self.constituents.register(owners)] = posteriors
        self._trained += len(fresh)
        if self.trained is not None:
            self.trained()

    def _score(self, ids: Int[np.ndarray, "coalitions shards"]) -> Float[np.ndarray, " coalitions"]:
        """Utilities of one chunk; the empty coalition has no model and gets `empty`."""
        present = (ids >= 0).sum(1)
        worth = np.full(len(ids), self.empty)
        some = present > 0
        if some.any():
            worth[some] = self._measure(self._combined(ids[some], present[some]), self._targets)
        return worth

    def _combined(
        self, ids: Int[np.ndarray, "coalitions shards"], present: Int[np.ndarray, " coalitions"]
    ) -> Float32[np.ndarray, "coalitions records classes"]:
        """The aggregated posterior; a vote is vote shares plus less than half a vote of mean posterior."""
        used = np.unique(ids[ids >= 0])
        table = np.stack([self._posteriors[number] for number in used.tolist()])
        count = present[:, None, None].astype(np.float32)
        mean = _summed(table, used, ids) / count
        if self._aggregation == "mean":
            return mean
        votes = (np.arange(table.shape[2]) == table.argmax(2)[:, :, None]).astype(np.float32)
        return (_summed(votes, used, ids) + np.float32(0.5) * mean) / (count + np.float32(0.5))


def _summed(
    table: Float32[np.ndarray, "used records classes"],
    used: Int[np.ndarray, " used"],
    ids: Int[np.ndarray, "coalitions shards"],
) -> Float32[np.ndarray, "coalitions records classes"]:
    """Sum over shards of the rows of `table` that stand for the constituents of each coalition."""
    total = np.zeros((len(ids), *table.shape[1:]), np.float32)
    for line in ids.T:
        held = np.flatnonzero(line >= 0)
        total[held] += table[np.searchsorted(used, line[held])]
    return total
