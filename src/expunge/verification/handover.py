"""What travels from provider to verifier, as files: the submission, and the retained records with their salts.

Both are one container: a line that names the kind, SHA-256 and length of a canonical JSON header, the header, and the
parts that it lists with length and SHA-256. Any flipped byte is found; nothing in the files is executed.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from expunge.errors import AttackSuspected, ExpungeError
from expunge.ledger import strict_json
from expunge.networks import Imported
from expunge.records import from_bytes, to_bytes
from expunge.training import Recipe
from expunge.verification.proof_file import proof_from_bytes, proof_to_bytes
from expunge.verification.provable import Submission
from expunge.verification.schedule import Commitment, Retained

SUBMISSION: Final = b"expunge-submission-1\n"
RETAINED: Final = b"expunge-retained-1\n"
_MOST_HEADER: Final = 2**28


def submission_to_bytes(given: Submission) -> bytes:
    """The file's content; the same submission gives the same bytes."""
    header = {"commitment": given.commitment.to_json(), "nonce": given.nonce, "share": given.share.hex()}
    parts = {"proof": proof_to_bytes(given.proof), "model": given.model, "start": given.start}
    return _packed(SUBMISSION, header, {name: part for name, part in parts.items() if part is not None})


def submission_from_bytes(data: bytes, factories: Collection[str] = ()) -> Submission:
    """The inverse.

    **Arguments:** `factories`: networks as `module:name` that the verifier itself trusts. A recipe may name any, and
    building it runs that code: no other is let in.

    **Raises:** `AttackSuspected("bad-proof")` for a file that was cut short or changed, or that names other code.
    """
    header, parts = _unpacked(SUBMISSION, data)
    try:
        given = Submission(
            Commitment.from_json(header["commitment"]),
            str(header["nonce"]),
            bytes.fromhex(header["share"]),
            proof_from_bytes(parts["proof"]),
            parts["model"],
            parts.get("start"),
        )
        recipe = Recipe.from_json(given.commitment.recipe)
    except AttackSuspected:
        raise
    except (ArithmeticError, AttributeError, ExpungeError, LookupError, TypeError, ValueError):
        raise _bad("the submission's header has another form") from None
    for network in (recipe.network, given.proof.recipe.network):
        if isinstance(network, Imported) and network.factory not in factories:
            raise _bad(f"it names code to be run, {network.factory[:60]!r}, which the verifier did not name")
    return given


def retained_to_bytes(retained: Retained) -> bytes:
    """The file for the verifier or an independent party. It holds personal data and salts: it is not for the public."""
    header = {
        "salts": [salt.hex() for salt in retained.salts],
        "places": list(retained.places),
        "size": retained.size,
    }
    return _packed(RETAINED, header, {"records": to_bytes(retained.records)})


def retained_from_bytes(data: bytes) -> Retained:
    """The inverse; raises `AttackSuspected("bad-proof")`."""
    header, parts = _unpacked(RETAINED, data)
    try:
        salts = tuple(bytes.fromhex(salt) for salt in header["salts"])
        places = tuple(int(place) for place in header["places"])
        size = int(header["size"])
        if any(not 0 <= place < size for place in places):
            raise ValueError
        return Retained(from_bytes(parts["records"]), salts, places, size)
    except ExpungeError as error:
        raise _bad(f"the retained records cannot be read ({error.code})") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise _bad("the header of the retained records has another form") from None


def _packed(magic: bytes, header: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    listed = [
        {"name": name, "size": len(part), "sha256": hashlib.sha256(part).hexdigest()} for name, part in parts.items()
    ]
    body = strict_json.canonical({**header, "parts": listed})
    lead = magic + hashlib.sha256(body).digest() + len(body).to_bytes(8, "big")
    return b"".join((lead, body, *parts.values()))


def _unpacked(magic: bytes, data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    start = len(magic) + 40
    if data[: len(magic)] != magic:
        raise _bad("it does not begin as such a file does")
    length = int.from_bytes(data[start - 8 : start], "big")
    body = data[start : start + length]
    if length > _MOST_HEADER or hashlib.sha256(body).digest() != data[len(magic) : len(magic) + 32]:
        raise _bad("its header was cut short or changed")
    try:
        return _read(body, data, start + length)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise _bad("its header has another form") from None


def _read(body: bytes, data: bytes, place: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Header and parts; whatever else the header holds raises as Python does."""
    header, parts = dict(strict_json.loads(body, _MOST_HEADER)), dict[str, bytes]()
    for entry in header["parts"]:
        part = data[place : place + entry["size"]]
        if hashlib.sha256(part).hexdigest() != entry["sha256"]:
            raise _bad(f"its part {entry['name'][:20]!r} was cut short or changed")
        parts[entry["name"]] = part
        place += len(part)
    if place != len(data):
        raise _bad("bytes follow where it should end")
    return header, parts


def _bad(why: str) -> AttackSuspected:
    return AttackSuspected("bad-proof", f"the file cannot be read: {why}")
