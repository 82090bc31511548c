"""Verify an Expunge receipt bundle offline, taking nobody's word: one file, `cryptography` and the standard library.

    python -m expunge_verify BUNDLE [--model FILE] [--key PUBLICKEY] [--checkpoint OLD] [--json]

Exit status 0 only when every check that was asked for holds. `docs/verify.md` explains each section, with the exact
bytes that are hashed and signed, and how to repeat a check by hand. Copy this file wherever it is needed.
"""

import base64
import datetime
import hashlib
import itertools
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

# --- 1. Codes -------------------------------------------------------------------------------------------------------

CODES: Final[dict[str, tuple[int, str]]] = {
    "ok": (0, "The check holds."),
    "not-asked": (0, "Nothing was given to compare with; the check was not made."),
    "deletion-unproven": (0, "The receipt holds no proof of what changed in the data: ask for one."),
    "not-reached": (50, "An earlier check failed, so this one has nothing sound to look at."),
    "file-unreadable": (20, "A file that was named cannot be read."),
    "key-unreadable": (20, "What was given as --key holds no Ed25519 public key."),
    "json-refused": (40, "Not strict JSON: see the loader's rules."),
    "bundle-truncated": (40, "The bundle stops before its end."),
    "bundle-malformed": (40, "Not a bundle of this format, or not in canonical bytes."),
    "checkpoint-malformed": (40, "Not a checkpoint in the signed-note format."),
    "signature-invalid": (50, "The receipt was changed after signing, or another key signed it."),
    "key-history-invalid": (50, "A key rotation is not signed by both the old and the new key."),
    "key-not-trusted": (50, "The receipt is signed by a key that the trusted one never vouched for."),
    "checkpoint-unsigned": (50, "No key of this log signed the checkpoint."),
    "inclusion-invalid": (50, "The receipt is not in the log that the checkpoint describes."),
    "consistency-invalid": (50, "The log does not extend one of its own earlier states."),
    "consistency-unproven": (50, "The bundle has no proof from the kept checkpoint; `expunge log check` makes one."),
    "log-other": (50, "The kept checkpoint belongs to another log."),
    "log-older": (50, "The log is older than the kept checkpoint: ask for a fresh bundle, or suspect a rollback."),
    "log-fork": (50, "The log and the kept checkpoint disagree on the past: two histories were shown."),
    "model-mismatch": (50, "The model file is not the one that the receipt binds."),
    "deletion-invalid": (50, "The data changed by something else than the deletion of these records."),
    "receipt-incomplete": (50, "The signed receipt lacks a field, or a field has the wrong form."),
    "not-covered-missing": (50, "The receipt does not say what it leaves out."),
}
"""Stable code -> (exit status, meaning). 20: the operator must act, 40: malformed input, 50: evidence does not hold."""


class Refused(Exception):
    """Input or evidence is refused: `code` is a key of `CODES`, the text is one line."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code: Final = code


# --- 2. Strict JSON -------------------------------------------------------------------------------------------------

MAX_BYTES: Final = 16 << 20
MAX_DEPTH: Final = 64
MAX_ITEMS: Final = 1 << 18
MAX_NUMBER: Final = 1024
"""Longest number literal, in characters."""
SAFE_INTEGER: Final = 2**53 - 1
MAX_KEYS: Final = 256
"""Longest key history: each rotation takes two signatures to check."""


def loads(data: bytes, limit: int = MAX_BYTES) -> Any:
    """One JSON value from UTF-8 bytes; refuses all that two readers could read differently.

    **Raises:** `Refused("json-refused")` for more than `limit` bytes, `MAX_ITEMS` items or `MAX_DEPTH` levels, other
    encodings, a byte order mark, lone surrogates, duplicate keys, NaN, Infinity, and numbers that a double cannot hold.
    """
    if len(data) > limit or sum(map(data.count, (b",", b"[", b"{"))) > MAX_ITEMS:
        raise Refused("json-refused", f"more than {limit} bytes or {MAX_ITEMS} items")
    try:
        value = _DECODER.decode(data.decode())
        if re.search(rb"\\u[dD][89a-fA-F]", data):
            canonical(value)  # a surrogate without its partner cannot be encoded
    except RecursionError:
        raise Refused("json-refused", f"deeper than {MAX_DEPTH} levels") from None
    except UnicodeError:
        raise Refused("json-refused", "not UTF-8, or a surrogate without its partner") from None
    except json.JSONDecodeError as error:
        raise Refused("json-refused", f"not JSON at character {error.pos}") from None
    _check_depth(value)
    return value


def canonical(value: Any) -> bytes:
    """RFC 8785 bytes of a value that holds no floats and only ASCII keys, which is all that a bundle needs."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("json-refused", "an object repeats a key")
    return found


def _integer(text: str) -> int | float:
    if len(text) <= 17 and abs(int(text)) <= SAFE_INTEGER:
        return int(text)
    from decimal import Decimal  # rare: a double of 2**53 and more stands in canonical JSON without an exponent

    if len(text) <= 310 and f"{Decimal(repr(float(text))):.0f}" == text:
        return float(text)
    raise Refused("json-refused", "an integer that a double cannot hold")


def _fraction(text: str) -> float:
    value = float(text) if len(text) <= MAX_NUMBER else math.inf
    vanished = value == 0 and re.match(r"-?[0.]*[1-9]", text)
    if math.isinf(value) or vanished:
        raise Refused("json-refused", "a number that a double cannot hold")
    return value


def _constant(text: str) -> None:
    raise Refused("json-refused", f"{text} is not JSON")


def _check_depth(value: Any) -> None:
    layer = [value]
    for _ in range(MAX_DEPTH):
        inside = (item.values() if isinstance(item, dict) else item for item in layer if isinstance(item, dict | list))
        layer = [child for children in inside for child in children if isinstance(child, dict | list)]
        if not layer:
            return
    raise Refused("json-refused", f"deeper than {MAX_DEPTH} levels")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)

# --- 3. Merkle tree (RFC 6962, RFC 9162) ----------------------------------------------------------------------------

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry): RFC 9162, section 2.1.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right): RFC 9162, section 2.1.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def verify_inclusion(index: int, size: int, leaf: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """RFC 9162, section 2.1.3.2: the leaf hash `leaf` stands at `index` in the tree of `size` leaves.

    **Raises:** `Refused("inclusion-invalid")`.
    """
    if not 0 <= index < size:
        raise Refused("inclusion-invalid", f"leaf {index} of a log of {size}")
    position, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0 or len(sibling) != 32:
            raise Refused("inclusion-invalid", "the proof has a hash too many or of the wrong length")
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        position, last = position >> 1, last >> 1
    if last or found != root or len(leaf) != 32:
        raise Refused("inclusion-invalid", "the proof does not lead from the leaf to the log's root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """RFC 9162, section 2.1.4.2: the tree of `new` leaves extends the tree of `old` leaves, 0 < old <= new.

    **Raises:** `Refused("consistency-invalid")`; also for an empty old tree, whose proof would prove nothing.
    """
    if not 0 < old <= new:
        raise Refused("consistency-invalid", f"no proof leads from {old} leaves to {new}")
    if any(len(each) != 32 for each in (old_root, new_root, *proof)) or (old == new) != (not proof):
        raise Refused("consistency-invalid", "the proof has the wrong length")
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    past = present = path[0] if old != new else old_root
    for sibling in path[1:]:
        if last == 0:
            raise Refused("consistency-invalid", "the proof has a hash too many")
        if position & 1 or position == last:
            past, present = node_hash(sibling, past), node_hash(sibling, present)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            present = node_hash(present, sibling)
        position, last = position >> 1, last >> 1
    if (past, present) != (old_root, new_root) or (last and old != new):
        raise Refused("consistency-invalid", "the proof does not join the two roots")


TOMBSTONE: Final = b"expunge tombstone 1"
"""The leaf in place of a deleted record in the tree over the data; no commitment has its length."""


def spans_around(first: int, last: int, places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The largest subtrees of the leaves [first, last) without any of `places`, from left to right."""
    if not places:
        yield first, last
    elif last - first > 1:
        middle = first + (1 << (last - first - 1).bit_length() - 1)  # RFC 9162, section 2.1.1
        yield from spans_around(first, middle, [place for place in places if place < middle])
        yield from spans_around(middle, last, [place for place in places if place >= middle])


def joined_root(
    first: int, last: int, places: Sequence[int], leaves: Iterator[bytes], around: Iterator[bytes]
) -> bytes:
    """The root of the leaves [first, last): from `around` where none of `places` is inside, from `leaves` at these."""
    if not places:
        return next(around)
    if last - first == 1:
        return leaf_hash(next(leaves))
    middle = first + (1 << (last - first - 1).bit_length() - 1)
    left = joined_root(first, middle, [place for place in places if place < middle], leaves, around)
    return node_hash(left, joined_root(middle, last, [place for place in places if place >= middle], leaves, around))


@dataclass(frozen=True)
class DeletionProof:
    """Deleted leaves at `places` in a tree of `size` leaves, and the hashes of the subtrees around them, in order."""

    size: int
    places: tuple[int, ...]
    deleted: tuple[bytes, ...]
    around: tuple[bytes, ...]

    def joins(self, before: bytes, after: bytes) -> bool:
        """Whether the tree with root `after` is that with root `before` with tombstones in place of `deleted`.

        `size` is the proof's own word: hashes cannot be moved by a wrong one, only the numbers of their places.
        """
        ordered = all(one < other for one, other in zip(self.places, self.places[1:], strict=False))
        inside = bool(self.places) and self.places[0] >= 0 and self.places[-1] < self.size <= SAFE_INTEGER
        whole = len(self.deleted) == len(self.places) and all(len(each) == 32 for each in self.deleted + self.around)
        if not (ordered and inside and whole):
            return False
        needed = itertools.islice(spans_around(0, self.size, self.places), len(self.around) + 1)
        if len(self.around) != sum(1 for _ in needed):  # no further than what is there: a proof may be all places
            return False
        return self._root(self.deleted) == before and self._root((TOMBSTONE,) * len(self.places)) == after

    def _root(self, leaves: Sequence[bytes]) -> bytes:
        return joined_root(0, self.size, self.places, iter(leaves), iter(self.around))


# --- 4. Keys, envelopes and checkpoints -----------------------------------------------------------------------------

SPKI: Final = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of an Ed25519 public key in its DER form (RFC 8410)."""
STATEMENT_TYPE: Final = "application/vnd.in-toto+json"
ROTATION_TYPE: Final = "application/vnd.expunge.key-rotation+json"


def key_id(public: bytes) -> str:
    """SHA-256 of the key's DER form, in hex: what `openssl pkey -pubin -outform DER | sha256sum` prints."""
    return hashlib.sha256(SPKI + public).hexdigest()


def signature_holds(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is an Ed25519 signature (RFC 8032) of `message` by the raw key `public`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def parse_keys(text: str) -> frozenset[str]:
    """Ids of the public keys in `text`: PEM blocks, `name+hash+base64` verifier keys, or bare key ids.

    **Raises:** `Refused("key-unreadable")` where there is none.
    """
    blocks = re.findall(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/]{59}=)\s+-----END PUBLIC KEY-----", text)
    ders = [base64.b64decode(block) for block in blocks]
    notes = [base64.b64decode(raw) for raw in re.findall(r"(?m)^[^\s+]+\+[0-9a-f]{8}\+([A-Za-z0-9+/]{44})\s*$", text)]
    ders += [SPKI + raw[1:] for raw in notes if raw[0] == 1]
    found = {hashlib.sha256(der).hexdigest() for der in ders if der.startswith(SPKI)}
    found.update(re.findall(r"(?m)^([0-9a-f]{64})\s*$", text))
    if not found:
        raise Refused("key-unreadable", "no Ed25519 public key in what was given as key")
    return frozenset(found)


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a DSSE signature covers: type and payload, each with its length."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def open_envelope(envelope: Mapping[str, Any], payload_type: str, signers: Sequence[bytes]) -> bytes:
    """The payload of a DSSE envelope that carries exactly the signatures of `signers`, in their order.

    **Raises:** `Refused("signature-invalid")`.
    """
    payload, signatures = b64decode(envelope["payload"]), envelope["signatures"]
    message = pae(payload_type, payload)
    if envelope["payloadType"] != payload_type or [s["keyid"] for s in signatures] != [key_id(k) for k in signers]:
        raise Refused("signature-invalid", "the envelope has another type, or names other keys as signers")
    for signature, public in zip(signatures, signers, strict=True):
        if not signature_holds(public, b64decode(signature["sig"]), message):
            raise Refused("signature-invalid", f"the signature by key {key_id(public)[:16]} does not match the content")
    return payload


def b64decode(text: str, code: str = "bundle-malformed") -> bytes:
    """Standard base64 with padding, in the one spelling that encoding gives. **Raises:** `Refused(code)`."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused(code, "base64 expected") from None
    if base64.b64encode(raw).decode() != text:
        raise Refused(code, "base64 with stray bits")
    return raw


@dataclass(frozen=True)
class Checkpoint:
    """A log's signed head (C2SP tlog-checkpoint): who, how many leaves, which root."""

    origin: str
    size: int
    root: bytes


_NOTE = re.compile(
    r"(?P<body>(?P<origin>[^\s+]{1,256})\n(?P<size>0|[1-9][0-9]{0,15})\n(?P<root>[A-Za-z0-9+/]{43}=)\n)"
    r"\n(?P<signatures>(?:\u2014 [^\s+]{1,256} [A-Za-z0-9+/=]{8,8192}\n){1,16})"
)


def open_checkpoint(note: str, keys: Sequence[bytes], alone: bool = False) -> Checkpoint:
    """The checkpoint in a C2SP signed note that at least one of `keys` signed; unknown signers are ignored.

    `alone` demands a single signature, so that no byte of the note is free to change. **Raises:**
    `Refused("checkpoint-malformed")`; `Refused("checkpoint-unsigned")`, also where one known signer's does not hold.
    """
    match = _NOTE.fullmatch(note)
    if match is None or not match["origin"].isprintable():
        raise Refused("checkpoint-malformed", "not a signed note with origin, size and root")
    lines = [line.split(" ")[1:] for line in match["signatures"].splitlines()]
    known = {note_key_hash(match["origin"], key): key for key in keys}
    mine = [b64decode(encoded, "checkpoint-malformed") for name, encoded in lines if name == match["origin"]]
    signed = [(known.get(raw[:4]), raw[4:]) for raw in mine]
    verdicts = [signature_holds(key, raw, match["body"].encode()) for key, raw in signed if key is not None]
    if not verdicts or not all(verdicts) or (alone and len(lines) > 1):
        raise Refused("checkpoint-unsigned", "the checkpoint is not signed by this log's key")
    return Checkpoint(match["origin"], int(match["size"]), b64decode(match["root"]))


def note_key_hash(name: str, public: bytes) -> bytes:
    """SHA-256(name || 0x0A || 0x01 || key)[:4]: which key a note's signature line means."""
    return hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]


# --- 5. What a bundle and a receipt must hold -----------------------------------------------------------------------

BUNDLE_FORMAT: Final = "https://expunge.example/bundle/v1"
PREDICATE_TYPE: Final = "https://expunge.example/receipt/v1"
CLAIMS: Final = ("exact", "certified", "empirical")


def matches(pattern: str) -> Callable[[Any], bool]:
    """Whether a value is a string of exactly this pattern; digits are ASCII digits."""
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def is_text(value: Any) -> bool:
    """One printable line of 1 to 4,096 characters: nothing that could steer a terminal."""
    return isinstance(value, str) and 0 < len(value) <= 4096 and value.isprintable()


def is_number(value: Any) -> bool:
    """A number, not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    """An integer from 0 to 2**53 - 1."""
    return type(value) is int and 0 <= value <= SAFE_INTEGER


def is_interval(value: Any) -> bool:
    """Two numbers, low and high."""
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value)) and value[0] <= value[1]


def _is_scalars(value: Any) -> bool:
    return isinstance(value, dict) and all(
        is_number(each) or isinstance(each, bool) or is_text(each) for each in value.values()
    )


def _is_day(text: str) -> bool:
    """Whether the calendar has this day: 30 February has the form of one."""
    try:
        return bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


_HEX = matches("[0-9a-f]{64}")
_HASH = matches("[A-Za-z0-9+/]{43}=")
_TIME = matches(r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ")
_DATE = lambda value: _TIME(value) and _is_day(value[:10])  # noqa: E731
_AMOUNT = lambda value: is_number(value) and value >= 0  # noqa: E731
_SHARE = lambda value: is_number(value) and 0 <= value <= 1  # noqa: E731
_OBJECT = lambda value: isinstance(value, dict)  # noqa: E731

# A shape is a test, a one-element list (every item), a one-element tuple (or null), or a dict (exactly these keys).
ENVELOPE: Final = {
    "payload": matches("[A-Za-z0-9+/=]+"),
    "payloadType": is_text,
    "signatures": [{"keyid": _HEX, "sig": matches("[A-Za-z0-9+/]{86}==")}],
}
BUNDLE: Final = {
    "format": lambda value: value == BUNDLE_FORMAT,
    "envelope": ENVELOPE,
    "inclusion": {"index": is_count, "proof": [_HASH]},
    "checkpoint": matches(r"[^\x00-\x09\x0b-\x1f\x7f]{1,65536}"),
    "consistency": [{"size": is_count, "root": _HASH, "proof": [_HASH]}],
    "keys": [_HASH],
    "rotations": [ENVELOPE],
}
DELETION: Final = {"size": is_count, "places": [is_count], "deleted": [_HEX], "around": [_HEX]}
ROTATION: Final = {"from_index": is_count, "new": _HASH, "old": _HASH, "rotated": _DATE}
PREDICATE: Final = {
    "request": {"id": matches(r"[A-Za-z0-9._:-]{1,128}"), "rule": is_text}
    | dict.fromkeys(("received", "deadline", "completed"), _DATE),
    "forgotten": {"scheme": is_text, "commitments": [_HEX]},
    "model": {"old": _HEX, "new": _HEX},
    "data": {"old_root": _HEX, "retained_root": _HEX, "deletion_proof": (_OBJECT,)},
    "method": {"name": is_text, "parameters": _OBJECT},
    "claim": {
        "kind": lambda value: value in CLAIMS,
        "reference": is_text,
        "assumptions": [is_text],
        "theorem": (is_text,),
        "epsilon": (_AMOUNT,),
        "delta": (_SHARE,),
        "budget_left": (_AMOUNT,),
    },
    "audit": [
        {
            "name": is_text,
            "value": (is_number,),
            "interval": (is_interval,),
            "confidence": (_SHARE,),
            "reference": ({"name": is_text, "value": (is_number,), "interval": (is_interval,)},),
            "note": (is_text,),
        }
    ],
    "verification": (
        {"schedule_commitment": (_HEX,), "tolerance": _AMOUNT, "verdict": is_text}
        | dict.fromkeys(("segments", "replayed"), is_count),
    ),
    "screening": {"verdict": is_text, "reasons": [is_text]},
    "cost": {"seconds": _AMOUNT, "ratio": (_AMOUNT,), "stopped_retraining_evaluations": (is_count,)}
    | dict.fromkeys(("gradient_evaluations", "retraining_evaluations", "peak_memory"), is_count),
    "platform": _is_scalars,
    "software": {"name": is_text, "version": is_text},
    "assurance": ({"case_digest": _HEX, "verdict": is_text},),
    "lineage": [{"model": _HEX, "treatment": is_text}],
    "degraded": [is_text],
}
STATEMENT: Final = {
    "_type": lambda value: value == "https://in-toto.io/Statement/v1",
    "subject": [{"name": is_text, "digest": {"sha256": _HEX}}],
    "predicateType": lambda value: value == PREDICATE_TYPE,
    "predicate": PREDICATE | {"not_covered": lambda value: True},  # judged by a check of its own
}


def faults(value: Any, shape: Any, where: str) -> Iterator[str]:
    """Every place where `value` does not have `shape`, as one line each."""
    if isinstance(shape, tuple):
        if value is not None:
            yield from faults(value, shape[0], where)
    elif isinstance(shape, dict) and isinstance(value, dict):
        yield from (f"{where}.{key} is missing" for key in shape.keys() - value.keys())
        yield from (f"{where} has a field that this version does not know" for _ in value.keys() - shape.keys())
        for key in sorted(shape.keys() & value.keys()):
            yield from faults(value[key], shape[key], f"{where}.{key}")
    elif isinstance(shape, list) and isinstance(value, list):
        for number, item in enumerate(value):
            yield from faults(item, shape[0], f"{where}[{number}]")
    elif isinstance(shape, dict | list) or not shape(value):
        yield f"{where} has the wrong form"


def statement_faults(statement: Any) -> list[str]:
    """What a receipt's statement lacks, `not_covered` aside: one line for each fault, empty when it is complete."""
    found = sorted(set(faults(statement, STATEMENT, "statement")))
    return found or list(_rules(statement["predicate"], statement["subject"]))


def left_out(statement: Any) -> list[str]:
    """What the receipt says that it does not cover.

    **Raises:** `Refused("not-covered-missing")` where it names nothing.
    """
    receipt = statement.get("predicate") if isinstance(statement, dict) else None
    lines = receipt.get("not_covered") if isinstance(receipt, dict) else None
    if not isinstance(lines, list) or not lines or not all(map(is_text, lines)):
        raise Refused("not-covered-missing", "the receipt does not say what it leaves out")
    return lines


def _rules(receipt: Mapping[str, Any], subject: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What no single field can say."""
    claim, bound = receipt["claim"], [receipt["model"]["new"], receipt["data"]["retained_root"]]
    theorem = [claim[field] for field in ("theorem", "epsilon", "delta")]
    if [each["digest"]["sha256"] for each in subject] != bound:
        yield "the subject is not the new model and the root of the retained data"
    if claim["kind"] == "certified" and (None in theorem or not claim["assumptions"]):
        yield "a certified claim needs theorem, epsilon, delta and assumptions"
    if claim["kind"] != "certified" and any(each is not None for each in [*theorem, claim["budget_left"]]):
        yield "only a certified claim has a theorem, epsilon, delta or budget"
    if claim["kind"] == "empirical" and not receipt["audit"]:
        yield "an empirical claim has nothing but its audit, and there is none"
    if any(figure["value"] is None and figure["note"] is None for figure in receipt["audit"]):
        yield "an audit figure has neither a value nor a reason for having none"
    if not receipt["forgotten"]["commitments"]:
        yield "nothing was forgotten"
    yield from _nonsense(receipt)


def _nonsense(receipt: Mapping[str, Any]) -> Iterator[str]:
    """Values that have their form and cannot be true beside one another."""
    request, cost, replay = receipt["request"], receipt["cost"], receipt["verification"]
    commitments = receipt["forgotten"]["commitments"]
    if len(set(commitments)) != len(commitments):
        yield "a record is forgotten twice"
    if request["received"] > min(request["completed"], request["deadline"]):
        yield "the request was completed or due before it was received"
    if replay is not None and replay["replayed"] > replay["segments"]:
        yield "more segments were replayed than there are"
    whole, ratio = cost["retraining_evaluations"], cost["ratio"]
    if (ratio is None) is not (whole == 0) or (whole and not math.isclose(ratio, cost["gradient_evaluations"] / whole)):
        yield "cost.ratio is not the quotient of the evaluations"


# --- 6. The bundle --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Earlier:
    """An earlier size and root of the log, with the proof that the checkpoint extends it."""

    size: int
    root: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True)
class Bundle:
    """A receipt with all that is needed to check it: well-formed, nothing verified yet.

    **Arguments:**

    - `envelope`: DSSE, holding the in-toto statement.
    - `index`, `inclusion`: the receipt's place in the log, with its proof.
    - `checkpoint`: the log's signed note.
    - `earlier`: states that the log extends, oldest first.
    - `keys`, `rotations`: the raw keys from first to current, and a signed envelope from each to the next.
    """

    envelope: Mapping[str, Any]
    index: int
    inclusion: tuple[bytes, ...]
    checkpoint: str
    earlier: tuple[Earlier, ...]
    keys: tuple[bytes, ...]
    rotations: tuple[Mapping[str, Any], ...]

    @property
    def entry(self) -> bytes:
        """What the log holds of the receipt: SHA-256 of the envelope's canonical bytes."""
        return hashlib.sha256(canonical(self.envelope)).digest()


def parse_bundle(data: bytes) -> Bundle:
    """The bundle in `data`, which must be canonical JSON: then no byte can change without changing what it says.

    **Raises:** `Refused` with `bundle-truncated`, `json-refused` or `bundle-malformed`.
    """
    if len(data) <= MAX_BYTES and not data.endswith(b"}"):  # of a longer one, only the beginning was read
        raise Refused("bundle-truncated", f"the bundle stops after {len(data)} bytes, before its end")
    plain = loads(data)
    for fault in faults(plain, BUNDLE, "bundle"):
        raise Refused("bundle-malformed", fault)
    if canonical(plain) != data:
        raise Refused("bundle-malformed", "the bundle is not in canonical bytes")
    if len(plain["keys"]) > MAX_KEYS:
        raise Refused("bundle-malformed", f"more than {MAX_KEYS} keys")
    keys, rotations = _hashes(plain["keys"]), tuple(plain["rotations"])
    if not keys or len(set(keys)) != len(keys) or len(rotations) != len(keys) - 1:
        raise Refused("bundle-malformed", "the key history has gaps")
    index, proof = plain["inclusion"]["index"], _hashes(plain["inclusion"]["proof"])
    earlier = tuple(Earlier(e["size"], b64decode(e["root"]), _hashes(e["proof"])) for e in plain["consistency"])
    return Bundle(plain["envelope"], index, proof, plain["checkpoint"], earlier, keys, rotations)


def _hashes(values: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(b64decode(value) for value in values)


def check_rotations(keys: Sequence[bytes], rotations: Sequence[Mapping[str, Any]]) -> list[int]:
    """The leaf index from which each key is in force; each rotation must be signed by the old and by the new key.

    **Raises:** `Refused("key-history-invalid")`.
    """
    starts = [0]
    for old, new, envelope in zip(keys[:-1], keys[1:], rotations, strict=True):
        try:
            rotation = loads(open_envelope(envelope, ROTATION_TYPE, (old, new)))
        except Refused as refused:
            raise Refused("key-history-invalid", f"rotation {len(starts)}: {refused}") from None
        fits = not any(faults(rotation, ROTATION, "rotation")) and rotation["from_index"] >= starts[-1]
        if not fits or _hashes((rotation["old"], rotation["new"])) != (old, new):
            raise Refused("key-history-invalid", f"rotation {len(starts)} does not join its two keys")
        starts.append(rotation["from_index"])
    return starts


# --- 7. The checks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One question and its answer: `holds` is `None` where the question was not asked or not reached."""

    name: str
    holds: bool | None
    code: str
    message: str


@dataclass(frozen=True)
class Report:
    """Every check by name, in order; `receipt` is the predicate, `None` unless it is signed and complete."""

    checks: tuple[Check, ...]
    receipt: Mapping[str, Any] | None

    @property
    def holds(self) -> bool:
        """Whether every check holds that was asked for."""
        return self.exit_status == 0

    @property
    def failure(self) -> Check | None:
        """The first check that failed; `None` where all that was asked for holds."""
        return next((check for check in self.checks if CODES[check.code][0]), None)

    @property
    def exit_status(self) -> int:
        """0 when all that was asked for holds, else the status of the first check that failed."""
        return CODES[self.failure.code][0] if self.failure else 0

    def to_json(self) -> dict[str, Any]:
        """Plain form, for `--json`."""
        checks = [asdict(check) for check in self.checks]
        return {"holds": self.holds, "exit_status": self.exit_status, "checks": checks, "receipt": self.receipt}

    def lines(self) -> Iterator[str]:
        """For people: one line for each check, then the verdict and what it does not cover."""
        words = {True: "ok", False: "FAILED", None: "-"}
        for check in self.checks:
            code = f"{check.code}: " if check.holds is not True else ""
            yield f"{words[check.holds]:8}{check.name:18}{code}{check.message}"
        if self.holds and self.receipt is not None:
            unasked = ", ".join(check.name for check in self.checks if check.code == "not-asked")
            yield self._verified(self.receipt)
            yield from [f"not asked: {unasked}"] if unasked else []
            yield from self._unproven()
            yield from (f"not covered: {line}" for line in self.receipt["not_covered"])
        else:
            yield "NOT VERIFIED"

    def line(self) -> str:
        """For people: the verdict in one line, with what is not proven, or the first check that failed."""
        if self.failure is not None or self.receipt is None:
            failed = self.failure or self.checks[-1]
            return f"FAILED  {failed.name}: {failed.code}: {failed.message}"
        return "; ".join([f"ok      {self._verified(self.receipt)}", *self._unproven()])

    def _verified(self, receipt: Mapping[str, Any]) -> str:
        return f"verified: request {receipt['request']['id']}, claim {receipt['claim']['kind']}"

    def _unproven(self) -> list[str]:
        unproven = (check for check in self.checks if check.code == "deletion-unproven")
        return [f"NOT PROVEN: {check.name}: {check.message}" for check in unproven]


class _Evidence:
    """A parsed bundle and what the caller compares it with; each method is one check and returns its good news."""

    def __init__(self, bundle: Bundle, model: Path | None, key: str | None, kept: str | None) -> None:
        self.bundle, self.model, self.key, self.kept = bundle, model, key, kept
        self.statement: Any = None
        self.sound = False

    def signature(self) -> str:
        """The envelope is signed by the key that was in force."""
        starts = check_rotations(self.bundle.keys, self.bundle.rotations)
        signer = [key for key, start in zip(self.bundle.keys, starts, strict=True) if start <= self.bundle.index][-1]
        payload = open_envelope(self.bundle.envelope, STATEMENT_TYPE, (signer,))
        self.statement, self.sound = loads(payload), True  # parsed only now that the signature holds
        return f"Ed25519 by key {key_id(signer)}"

    def key_trusted(self) -> str:
        """The key is the one that the caller trusts, or vouched for by it."""
        self._signed()  # until then the key history is the bundle's word
        ids = [key_id(public) for public in self.bundle.keys]
        if self.key is None:
            raise Refused("not-asked", f"give --key, or compare {ids[-1]} with the provider's published key")
        if not parse_keys(self.key) & set(ids):
            raise Refused("key-not-trusted", f"key {ids[-1]} is not the trusted one, nor vouched for by it")
        return "the trusted key, or one that it vouches for"

    def inclusion(self) -> str:
        """The receipt stands in the log."""
        head = open_checkpoint(self.bundle.checkpoint, self.bundle.keys[-1:], alone=True)
        leaf = leaf_hash(self.bundle.entry)
        verify_inclusion(self.bundle.index, head.size, leaf, head.root, self.bundle.inclusion)
        return f"leaf {self.bundle.index} of {head.size} in {head.origin}"

    def consistency(self) -> str:
        """The log extends the checkpoint that the caller kept."""
        head = open_checkpoint(self.bundle.checkpoint, self.bundle.keys[-1:], alone=True)
        for old in self.bundle.earlier:
            verify_consistency(old.size, head.size, old.root, head.root, old.proof)
        if self.kept is None:
            raise Refused("not-asked", "give --checkpoint with one that was kept earlier")
        kept = open_checkpoint(self.kept, self.bundle.keys)
        roots = {0: EMPTY_ROOT} | {old.size: old.root for old in self.bundle.earlier} | {head.size: head.root}
        _compare(kept, head, roots)
        return f"{head.size} leaves extend the {kept.size} of the kept checkpoint"

    def model_file(self) -> str:
        """The caller's model file is the one that the receipt binds."""
        if self.model is None:
            raise Refused("not-asked", "give --model with the model file")
        with self.model.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self._complete()["model"]["new"]:
            raise Refused("model-mismatch", f"the file has SHA-256 {digest}, which the receipt does not bind")
        return f"SHA-256 {digest}"

    def deletion(self) -> str:
        """Between the two data roots, the named records became tombstones."""
        receipt = self._complete()
        data, gone = receipt["data"], receipt["forgotten"]["commitments"]
        plain = data["deletion_proof"]
        if plain is None:
            raise Refused("deletion-unproven", "the receipt holds no proof of what changed in the data")
        for fault in faults(plain, DELETION, "deletion_proof"):
            raise Refused("deletion-invalid", fault)
        deleted, around = (tuple(map(bytes.fromhex, plain[name])) for name in ("deleted", "around"))
        proof = DeletionProof(plain["size"], tuple(plain["places"]), deleted, around)
        if not proof.joins(bytes.fromhex(data["old_root"]), bytes.fromhex(data["retained_root"])):
            raise Refused("deletion-invalid", "the proof does not lead from the old data root to the new one")
        if not set(gone) <= set(plain["deleted"]):
            raise Refused("deletion-invalid", "a forgotten record is not among the deleted ones")
        others = len(deleted) - len(set(gone))
        beside = f", {others} for other requests of the same run" if others else ", and no other"
        return f"of {plain['size']} leaves the {len(gone)} of this receipt became tombstones{beside}"

    def receipt_complete(self) -> str:
        """Every field is there, and of its form."""
        for fault in statement_faults(self._signed()):
            raise Refused("receipt-incomplete", fault)
        return f"{len(PREDICATE) + 1} fields as docs/verify.md lists them"

    def not_covered(self) -> str:
        """The receipt says what it does not cover."""
        return f"{len(left_out(self._signed()))} named"

    def _signed(self) -> Any:
        if not self.sound:
            raise Refused("not-reached", "the signature does not hold")
        return self.statement

    def _complete(self) -> Mapping[str, Any]:
        if statement_faults(self._signed()):
            raise Refused("not-reached", "the receipt is incomplete")
        receipt: Mapping[str, Any] = self.statement["predicate"]
        return receipt


def _compare(kept: Checkpoint, head: Checkpoint, roots: Mapping[int, bytes]) -> None:
    """Refuses unless `kept` is among the `roots` that `head` is known to extend."""
    if kept.origin != head.origin:
        raise Refused("log-other", f"the kept checkpoint is of {kept.origin}, the receipt stands in {head.origin}")
    if kept.size > head.size:
        raise Refused("log-older", f"the bundle's log has {head.size} leaves, the kept checkpoint {kept.size}")
    if kept.size not in roots:
        raise Refused("consistency-unproven", f"the bundle holds no proof from {kept.size} leaves")
    if roots[kept.size] != kept.root:
        raise Refused("log-fork", f"the log and the kept checkpoint have different roots at {kept.size} leaves")


def verify(data: bytes, model: Path | None = None, key: str | None = None, checkpoint: str | None = None) -> Report:
    """Check the bundle in `data`; what is `None` is not asked. Never raises for bad evidence: the report says it.

    **Arguments:**

    - `model`: the model file that the receipt should bind.
    - `key`: trusted public keys as text, see `parse_keys`.
    - `checkpoint`: a signed note of the same log, kept from earlier.
    """
    try:
        evidence = _Evidence(parse_bundle(data), model, key, checkpoint)
    except Refused as refused:
        return Report((Check("bundle", False, refused.code, str(refused)),), None)
    log = [evidence.inclusion, evidence.consistency]
    content = [evidence.model_file, evidence.deletion, evidence.receipt_complete, evidence.not_covered]
    steps = [evidence.signature, evidence.key_trusted, *log, *content]
    answers = [Check("bundle", True, "ok", f"{len(data)} bytes in canonical form"), *map(_answer, steps)]
    complete = all(check.holds for check in answers[-2:])
    return Report(tuple(answers), evidence.statement["predicate"] if complete else None)


def _answer(step: Callable[[], str]) -> Check:
    name = step.__name__.replace("_", "-")
    try:
        return Check(name, True, "ok", step())
    except Refused as refused:
        unanswered = CODES[refused.code][0] == 0 or refused.code == "not-reached"
        holds = None if unanswered else False
        return Check(name, holds, refused.code, str(refused))
    except OSError as error:
        return Check(name, False, "file-unreadable", f"{error.strerror}")


# --- 8. Command line ------------------------------------------------------------------------------------------------


def main(words: Sequence[str] | None = None) -> int:
    """Run the verifier on command-line arguments; returns the exit status, of several bundles the worst."""
    import argparse

    parser = argparse.ArgumentParser(prog="expunge_verify", description="Verify receipt bundles offline.")
    parser.add_argument("bundle", type=Path, nargs="+", help="<request>.bundle.json, one or several")
    parser.add_argument("--model", type=Path, help="the model file that the receipt should bind")
    parser.add_argument("--key", help="trusted public key: a PEM file, a file of key ids, or a key id itself")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint of the same log, kept from earlier")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    asked = parser.parse_args(words)
    reports = [(path, _run(path, asked.model, asked.key, asked.checkpoint)) for path in asked.bundle]
    lines = [json.dumps(_document(reports), indent=2)] if asked.json else _lines(reports)
    coding = sys.stdout.encoding or "utf-8"
    sys.stdout.write("".join(f"{line}\n" for line in lines).encode(coding, "backslashreplace").decode(coding))
    return max(report.exit_status for _, report in reports)


def _document(reports: Sequence[tuple[Path, Report]]) -> dict[str, Any]:
    """The report of one bundle as it is; of several, a list of them under what they come to."""
    if len(reports) == 1:
        return reports[0][1].to_json()
    status = max(report.exit_status for _, report in reports)
    bundles = [{"bundle": ascii(path.name)[1:-1], **report.to_json()} for path, report in reports]
    return {"holds": status == 0, "exit_status": status, "bundles": bundles}


def _lines(reports: Sequence[tuple[Path, Report]]) -> Iterator[str]:
    """Every check of one bundle; of several, a line for each."""
    if len(reports) == 1:
        yield from reports[0][1].lines()
        return
    for path, report in reports:
        yield f"{report.line()} ({ascii(path.name)[1:-1]})"
    held = sum(report.holds for _, report in reports)
    lost = len(reports) - held
    yield f"{'NOT VERIFIED' if lost else 'verified'}: {lost or held} of {len(reports)} bundles"


def _run(bundle: Path, model: Path | None, key: str | None, checkpoint: Path | None) -> Report:
    try:
        data = _read(bundle)
        trusted = key if key is None or _HEX(key) else _read(Path(key)).decode(errors="replace")
        kept = None if checkpoint is None else _read(checkpoint).decode(errors="replace")
        return verify(data, model, trusted, kept)
    except OSError as error:
        return Report((Check("files", False, "file-unreadable", f"{error.strerror}: {error.filename!a}"),), None)


def _read(path: Path) -> bytes:
    """No more than one byte above the cap, whatever the file is."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


if __name__ == "__main__":
    sys.exit(main())
