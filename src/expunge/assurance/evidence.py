"""Live evidence: what a check found, on which bytes, when, by which version; signed, so that tampering shows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Protocol, runtime_checkable

import expunge_verify
from expunge.assurance.case import Node
from expunge.errors import ExpungeError, ProgrammerError
from expunge.ledger import dsse, strict_json

TYPE: Final = "application/vnd.expunge.evidence+json"
"""Payload type of a signed evidence record."""


class Verdict(StrEnum):
    """What a check says: it holds, it fails, or it could not decide."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Finding:
    """What a check found: verdict, one sentence, figures (numbers or None), and the formula with its threshold.

    `details` is what a page draws and a replay needs, in plain JSON: `pictures`, `proof`
    (rooms of the same names).
    """

    verdict: Verdict
    words: str
    figures: Mapping[str, float | None] = field(default_factory=dict)
    formula: str = ""
    threshold: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Check(Protocol):
    """Measures one solution. A frozen dataclass; `inputs` names the things whose change makes its evidence stale."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what is read: `model`, `train`, `test`."""

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Look at `subjects` (things by name)."""


@dataclass(frozen=True)
class Evidence:
    """A finding bound to its node, check, arguments and to the digests of what was looked at."""

    node: str
    check: str
    arguments: str
    inputs: Mapping[str, str]
    finding: Finding
    time: str
    version: str

    def seal(self, signer: dsse.Signer) -> bytes:
        """The signed envelope (DSSE)."""
        return dsse.to_bytes(dsse.seal(strict_json.canonical(asdict(self)), TYPE, [signer]))


def opened(data: bytes, keys: Sequence[bytes]) -> Evidence | str:
    """The evidence in an envelope that one of `keys` signed, byte by byte as written; else what is wrong with it."""
    try:
        envelope = dsse.parse(data)
        plain = strict_json.loads(dsse.verify(envelope, TYPE, keys))
        known = {expunge_verify.key_id(key) for key in keys}
        if dsse.to_bytes(envelope) != data or {each["keyid"] for each in envelope["signatures"]} - known:
            return "evidence tampered with: its envelope is not as it was written"
        finding = Finding(**{**plain["finding"], "verdict": Verdict(plain["finding"]["verdict"])})
        return Evidence(**{**plain, "finding": finding})
    except ExpungeError as error:
        return f"evidence tampered with: {error} [{error.code}]"
    except (KeyError, TypeError, ValueError):
        return "evidence tampered with: it is no evidence record"


def content(data: bytes) -> str:
    """Digest of what sealed evidence says, without the moment and the key that it was signed with.

    Two people who measure the same thing on the same bytes come to the same digest.
    """
    try:
        plain = strict_json.loads(expunge_verify.b64decode(dsse.parse(data)["payload"]))
        told = strict_json.canonical({name: value for name, value in plain.items() if name != "time"})
    except (ExpungeError, expunge_verify.Refused, AttributeError):
        told = data
    return hashlib.sha256(told).hexdigest()


def bound(node: Node, check: Check) -> str:
    """Digest of a node's check, its settings and its arguments: evidence for others is none for it."""
    settings = {each.name: getattr(check, each.name) for each in fields(check) if each.compare}  # type: ignore[arg-type]
    body = {"check": node.check, "settings": settings, "arguments": node.arguments}
    try:
        told = strict_json.canonical(_json(body))
    except ExpungeError:
        raise ProgrammerError("bad-record", f"{node.id}: arguments are JSON values") from None
    return hashlib.sha256(told).hexdigest()


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _json(each) for key, each in value.items()}
    return [_json(each) for each in value] if isinstance(value, list | tuple) else value
