"""The verifier's book of nonces: which was drawn for which commitment, so that nobody draws until a run suits them.

A provider that may draw twice may choose: it files the request again, aborts a challenge and starts anew, or commits to
another recipe for the same deletion. The book knows a deletion by the leaves that it takes away.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from expunge.errors import OperatorError, ProviderDishonest
from expunge.ledger import strict_json
from expunge.records import DeletionProof
from expunge.verification.schedule import Commitment

NONCE_BYTES = 16


@dataclass(frozen=True)
class Draw:
    """One line of the book: digest of the commitment, the deleted leaves in hex, the nonce."""

    commitment: str
    deleted: tuple[str, ...]
    nonce: str

    def to_bytes(self) -> bytes:
        """Canonical JSON and a line's end."""
        body = {"commitment": self.commitment, "deleted": list(self.deleted), "nonce": self.nonce}
        return strict_json.canonical(body) + b"\n"

    @staticmethod
    def from_bytes(line: bytes) -> "Draw":
        """The inverse; raises `OperatorError("bad-data")` for anything else."""
        try:
            body = strict_json.loads(line, limit=len(line))
            found = Draw(str(body["commitment"]), tuple(map(str, body["deleted"])), str(body["nonce"]))
        except (OperatorError, KeyError, TypeError):
            raise OperatorError("bad-data", "a line of the book of nonces has another form") from None
        return found


@dataclass(frozen=True)
class NonceBook:
    """All draws of a verifier, in order."""

    draws: tuple[Draw, ...] = ()

    @staticmethod
    def from_bytes(data: bytes) -> "NonceBook":
        """Line by line; raises as `Draw.from_bytes`."""
        return NonceBook(tuple(map(Draw.from_bytes, data.splitlines())))

    def nonce_of(self, commitment: str) -> str | None:
        """The nonce of a commitment (its digest), if one was drawn."""
        return next((each.nonce for each in self.draws if each.commitment == commitment), None)

    def for_leaves(self, deleted: Iterable[str]) -> tuple[Draw, ...]:
        """Draws for deletions that take one of these leaves away."""
        wanted = set(deleted)
        return tuple(each for each in self.draws if not wanted.isdisjoint(each.deleted))

    def draw(self, commitment: Commitment, *, again: bool = False) -> tuple[Draw, bool]:
        """The draw of a commitment, and whether it is new: whoever asks again gets the same.

        **Arguments:** `again`: draw although another commitment to the deletion of one of these records has its nonce.

        **Raises:** `OperatorError("nonce-used")` without `again`; `ProviderDishonest("evidence-refused")` for a
        commitment whose roots differ in more than tombstones.
        """
        if not commitment.joins:
            raise ProviderDishonest("evidence-refused", "the data roots differ in more than tombstones: no nonce")
        known = next((each for each in self.draws if each.commitment == commitment.digest), None)
        if known is not None:
            return known, False
        deleted = deleted_leaves(commitment)
        if self.for_leaves(deleted) and not again:
            raise OperatorError(
                "nonce-used",
                "another commitment to deleting one of these records has its nonce: drawn again, the "
                "provider may choose",
            )
        return Draw(commitment.digest, deleted, secrets.token_hex(NONCE_BYTES)), True


def deleted_leaves(commitment: Commitment) -> tuple[str, ...]:
    """The leaves, in hex, that a commitment puts tombstones in place of: as bytes, which hex can spell in many ways.

    **Raises:** `ProgrammerError("bad-shape")` for a commitment without a proof of a deletion.
    """
    return tuple(leaf.hex() for leaf in DeletionProof.from_json(commitment.deletion).deleted)
