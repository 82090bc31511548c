"""DSSE envelopes: a payload with its type and signatures, verified before anything parses the payload.

The signed bytes are the pre-authentication encoding of DSSE v1 (`expunge_verify.pae`).
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import expunge_verify
from expunge.errors import AttackSuspected, ProgrammerError, ProviderDishonest
from expunge.ledger.strict_json import canonical

MAX_SIGNATURES: Final = 16
"""More than this many signatures on one envelope are refused unread."""


@runtime_checkable
class Signer(Protocol):
    """Whatever signs with Ed25519: a key in memory, or one in a device."""

    @property
    def public(self) -> bytes:
        """The raw public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`, 64 bytes."""


def seal(payload: bytes, payload_type: str, signers: Sequence[Signer]) -> dict[str, Any]:
    """An envelope over `payload`, signed by each of `signers` in their order."""
    message = expunge_verify.pae(payload_type, payload)
    signatures = [{"keyid": expunge_verify.key_id(s.public), "sig": _encode(s.sign(message))} for s in signers]
    return {"payload": _encode(payload), "payloadType": payload_type, "signatures": signatures}


def to_bytes(envelope: Mapping[str, Any]) -> bytes:
    """The envelope in canonical JSON: what the log's entry is a digest of."""
    return canonical(dict(envelope))


def parse(data: bytes) -> dict[str, Any]:
    """The envelope in `data`, by its form alone; fields that DSSE does not name are dropped.

    **Raises:** `AttackSuspected("bad-envelope")`.
    """
    try:
        plain = expunge_verify.loads(data)
    except expunge_verify.Refused as refused:
        raise AttackSuspected("bad-envelope", f"the envelope was refused: {refused}") from None
    if not isinstance(plain, dict) or not _has_form(plain):
        raise AttackSuspected("bad-envelope", "an envelope has payload, payloadType and 1 to 16 signatures")
    signatures = [{"keyid": each.get("keyid", ""), "sig": each["sig"]} for each in plain["signatures"]]
    return {"payload": plain["payload"], "payloadType": plain["payloadType"], "signatures": signatures}


def verify(envelope: Mapping[str, Any], payload_type: str, keys: Sequence[bytes], threshold: int = 1) -> bytes:
    """The payload, once at least `threshold` different keys among the raw `keys` have signed it as `payload_type`.

    The key ids in the envelope are hints, as DSSE has it: they decide nothing.

    **Raises:** `ProviderDishonest("signature-invalid")`; `AttackSuspected("bad-envelope")` for stray base64;
    `ProgrammerError("bad-hyperparameter")` for a threshold below 1.
    """
    if threshold < 1:
        raise ProgrammerError("bad-hyperparameter", "a threshold below one signature would accept anything")
    payload = _decode(envelope["payload"])
    message = expunge_verify.pae(payload_type, payload)
    signatures = [_decode(each["sig"]) for each in envelope["signatures"]]
    valid = {key for key in keys if any(expunge_verify.signature_holds(key, sig, message) for sig in signatures)}
    if envelope["payloadType"] != payload_type or len(valid) < threshold:
        raise ProviderDishonest("signature-invalid", f"{len(valid)} of {threshold} signatures needed hold")
    return payload


def _has_form(plain: Mapping[str, Any]) -> bool:
    signatures = plain.get("signatures")
    texts = [plain.get("payload"), plain.get("payloadType")]
    if not isinstance(signatures, list) or not 0 < len(signatures) <= MAX_SIGNATURES:
        return False
    if not all(isinstance(each, dict) for each in signatures):
        return False
    texts += [text for each in signatures for text in (each.get("sig"), each.get("keyid", ""))]
    return all(isinstance(text, str) for text in texts)


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decode(text: str) -> bytes:
    try:
        return expunge_verify.b64decode(text)
    except expunge_verify.Refused as refused:
        raise AttackSuspected("bad-envelope", f"{refused}") from None
