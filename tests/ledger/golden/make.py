"""Makes the golden bundles of one version: `python tests/ledger/golden/make.py FOLDER`.

Every later version must verify every folder beside this file, for ever. A new format gets a new folder; an old folder
is never made again. Keys are derived from fixed bytes, so that the same code gives the same files: never trust them.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine

from expunge.ledger import bundle, log
from expunge.ledger.receipts import (
    Assurance,
    Claim,
    Cost,
    DataChange,
    Derived,
    Figure,
    Forgotten,
    MethodUsed,
    ModelChange,
    Receipt,
    Reference,
    Request,
    Screening,
    Software,
    Verification,
)
from expunge.ledger.signatures import SigningKey, public_pem, verifier_key
from expunge.records import DataTree

ORIGIN = "expunge.example/golden"
MODEL = b"golden model file, version 1\n"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def key(number: int) -> SigningKey:
    return SigningKey(hashlib.sha256(f"golden key {number}".encode()).digest())


def data_change(name: str) -> DataChange:
    """Of five records the second and the fourth become tombstones."""
    names = ("kept 1", f"{name} 1", "kept 2", f"{name} 2", "kept 3")
    tree = DataTree(tuple(bytes.fromhex(digest(each)) for each in names))
    return DataChange(tree.root.hex(), tree.bury([1, 3]).root.hex(), tree.proof([1, 3]).to_json())


def receipt(name: str, **changes: Any) -> Receipt:
    times = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-01-02T03:04:05Z")
    fields: dict[str, Any] = {
        "request": Request(f"golden-{name}", *times, "gdpr/2016-679/1"),
        "forgotten": Forgotten((digest(f"{name} 1"), digest(f"{name} 2")), "SHA-256(salt || record)"),
        "model": ModelChange(digest("old model"), hashlib.sha256(MODEL).hexdigest()),
        "data": data_change(name),
        "method": MethodUsed("sharded", {"shards": 8, "slices": 4}),
        "claim": Claim("exact", "sharded training without the forget set"),
        "audit": (Figure("LiRA AUC", 0.5, (0.45, 0.55), 0.95, Reference("retrained twice", 0.51, (0.46, 0.56))),),
        "screening": Screening("accepted"),
        "cost": Cost(2.5, 12_000, 96_000, 200_000_000, 40_000),
        "platform": {"torch": "2.13.0", "threads": 1, "onednn": True},
        "not_covered": ("backups", "copies that were exported before the request"),
        "software": Software("expunge", "0.1.0"),
    }
    return Receipt(**(fields | changes))


def certified() -> Receipt:
    claim = Claim("certified", "retraining with the same noise", ("clipped",), "Gaussian mechanism", 1.0, 1e-5, 0.25)
    return receipt(
        "certified",
        claim=claim,
        verification=Verification(digest("schedule"), 40, 4, 0.0, "holds"),
        assurance=Assurance(digest("case"), "supported"),
        lineage=(Derived(digest("derived"), "deleted"),),
        degraded=("shadow models: 32 instead of 64",),
    )


def empirical() -> Receipt:
    figures = (Figure("UA", 93.5, (90.0, 96.0), 0.95), Figure("RMIA AUC", None, note="no power"))
    return receipt("empirical", claim=Claim("empirical", "none"), audit=figures)


def file(connection: Connection, signer: SigningKey, made: Receipt) -> tuple[dict[str, Any], str]:
    envelope = made.seal(signer)
    log.append(connection, [log.entry_of(envelope)])
    return envelope, log.sign(connection, ORIGIN, signer)


def make(folder: Path) -> None:
    """All files of one version."""
    folder.mkdir(parents=True, exist_ok=True)
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        log.create(connection)
        log.start(connection, key(1).public)
        first, kept = file(connection, key(1), receipt("exact"))
        write(folder, "exact", connection, first)
        second, _ = file(connection, key(1), certified())
        for number in range(40):
            file(connection, key(1), receipt(f"filler-{number}"))
        write(folder, "certified", connection, second, since=1)
        log.rotate(connection, key(1), key(2), "2026-03-01T00:00:00Z")
        log.sign(connection, ORIGIN, key(2))
        third, _ = file(connection, key(2), empirical())
        write(folder, "empirical-new-key", connection, third, since=1)
        write(folder, "exact-after-rotation", connection, first, since=1)
    engine.dispose()
    (folder / "model.safetensors").write_bytes(MODEL)
    (folder / "checkpoint").write_text(kept, "utf-8")
    (folder / "first-key.pem").write_text(public_pem(key(1).public))
    (folder / "second-key.vkey").write_text(verifier_key(ORIGIN, key(2).public) + "\n")


def write(folder: Path, name: str, connection: Connection, envelope: dict[str, Any], since: int = 0) -> None:
    data = bundle.to_bytes(log.prove(connection, envelope, [since]))
    (folder / f"{name}.bundle.json").write_bytes(data)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
