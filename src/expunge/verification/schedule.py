"""The schedule of a provable run is drawn, not chosen: from the committed data and a nonce that came after it.

First the provider commits: to the root of the data with the tombstones in it, to the recipe, the method and everything
else that it could choose. Then the verifier (or a public beacon) draws a nonce. Initial weights, batches and noise all
follow from HMAC(root of the retained data, nonce and the provider's share): neither side chose them.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from expunge.errors import OperatorError, ProgrammerError
from expunge.ledger import strict_json
from expunge.records import DataTree, DeletionProof, Records, commitments
from expunge_verify import TOMBSTONE

DOMAIN: Final = b"expunge/schedule/1"
_HEX: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Commitment:
    """All that a provider could choose, settled before the nonce is drawn. Plain values: its digest is what counts.

    **Arguments:**

    - `old_root`, `root`: Merkle roots, in hex, of the data before and after; `size`: leaves of both trees.
    - `deletion`: plain form of the proof that the second is the first with tombstones.
    - `recipe`, `method`: plain forms; the recipe's seed is replaced by the drawn one where the method trains anew.
    - `every`: steps between checkpoints.
    - `start`: SHA-256, in hex, of the model file before the deletion, where the method starts from it; else empty.
    - `touched`: constituents that the method works on.
    - `shape`, `classes`: of the retained records as the method sees them, which the network is built for.
    - `preparation`: SHA-256, in hex, of the column preparation that they are seen through.
    - `share`: SHA-256, in hex, of the provider's share of the draw.
    - `platform`: fingerprint of the machine that will train.
    """

    old_root: str
    root: str
    size: int
    deletion: Mapping[str, Any]
    recipe: Mapping[str, Any]
    method: Mapping[str, Any]
    every: int
    start: str
    touched: tuple[int, ...]
    share: str
    platform: Mapping[str, Any]
    shape: tuple[int, ...]
    classes: int
    preparation: str

    def __post_init__(self) -> None:
        texts = (self.old_root, self.root, self.share, self.preparation, self.start or "0" * 64)
        numbers = (self.size, self.every, self.classes + 1, *self.shape, *(each + 1 for each in self.touched))
        if not (
            all(isinstance(text, str) and _HEX.fullmatch(text) for text in texts)
            and all(type(number) is int and 1 <= number < 2**53 for number in numbers)
            and list(self.touched) == sorted(set(self.touched))
            and all(isinstance(each, Mapping) for each in (self.deletion, self.recipe, self.method, self.platform))
        ):
            raise ProgrammerError("bad-shape", "this is no commitment")

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical plain form, in hex."""
        return hashlib.sha256(strict_json.canonical(self.to_json())).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain form; a seed of more bits than JSON's numbers have is written as text."""
        body = asdict(self)
        recipe = {**self.recipe, "seed": str(self.recipe["seed"])}
        return {**body, "recipe": recipe, "touched": list(self.touched), "shape": list(self.shape)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Commitment":
        """The inverse of `to_json`.

        **Raises:** `ProgrammerError("bad-shape")` for anything else.
        """
        try:
            recipe = {**value["recipe"], "seed": int(value["recipe"]["seed"])}
            lists = {name: tuple(value[name]) for name in ("touched", "shape")}
            return Commitment(**{**value, "recipe": recipe, **lists})
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ProgrammerError("bad-shape", "this is no commitment") from None

    @property
    def joins(self) -> bool:
        """Whether the deletion proof leads from one root to the other."""
        proof = DeletionProof.from_json(self.deletion)
        return proof.holds(self.size, bytes.fromhex(self.old_root), bytes.fromhex(self.root))


def share_digest(share: bytes) -> str:
    """What a commitment says of the provider's share of the draw."""
    return hashlib.sha256(b"expunge/share/1" + share).hexdigest()


def drawn(root: str, nonce: str, share: bytes = b"") -> bytes:
    """HMAC-SHA256 under the root of the retained data over nonce and share, each led by its length.

    **Arguments:** `root`: in hex; `nonce`: any text but the empty one.

    **Raises:** `OperatorError("nonce-missing")`.
    """
    if not nonce:
        raise OperatorError("nonce-missing", "the schedule is drawn from a nonce of the verifier's, and there is none")
    fields = (nonce.encode(), share)
    message = DOMAIN + b"".join(len(each).to_bytes(8, "big") + each for each in fields)
    return hmac.new(bytes.fromhex(root), message, hashlib.sha256).digest()


def schedule_seed(draw: bytes) -> int:
    """Seed of initial weights, batches and dropout: 53 bits, as many as a number in a receipt's JSON has."""
    return int.from_bytes(draw[:8], "big") >> 11


def noise_seed(draw: bytes) -> int:
    """Seed of a method that adds noise, for all of it but the noise: 53 bits as well, for the receipt names it."""
    return int.from_bytes(draw[8:16], "big") >> 11


def noise_key(draw: bytes) -> bytes:
    """Key of the noise itself, which neither seed tells anything of."""
    return hashlib.sha256(b"expunge/noise/1" + draw).digest()


@dataclass(frozen=True, eq=False)
class Retained:
    """What the verifier (or an independent party, never the public) holds: the retained records and how they open.

    **Arguments:**

    - `records`: all that is left, training and test, as the new model sees them.
    - `salts`: of each record's commitment.
    - `places`: leaf of each record in the tree of `size` leaves; all other leaves are tombstones.
    """

    records: Records
    salts: tuple[bytes, ...]
    places: tuple[int, ...]
    size: int

    @property
    def root(self) -> str:
        """Merkle root, in hex, of the tree that these records and nothing else stand in.

        **Raises:** `ProgrammerError("bad-shape")` unless there are a salt and a place for each record.
        """
        if len(self.places) != len(self.records) or list(self.places) != sorted(set(self.places)):
            raise ProgrammerError("bad-shape", "each retained record has one leaf, in the order of the leaves")
        leaves = [TOMBSTONE] * self.size
        for place, leaf in zip(self.places, commitments(self.records, self.salts), strict=True):
            leaves[place] = leaf
        return DataTree(tuple(leaves)).root.hex()

    @staticmethod
    def after(records: Records, salts: tuple[bytes, ...], retained: Records) -> "Retained":
        """What is left of `records`, whose salts are `salts` and none of which had been deleted, as `retained`."""
        places = tuple(records.row_of[record] for record in retained.ids)
        return Retained(retained, tuple(salts[place] for place in places), places, len(records))
