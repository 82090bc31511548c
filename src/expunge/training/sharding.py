"""Sharded, sliced training (SISA): the structure, and which record goes where.

Source: Bourtoule et al., "Machine Unlearning", S&P 2021. One difference, on purpose: the shard and slice of an owner
are drawn *independently* of all other owners, by a keyed hash of the owner id. Restricting such an assignment to the
retained owners gives exactly the assignment that fresh training on them would draw, so that a deletion is exact without
any condition on the assignment; a balanced partition has that only conditionally.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.records import Records


@dataclass(frozen=True)
class Sharding:
    """`shards` disjoint parts, one constituent network each, trained over `slices` cumulative slices.

    **Arguments:**

    - `by`: `"owner"` keeps all records of a person in one slice of one shard; `"record"` spreads them.
    - `aggregation`: `"mean"` posterior, or majority `"vote"`, ties broken by the mean posterior, then the lowest class.
    - `salt_seed`: keys the assignment, apart from the recipe's seed, so that seeds can vary over one assignment.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    shards: int = 8
    slices: int = 1
    by: Literal["owner", "record"] = "owner"
    aggregation: Literal["mean", "vote"] = "mean"
    salt_seed: int = 0

    def __post_init__(self) -> None:
        if self.shards < 1 or self.slices < 1:
            raise ProgrammerError("bad-hyperparameter", f"shards and slices must be >= 1: {self.shards}, {self.slices}")
        if self.by not in ("owner", "record") or self.aggregation not in ("mean", "vote"):
            raise ProgrammerError("bad-hyperparameter", "by is owner or record; aggregation is mean or vote")

    def place(self, unit: str) -> tuple[int, int]:
        """Shard and slice of one owner (or record): uniform, independent of everything else."""
        digest = hashlib.sha256(f"expunge/sharding/{self.salt_seed}/{unit}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.shards, int.from_bytes(digest[8:16], "big") % self.slices

    def places(self, records: Records) -> list[tuple[int, int]]:
        """Shard and slice of each record."""
        units = records.owners if self.by == "owner" else records.ids
        known = {unit: self.place(unit) for unit in set(units)}
        return [known[unit] for unit in units]

    def slice_epochs(self, epochs: float) -> float:
        """Epochs over each cumulative slice, so that the gradient evaluations equal `epochs` over the whole shard.

        Stage r sees r/R of the shard, and the sum of r/R over r = 1..R is (R+1)/2.
        """
        return 2 * epochs / (self.slices + 1)

    def deletion_share(self) -> float:
        """Expected gradient evaluations of one random unit's deletion, as a share of retraining on the others.

        The others are placed independently of the deleted unit, so its shard holds 1/m of them in expectation. Its
        slice is uniform, and stages r..R run again; stage j costs j/R of the shard. The mean over r of the sum over
        j >= r of j, against the sum over all j, is (2R+1)/(3R). Hence (2R+1)/(3 R m): derived here, checked by
        simulation.
        """
        return (2 * self.slices + 1) / (3 * self.slices * self.shards)


def aggregate(
    posteriors: Float[Tensor, "constituents records classes"], aggregation: Literal["mean", "vote"]
) -> Float[Tensor, "records classes"]:
    """One posterior from many. A vote gives vote shares, plus less than half a vote of mean posterior to break ties."""
    mean = posteriors.mean(0)
    if aggregation == "mean":
        return mean
    votes = torch.nn.functional.one_hot(posteriors.argmax(2), posteriors.shape[2]).sum(0)
    return (votes + 0.5 * mean) / (len(posteriors) + 0.5)
