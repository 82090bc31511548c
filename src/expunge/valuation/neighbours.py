"""A utility with exact values in polynomial time: k nearest neighbours in each shard, mean posterior over shards.

Sharded model of a coalition C: each shard with a member in C answers, for a test record, the share of the k nearest of
its present records that have the true class (a missing neighbour counts as wrong, as in Jia et al., PVLDB 12(11),
2019); the utility is the mean over those shards, then over test records. `s_shapley` is exact for it, for owners with
any number of records, where enumeration takes exponential time. It is *not* exact for accuracy (argmax) or for any
other classifier. The derivation stands in `docs/valuation.md`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from expunge.errors import ProgrammerError
from expunge.valuation.partition import Partition


@dataclass(frozen=True, eq=False)
class NeighbourGame:
    """The game of sharded k-nearest-neighbour classification.

    **Arguments:**

    - `partition`: of the owners.
    - `holder`: the owner of each training record.
    - `distance`: of each test record to each training record; of equal ones the earlier record is nearer.
    - `match`: whether a training record has the class of the test record.
    - `neighbours`: k.
    - `empty`: U(empty).

    **Raises:** `ProgrammerError`: `bad-shape`, `bad-hyperparameter`, `bad-partition` for a holder in no shard.
    """

    partition: Partition
    holder: Int[np.ndarray, " records"]
    distance: Float[np.ndarray, "tests records"]
    match: Bool[np.ndarray, "tests records"]
    neighbours: int = 5
    empty: float = 0.0

    def __post_init__(self) -> None:
        if self.distance.shape != self.match.shape or self.distance.shape[1:] != self.holder.shape:
            raise ProgrammerError("bad-shape", "distance and match are [tests, records], holder is [records]")
        if self.neighbours < 1 or not len(self.distance):
            raise ProgrammerError("bad-hyperparameter", "at least one neighbour and one test record")
        if not set(self.holder.tolist()) <= self.partition.shard_of.keys():
            raise ProgrammerError("bad-partition", "a record's owner stands in no shard")

    @property
    def owners(self) -> int:
        """Number of columns."""
        return self.partition.width

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """By counting neighbours; exponential only in how often it is asked."""
        total, answering = np.zeros(len(coalitions)), np.zeros(len(coalitions))
        for number, shard in enumerate(self.partition.shards):
            present = coalitions[:, list(shard)].any(1)
            answering += present
            total += present * self._answer(number, coalitions)
        return np.where(answering > 0, total / np.maximum(answering, 1), self.empty)

    def s_shapley(self) -> Float[np.ndarray, " present"]:
        """Exact values in the order of `partition.owners`.

        With u_d(S) one shard's own utility, H_m the m-th harmonic number and A the mean of the other shards' u:
        SSV_i = H_m/m * Shapley_i(u_d) + ((1 - H_m/m) A - (empty + (m-1) A)/m) / |d|.
        """
        m = len(self.partition.shards)
        share = sum(1 / number for number in range(1, m + 1)) / m
        whole = np.ones((1, self.owners), np.bool_)
        full = np.array([self._answer(number, whole)[0] for number in range(m)])
        value = np.zeros(self.owners)
        for number, shard in enumerate(self.partition.shards):
            others = (full.sum() - full[number]) / (m - 1) if m > 1 else 0.0
            entry = (1 - share) * others - (self.empty + (m - 1) * others) / m
            value[list(shard)] = share * self._inside(number) + entry / len(shard)
        return value[list(self.partition.owners)]

    @cached_property
    def _sorted(self) -> list[tuple[Int[np.ndarray, "tests held"], Bool[np.ndarray, "tests held"]]]:
        """For each shard: holder and match of its records, nearest first."""
        found = []
        for shard in self.partition.shards:
            held = np.flatnonzero(np.isin(self.holder, shard))
            order = held[np.argsort(self.distance[:, held], axis=1, kind="stable")]
            found.append((self.holder[order], np.take_along_axis(self.match, order, axis=1)))
        return found

    def _answer(
        self, number: int, coalitions: Bool[np.ndarray, "coalitions owners"]
    ) -> Float[np.ndarray, " coalitions"]:
        """u_d: the mean over test records of (matches among the k nearest that are present) / k."""
        holders, match = self._sorted[number]
        found = np.empty(len(coalitions))
        for row, coalition in enumerate(coalitions):
            present = coalition[holders]
            near = present & (present.cumsum(1) <= self.neighbours)
            found[row] = (near & match).sum() / (self.neighbours * len(match))
        return found

    def _inside(self, number: int) -> Float[np.ndarray, " members"]:
        """The Shapley value of u_d, by integrating the multilinear extension's derivative.

        It is a polynomial in the inclusion probability q of degree below |d|, so that Gauss-Legendre quadrature with
        ceil(|d|/2) nodes is exact.
        """
        shard = self.partition.shards[number]
        holders, match = self._sorted[number]
        place = np.zeros(self.owners, np.int64)
        place[list(shard)] = np.arange(len(shard))
        nodes, weights = np.polynomial.legendre.leggauss(-(-len(shard) // 2))
        q, weight = (nodes + 1) / 2, weights / 2
        value = np.zeros(len(shard))
        nearer = np.zeros((len(match), len(shard)), np.int64)
        for record in range(match.shape[1]):
            holder = place[holders[:, record]]
            effect = _slopes(nearer, holder, q, self.neighbours)
            value += np.einsum("tnj,t,n->j", effect, match[:, record].astype(np.float64), weight)
            nearer[np.arange(len(match)), holder] += 1
        return value / (self.neighbours * len(match))


def _slopes(
    nearer: Int[np.ndarray, "tests members"], holder: Int[np.ndarray, " tests"], q: Float[np.ndarray, " nodes"], k: int
) -> Float[np.ndarray, "tests nodes members"]:
    """d/dq_j of the probability that one record is among the k nearest, when members are in with probability q.

    The record counts when its holder is in and fewer than k nearer records are in; `nearer` says how many nearer
    records each member has. Its holder's own nearer records come with it.
    """
    tests, members = nearer.shape
    mine = np.arange(members) == holder[:, None]
    start = np.zeros((tests, len(q), k))
    own = np.take_along_axis(nearer, holder[:, None], axis=1)[:, 0]
    fits = np.flatnonzero(own < k)
    start[fits, :, own[fits]] = 1.0
    shift = np.where(mine, 0, nearer)
    before = [start]
    for member in range(members):
        before.append(_joined(before[-1], shift[:, member], q))
    after = np.zeros_like(start)
    after[:, :, 0] = 1.0
    slopes = np.zeros((tests, len(q), members))
    for member in reversed(range(members)):
        tail = after.cumsum(2)[:, :, ::-1]
        kept = (before[member] * tail).sum(2)
        pushed = kept - _below(before[member], after, k - shift[:, member])
        slopes[:, :, member] = np.where(mine[:, member, None], kept, -q * pushed)
        after = _joined(after, shift[:, member], q)
    return slopes


def _joined(
    counts: Float[np.ndarray, "tests nodes k"], shift: Int[np.ndarray, " tests"], q: Float[np.ndarray, " nodes"]
) -> Float[np.ndarray, "tests nodes k"]:
    """The distribution of the number of nearer records, below k, with one more member in with probability q."""
    source = np.arange(counts.shape[2]) - shift[:, None]
    moved = np.take_along_axis(counts, np.maximum(source, 0)[:, None, :], axis=2) * (source >= 0)[:, None, :]
    return np.asarray((1 - q)[:, None] * counts + q[:, None] * moved)


def _below(
    one: Float[np.ndarray, "tests nodes k"], other: Float[np.ndarray, "tests nodes k"], limit: Int[np.ndarray, " tests"]
) -> Float[np.ndarray, "tests nodes"]:
    """Probability that the sum of two independent counts is below each test's own limit."""
    room = limit[:, None] - 1 - np.arange(one.shape[2])
    tail = np.take_along_axis(other.cumsum(2), np.maximum(room, 0)[:, None, :], axis=2) * (room >= 0)[:, None, :]
    return np.asarray((one * tail).sum(2))
