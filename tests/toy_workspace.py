"""A workspace without torch: rows of people in one stored object, a model that is a digest of them, and its steps."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from expunge.errors import RequesterError
from expunge.journey import decisions, lineage, requests, tables
from expunge.journey.requests import Request, Subject, Wish
from expunge.journey.worker import HELD, PASSED, Outcome, Record, work
from expunge.ledger import log, objects, salts
from expunge.ledger.store import Store, Transaction, utc_now

WORKSPACE = "workspace"
Rows = dict[str, list[int]]


def key(number: int) -> UUID:
    return UUID(int=number, version=4)


def model_of(rows: Rows) -> bytes:
    """Training, as far as this workspace knows it: a function of the rows and of nothing else."""
    return hashlib.sha256(repr(sorted(rows.items())).encode()).digest() * 20


def _salt(owner: str) -> bytes:
    return hashlib.sha256(owner.encode()).digest()


def salt_name(owner: str) -> str:
    """What a salt opens: the commitment to its owner."""
    return hashlib.sha256(_salt(owner) + owner.encode()).hexdigest()


def people(count: int) -> Rows:
    return {f"owner-{number:04d}": [number, number * number] for number in range(count)}


def create(folder: Path, rows: Rows, **options: Any) -> Store:
    def fill(tx: Transaction) -> None:
        objects.put_json(tx, rows, "records", (WORKSPACE, "records"))
        model = objects.put(tx, model_of(rows), "model", (WORKSPACE, "model"))
        objects.export(tx, model, "model.bin")
        lineage.register(tx, model, "trained")
        salts.keep(tx, {salt_name(owner): _salt(owner) for owner in rows})

    return Store.create(folder, fill, steps=tables.MIGRATIONS, **options)


def open_store(folder: Path, **options: Any) -> Store:
    return Store.open(folder, steps=tables.MIGRATIONS, **options)


def rows_now(store: Store) -> Rows:
    with store.reading() as connection:
        digest = objects.pointed(connection, WORKSPACE, "records")
    assert digest is not None
    return dict(objects.read_json(store, digest))


def file(store: Store, number: int, owner: str, verified_by: str | None = "desk", batch: str | None = None) -> Request:
    with store.transaction() as tx:
        return requests.file(tx, key(number), Wish(Subject(owner), batch=batch), verified_by=verified_by)


class ToySteps:
    """Deletes rows: into place with the receipt. Owners whose number is divisible by `suspicious` are held."""

    def __init__(self, store: Store, suspicious: int = 10**9) -> None:
        self.store, self.suspicious = store, suspicious
        self.runs = 0

    def screen(self, request: Request) -> Record:
        assert request.subject is not None
        owner = request.subject.owner or ""
        if owner not in rows_now(self.store):
            raise RequesterError("unknown-owner", "nobody of that name")
        number = int(owner.rpartition("-")[2])
        return {"verdict": HELD if number and number % self.suspicious == 0 else PASSED, "reasons": ["its number"]}

    def plan(self, run: Sequence[Request]) -> Record:
        return {"method": "filter", "requests": len(run)}

    def unlearn(self, run: Sequence[Request]) -> Record:
        self.runs += 1
        rows = rows_now(self.store)
        old = model_of(rows)
        kept = {owner: values for owner, values in rows.items() if owner not in _owners(run)}
        with self.store.transaction() as tx:
            holder = f"run/{run[0].run}"
            objects.put_json(tx, kept, "records", (holder, "records"))
            new = objects.put(tx, model_of(kept), "model", (holder, "model"))
        return {"old_model": hashlib.sha256(old).hexdigest(), "new_model": new, "rows": len(kept)}

    def audit(self, run: Sequence[Request]) -> Record:
        return {"found": 0, "requests": len(run)}

    def receipt(self, request: Request) -> Record:
        return {"request": request.id, "not_covered": ["backups"]}

    def commit(self, tx: Transaction, step: str, run: Sequence[Request], record: Record) -> Record:
        if step == "receipt":
            _switch(tx, f"run/{run[0].run}")
            salts.destroy(tx, map(salt_name, sorted(_owners(run))), "deleted on request")
            entry = hashlib.sha256(run[0].id.encode()).digest()
            record = {**record, "leaf": log.append(tx.connection, [entry])[0]}
            receipt = objects.put_json(tx, record, "receipt", (f"receipt/{run[0].id}", "bundle"))
            objects.export(tx, receipt, f"receipts/{run[0].id}.json")
        return record


def _owners(run: Sequence[Request]) -> set[str]:
    return {request.subject.owner or "" for request in run if request.subject is not None}


def _switch(tx: Transaction, holder: str) -> None:
    """With the first receipt of a run: its model and rows become the workspace's."""
    old = objects.held(tx.connection, WORKSPACE)
    new = objects.held(tx.connection, holder)
    if not new:
        return
    for role, digest in new.items():
        objects.point(tx, WORKSPACE, role, digest)
    objects.release(tx, holder)
    objects.export(tx, new["model"], "model.bin")
    for digest in set(old.values()) - set(new.values()):
        objects.erase(tx, digest, "it held or saw deleted records")


def carry(store: Store, ids: Sequence[str] | None = None, steps: ToySteps | None = None, **options: Any) -> Outcome:
    return work(store, steps or ToySteps(store), ids, **options)


__all__ = ["ToySteps", "carry", "create", "decisions", "file", "key", "open_store", "people", "rows_now", "utc_now"]
