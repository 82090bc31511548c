"""Live evidence: what a check found, on which bytes, when, by which version; signed, so that tampering shows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
    """What a check found: verdict, one sentence, figures (numbers or None), and the formula with its threshold."""

    verdict: Verdict
    words: str
    figures: Mapping[str, float | None] = field(default_factory=dict)
    formula: str = ""
    threshold: str = ""


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


def bound(node: Node) -> str:
    """Digest of a node's check and arguments: evidence for others is none for it."""
    try:
        content = strict_json.canonical({"check": node.check, "arguments": _json(node.arguments)})
    except ExpungeError:
        raise ProgrammerError("bad-record", f"{node.id}: arguments are JSON values") from None
    return hashlib.sha256(content).hexdigest()


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _json(each) for key, each in value.items()}
    return [_json(each) for each in value] if isinstance(value, list | tuple) else value
