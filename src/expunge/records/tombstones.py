"""The tree of commitments, and proofs that one root follows from another by deletions and by nothing else.

A deletion puts a tombstone in place of each deleted record's leaf and leaves every other leaf where it is. The proof
holds the deleted leaves and the hashes of the subtrees around them; from these both roots can be computed, and if both
are right, then the two trees differ in nothing but the tombstones. Commitments are salted: a proof shows no record.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import expunge_verify
from expunge.errors import ProgrammerError, RequesterError
from expunge_verify import EMPTY_ROOT, TOMBSTONE, leaf_hash, node_hash, spans_around


@dataclass(frozen=True)
class DataTree:
    """Commitments or tombstones, in the order in which the records first stood.

    The n-th record that is left belongs to the n-th leaf that is no tombstone: deleting keeps the order of the rest.
    """

    leaves: tuple[bytes, ...]

    @cached_property
    def root(self) -> bytes:
        """RFC 6962 Merkle root, 32 bytes."""
        return subtree_root(self.leaves)

    @cached_property
    def live(self) -> tuple[int, ...]:
        """Positions of the leaves that are no tombstones."""
        return tuple(place for place, leaf in enumerate(self.leaves) if leaf != TOMBSTONE)

    def bury(self, places: Collection[int]) -> "DataTree":
        """The tree with tombstones at `places`; raises as `proof`."""
        gone = self._checked(places)
        return DataTree(tuple(TOMBSTONE if place in gone else leaf for place, leaf in enumerate(self.leaves)))

    def proof(self, places: Collection[int]) -> "DeletionProof":
        """That `bury(places)` changes these leaves and no other.

        **Raises:** `ProgrammerError("bad-shape")` for places outside the tree; `RequesterError("already-deleted")`.
        """
        gone = sorted(self._checked(places))
        around = tuple(subtree_root(self.leaves[first:last]) for first, last in spans_around(0, len(self.leaves), gone))
        return DeletionProof(len(self.leaves), tuple(gone), tuple(self.leaves[place] for place in gone), around)

    def _checked(self, places: Collection[int]) -> frozenset[int]:
        gone = frozenset(places)
        if any(not 0 <= place < len(self.leaves) for place in gone):
            raise ProgrammerError("bad-shape", f"the tree has {len(self.leaves)} leaves: a place is outside")
        if any(self.leaves[place] == TOMBSTONE for place in gone):
            raise RequesterError("already-deleted", "a record was deleted before")
        return gone


class DeletionProof(expunge_verify.DeletionProof):
    """Deleted leaves at `places` in a tree of `size` leaves, and the hashes of the subtrees around them, in order."""

    def holds(self, size: int, before: bytes, after: bytes) -> bool:
        """Whether the tree with root `after` is the tree with root `before` with tombstones at `places`.

        **Arguments:** `size`: number of leaves of both, known from where the roots are: a root alone does not tell it.
        """
        return self.size == size and self.joins(before, after)

    def to_json(self) -> dict[str, Any]:
        """Plain form, hashes in hex."""
        return {
            "size": self.size,
            "places": list(self.places),
            "deleted": [leaf.hex() for leaf in self.deleted],
            "around": [each.hex() for each in self.around],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "DeletionProof":
        """The inverse of `to_json`.

        **Raises:** `ProgrammerError("bad-shape")` for anything else.
        """
        try:
            size, places = value["size"], tuple(value["places"])
            if not all(type(number) is int for number in (size, *places)):
                raise TypeError
            hashes = [tuple(bytes.fromhex(each) for each in value[name]) for name in ("deleted", "around")]
        except (KeyError, TypeError, ValueError):
            raise ProgrammerError("bad-shape", "this is no proof of a deletion") from None
        return DeletionProof(size, places, *hashes)


def subtree_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 Merkle tree hash of `leaves`, level by level: a node without a neighbour moves up as it is."""
    level = [leaf_hash(leaf) for leaf in leaves]
    while len(level) > 1:
        pairs = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0] if level else EMPTY_ROOT
