"""What a receipt costs in logs of 10^2 to 10^5 leaves: sign, log, checkpoint, bundle, commit; then verify.

    python benchmarks/receipts.py [--receipts 1000] [--sizes 100 1000 10000 100000] [--json]

Every receipt is one transaction on a database file with its write-ahead log, synced at each commit as the store does.
The table shows milliseconds for one receipt (medians; wall and processor time), and the ratio to the smallest log.
"""

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

import expunge_verify
from expunge.ledger import bundle, database, log
from expunge.ledger.receipts import (
    Claim,
    Cost,
    DataChange,
    Figure,
    Forgotten,
    MethodUsed,
    ModelChange,
    Receipt,
    Reference,
    Request,
    Screening,
)
from expunge.ledger.signatures import SigningKey, public_pem

ORIGIN = "expunge.example/benchmark"
CHUNK = 5_000
STAGES = ("file", "file_cpu", "verify")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def receipt(name: str) -> Receipt:
    times = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-01-02T03:04:05Z")
    return Receipt(
        request=Request(name, *times, "gdpr/2016-679/1"),
        forgotten=Forgotten(tuple(digest(f"{name} {number}") for number in range(20)), "SHA-256(salt || record)"),
        model=ModelChange(digest("old"), digest("new")),
        data=DataChange(digest("all"), digest("retained")),
        method=MethodUsed("sharded", {"shards": 8, "slices": 4}),
        claim=Claim("exact", "sharded training without the forget set"),
        audit=(Figure("LiRA AUC", 0.5, (0.45, 0.55), 0.95, Reference("retrained", 0.51, (0.46, 0.56))),),
        screening=Screening("accepted"),
        cost=Cost(2.5, 12_000, 96_000, 200_000_000),
        platform={"torch": "2.13.0", "threads": 1},
        not_covered=("backups",),
    )


def fill(engine: Engine, size: int) -> None:
    """Bring an empty log to `size` leaves, in large transactions."""
    for first in range(0, size, CHUNK):
        entries = [hashlib.sha256(f"{number}".encode()).digest() for number in range(first, min(first + CHUNK, size))]
        with engine.begin() as connection:
            log.append(connection, entries)


def file(connection: Connection, key: SigningKey, name: str) -> bytes:
    envelope = receipt(name).seal(key)
    log.append(connection, [log.entry_of(envelope)])
    log.sign(connection, ORIGIN, key)
    return bundle.to_bytes(log.prove(connection, envelope))


def timed(action: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall and processor milliseconds, and the result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = action()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor), result


def measure(engine: Engine, key: SigningKey, name: str) -> dict[str, Any]:
    """Milliseconds of one receipt by stage, and the length of its bundle."""
    wall, processor, data = timed(lambda: transaction(engine, key, name))
    checking, _, report = timed(lambda: expunge_verify.verify(data, key=public_pem(key.public)))
    assert report.holds
    return {"file": wall, "file_cpu": processor, "verify": checking, "bytes": len(data)}


def transaction(engine: Engine, key: SigningKey, name: str) -> bytes:
    with engine.begin() as connection:
        return file(connection, key, name)


def logged(path: Path, key: SigningKey, size: int) -> Engine:
    """A database with a log of `size` leaves."""
    database.make(path)
    engine = database.engine(path)
    with engine.begin() as connection:
        log.create(connection)
        log.start(connection, key.public)
    fill(engine, size)
    return engine


def run(sizes: list[int], receipts: int) -> list[dict[str, Any]]:
    """Medians over `receipts` receipts for each size; sizes take turns, so that a busy machine slows all alike."""
    key = SigningKey.generate()
    with tempfile.TemporaryDirectory() as folder:
        engines = {size: logged(Path(folder) / f"{size}.db", key, size) for size in sorted(sizes)}
        spent: dict[int, list[dict[str, Any]]] = {size: [] for size in engines}
        for number in range(receipts):
            for size, engine in engines.items():
                spent[size].append(measure(engine, key, f"{size}-{number}"))
        for engine in engines.values():
            engine.dispose()
    rows = [{"leaves": size, "receipts": receipts, **_medians(found)} for size, found in spent.items()]
    for row in rows:
        row |= {f"{stage}_ratio": row[f"{stage}_ms"] / rows[0][f"{stage}_ms"] for stage in STAGES}
    return rows


def _medians(found: list[dict[str, Any]]) -> dict[str, Any]:
    medians = {f"{stage}_ms": statistics.median(each[stage] for each in found) for stage in STAGES}
    return {"bundle_bytes": found[-1]["bytes"], **medians}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receipts", type=int, default=1_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = run(asked.sizes, asked.receipts)
    if asked.json:
        print(json.dumps({"rows": rows}))
        return
    print(f"{'leaves':>8}" + "".join(f"{stage + ' ms':>13}{'ratio':>7}" for stage in STAGES) + f"{'bundle bytes':>14}")
    for row in rows:
        figures = "".join(f"{row[f'{stage}_ms']:13.2f}{row[f'{stage}_ratio']:7.2f}" for stage in STAGES)
        print(f"{row['leaves']:8}{figures}{row['bundle_bytes']:14}")


if __name__ == "__main__":
    main()
