"""A small log with receipts in it, as a workspace keeps one: real keys, a real database in memory."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine

from expunge.ledger import bundle, log, receipts
from expunge.ledger.signatures import SigningKey
from expunge.records import DataTree

ORIGIN = "expunge.example/test"
MODEL = b"the bytes of a model file"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def data_change(number: int) -> receipts.DataChange:
    """Of three records the middle one, whose commitment the receipt names, becomes a tombstone."""
    leaves = (digest(f"before {number}"), digest(f"commitment {number}"), digest("after"))
    tree = DataTree(tuple(map(bytes.fromhex, leaves)))
    return receipts.DataChange(tree.root.hex(), tree.bury([1]).root.hex(), tree.proof([1]).to_json())


def make_receipt(number: int = 0, **changes: Any) -> receipts.Receipt:
    """A complete receipt; `changes` replace whole fields."""
    fields: dict[str, Any] = {
        "request": receipts.Request(
            f"request-{number}", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-01-02T03:04:05Z", "gdpr/1"
        ),
        "forgotten": receipts.Forgotten((digest(f"commitment {number}"),), "SHA-256(salt || record)"),
        "model": receipts.ModelChange(digest("old"), hashlib.sha256(MODEL).hexdigest()),
        "data": data_change(number),
        "method": receipts.MethodUsed("sharded", {"shards": 8, "sizes": [1, 2]}),
        "claim": receipts.Claim("exact", "training without the forget set"),
        "audit": (
            receipts.Figure("LiRA AUC", 0.51, (0.45, 0.57), 0.95, receipts.Reference("retrained", 0.5, (0.44, 0.56))),
            receipts.Figure("RMIA AUC", None, note="no power"),
        ),
        "screening": receipts.Screening("accepted"),
        "cost": receipts.Cost(1.5, 1_000, 8_000, 10**8),
        "platform": {"torch": "2.13", "threads": 1, "onednn": True},
        "not_covered": ("backups", "copies that were exported"),
    }
    return receipts.Receipt(**(fields | changes))


@dataclass
class Desk:
    """Files receipts in one log and makes their bundles."""

    connection: Connection
    key: SigningKey
    envelopes: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def file(self, count: int = 1, **changes: Any) -> list[dict[str, Any]]:
        """Sign, log and check-point so many further receipts, one after another."""
        for _ in range(count):
            envelope = make_receipt(len(self.envelopes), **changes).seal(self.key)
            log.append(self.connection, [log.entry_of(envelope)])
            self.envelopes.append(envelope)
            self.notes.append(log.sign(self.connection, ORIGIN, self.key))
        return self.envelopes

    def rotate(self) -> SigningKey:
        """Hand over to a new key; returns the old one."""
        old, self.key = self.key, SigningKey.generate()
        log.rotate(self.connection, old, self.key, "2026-03-01T00:00:00Z")
        self.notes.append(log.sign(self.connection, ORIGIN, self.key))
        return old

    def bundle(self, number: int = -1) -> bytes:
        return bundle.to_bytes(log.prove(self.connection, self.envelopes[number]))


def new_desk() -> Iterator[Desk]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        log.create(connection)
        key = SigningKey.generate()
        log.start(connection, key.public)
        yield Desk(connection, key)
    engine.dispose()


desk = pytest.fixture(new_desk)
other_desk = pytest.fixture(new_desk)


@pytest.fixture
def receipt() -> Callable[..., receipts.Receipt]:
    return make_receipt


@pytest.fixture
def model(tmp_path: Any) -> Any:
    path = tmp_path / "model.safetensors"
    path.write_bytes(MODEL)
    return path
