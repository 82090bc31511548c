"""The receipt: the signed statement of what was deleted, how, what may be claimed of it, and what it leaves out.

An in-toto Statement v1 whose subjects are the new model file and the root of the retained data, with a predicate of
our own (`receipt.schema.json`), in canonical JSON. It holds salted commitments, never a salt, an owner or a record.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import expunge
import expunge_verify
from expunge.errors import ProgrammerError
from expunge.ledger import dsse
from expunge.ledger.strict_json import canonical

MAX_PAYLOAD: Final = 11 << 20
"""Bytes of a statement: about 160,000 commitments, 80,000 with a deletion proof; its bundle stays below the cap."""


@dataclass(frozen=True)
class Request:
    """Which request: an opaque id, UTC times as `timestamp` writes them, and the deadline rule with its version."""

    id: str
    received: str
    deadline: str
    completed: str
    rule: str


@dataclass(frozen=True)
class Forgotten:
    """Salted commitments, hex, to the records that are gone; `scheme` says how one is opened with salt and record."""

    commitments: Sequence[str]
    scheme: str


@dataclass(frozen=True)
class ModelChange:
    """SHA-256, hex, of the model file before and after."""

    old: str
    new: str


@dataclass(frozen=True)
class DataChange:
    """Merkle roots, hex, of the data before and after; `deletion_proof` shows that only the commitments differ."""

    old_root: str
    retained_root: str
    deletion_proof: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class MethodUsed:
    """The method by name, with all its parameters in plain form."""

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """What may be promised: field for field the claim of an unlearning run.

    `kind` is `exact`, `certified` or `empirical`; theorem, epsilon and delta belong to certified claims alone.
    """

    kind: str
    reference: str
    assumptions: Sequence[str] = ()
    theorem: str | None = None
    epsilon: float | None = None
    delta: float | None = None
    budget_left: float | None = None


@dataclass(frozen=True)
class Reference:
    """What an audit figure is compared with."""

    name: str
    value: float | None
    interval: Sequence[float] | None = None


@dataclass(frozen=True)
class Figure:
    """One audit figure with its interval at level `confidence`; without a value, `note` says why there is none."""

    name: str
    value: float | None
    interval: Sequence[float] | None = None
    confidence: float | None = None
    reference: Reference | None = None
    note: str | None = None


@dataclass(frozen=True)
class Verification:
    """What was replayed: `replayed` of `segments`, within `tolerance` (0: equal bytes), and the verdict."""

    schedule_commitment: str | None
    segments: int
    replayed: int
    tolerance: float
    verdict: str


@dataclass(frozen=True)
class Screening:
    """How the request was judged before it was carried out."""

    verdict: str
    reasons: Sequence[str] = ()


@dataclass(frozen=True)
class Cost:
    """Gradients of single records, wall seconds, peak memory in bytes; beside them full and early-stopped retraining.

    `ratio` is gradient evaluations over those of full retraining, `None` where retraining takes none.
    """

    seconds: float
    gradient_evaluations: int
    retraining_evaluations: int
    peak_memory: int
    stopped_retraining_evaluations: int | None = None
    ratio: float | None = field(init=False)

    def __post_init__(self) -> None:
        whole = self.retraining_evaluations
        object.__setattr__(self, "ratio", self.gradient_evaluations / whole if whole else None)


@dataclass(frozen=True)
class Software:
    """Which program did it."""

    name: str = "expunge"
    version: str = expunge.__version__


@dataclass(frozen=True)
class Assurance:
    """Digest, hex, and verdict of the assurance case after the deletion."""

    case_digest: str
    verdict: str


@dataclass(frozen=True)
class Derived:
    """A model derived from the old one, by its digest, and what was done about it."""

    model: str
    treatment: str


@dataclass(frozen=True)
class Receipt:
    """All that a receipt says. What exists is complete.

    **Raises:** `ProgrammerError("receipt-incomplete")` naming the first fault, `ProgrammerError("not-json")`.

    **Arguments:** as the classes above; besides

    - `not_covered`: what the deletion does not reach (backups, exported copies, ...), never empty.
    - `platform`: what the bytes depend on besides recipe and records.
    - `degraded`: what fell short of the plan, one sentence each.
    - `lineage`: known models derived from the old one.
    """

    request: Request
    forgotten: Forgotten
    model: ModelChange
    data: DataChange
    method: MethodUsed
    claim: Claim
    audit: Sequence[Figure]
    screening: Screening
    cost: Cost
    platform: Mapping[str, str | int | float | bool]
    not_covered: Sequence[str]
    verification: Verification | None = None
    assurance: Assurance | None = None
    lineage: Sequence[Derived] = ()
    degraded: Sequence[str] = ()
    software: Software = field(default_factory=Software)

    def __post_init__(self) -> None:
        for fault in _faults(self.payload):
            raise ProgrammerError("receipt-incomplete", fault)

    @cached_property
    def payload(self) -> bytes:
        """Canonical bytes of the in-toto statement: what is signed."""
        subject = {"model": self.model.new, "retained-data": self.data.retained_root}
        return canonical(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subject.items()],
                "predicateType": expunge_verify.PREDICATE_TYPE,
                "predicate": asdict(self),
            }
        )

    def seal(self, signer: dsse.Signer) -> dict[str, Any]:
        """The DSSE envelope, signed."""
        return dsse.seal(self.payload, expunge_verify.STATEMENT_TYPE, [signer])

    @staticmethod
    def from_predicate(predicate: Mapping[str, Any]) -> "Receipt":
        """The receipt that has this predicate in plain form; only from a statement whose signature was verified.

        **Raises:** as the constructor.
        """
        try:
            return Receipt(**{name: _rebuild(name, value) for name, value in predicate.items()})
        except TypeError:
            raise ProgrammerError("receipt-incomplete", "the predicate lacks a field or has one too many") from None


def open_receipt(envelope: Mapping[str, Any], key: bytes) -> Receipt:
    """The receipt in an envelope signed by the raw key `key`: verified first, then parsed.

    **Raises:** `ProviderDishonest("signature-invalid")`, and as the constructor of `Receipt`.
    """
    payload = dsse.verify(envelope, expunge_verify.STATEMENT_TYPE, [key])
    for fault in _faults(payload):
        raise ProgrammerError("receipt-incomplete", fault)
    return Receipt.from_predicate(expunge_verify.loads(payload)["predicate"])


def timestamp(moment: datetime) -> str:
    """UTC, to the second: `2026-01-31T09:30:00Z`.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for a time without a zone.
    """
    if moment.tzinfo is None:
        raise ProgrammerError("bad-hyperparameter", "a time without a zone means a different instant to each reader")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def schema() -> dict[str, Any]:
    """The published JSON schema (draft 2020-12) of a receipt's statement."""
    from importlib.resources import files

    text = files("expunge.ledger").joinpath("receipt.schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


_PARTS: Final[Mapping[str, type]] = {
    "request": Request,
    "forgotten": Forgotten,
    "model": ModelChange,
    "data": DataChange,
    "method": MethodUsed,
    "claim": Claim,
    "audit": Figure,
    "verification": Verification,
    "screening": Screening,
    "cost": Cost,
    "software": Software,
    "assurance": Assurance,
    "lineage": Derived,
}


def _rebuild(name: str, value: Any) -> Any:
    """The typed form of one field of the predicate."""
    if isinstance(value, list):
        return tuple(_rebuild(name, item) for item in value)
    if name not in _PARTS or not isinstance(value, dict):
        return value
    wanted = {each.name for each in fields(_PARTS[name]) if each.init}
    plain = {key: _frozen(item) for key, item in value.items() if key in wanted}
    if name == "audit" and plain.get("reference") is not None:
        plain["reference"] = Reference(**{key: _frozen(item) for key, item in value["reference"].items()})
    return _PARTS[name](**plain)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _faults(payload: bytes) -> list[str]:
    """The verifier's own judgement, before anything is signed."""
    if len(payload) > MAX_PAYLOAD:
        return [f"a receipt has at most {MAX_PAYLOAD} bytes: split the request"]
    try:
        statement = expunge_verify.loads(payload)
        expunge_verify.left_out(statement)
    except expunge_verify.Refused as refused:
        return [f"{refused}"]
    return expunge_verify.statement_faults(statement)
