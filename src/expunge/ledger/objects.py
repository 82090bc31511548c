"""Content-addressed objects: bytes under the name of their SHA-256, verified whenever they are read.

Rows say which objects there are, what they are, and who points at them. Deleting is real: the row stays and says why,
the bytes go, and copies that were exported go too.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, delete, select

from expunge.errors import OperatorError
from expunge.ledger import files, paths, recovery, strict_json, tables
from expunge.ledger.store import Store, Transaction

ERASED: Final = ("erasing", "erased")


@dataclass(frozen=True)
class Stored:
    """What the store knows of an object: `size` in bytes; `erased_at` and `reason` where it was deleted."""

    digest: str
    size: int
    kind: str
    stored_at: str
    erased_at: str | None
    reason: str | None


def put(tx: Transaction, data: bytes, kind: str, pointer: tuple[str, str] | None = None) -> str:
    """Store bytes; returns their digest (SHA-256, hex). Bytes that are there already are not written again.

    **Arguments:**

    - `kind`: a word for people and for `list_all`: `checkpoint`, `record`, `receipt`.
    - `pointer`: a (holder, role) that is made to point at the object, in place of what it pointed at before.

    **Raises:** `OperatorError("disk-full" | "io-error")`.
    """
    digest = hashlib.sha256(data).hexdigest()
    row = tables.find(tx.connection, tables.objects, {"digest": digest})
    if row is None or row["state"] in ERASED or not _present(tx.folder, digest, len(data)):
        _stage(tx, digest, data)
    if row is None:
        new: dict[str, Any] = {"digest": digest, "size": len(data), "kind": kind}
        tables.add(tx.connection, tables.objects, **new, state="stored", stored_at=tx.stamp)
    elif row["state"] in ERASED:
        again = {"state": "stored", "stored_at": tx.stamp, "erased_at": None, "reason": None}
        tables.change(tx.connection, tables.objects, {"digest": digest}, **again)
    if pointer is not None:
        tables.put(tx.connection, tables.pointers, {"holder": pointer[0], "role": pointer[1]}, digest=digest)
    return digest


def put_json(tx: Transaction, value: object, kind: str, pointer: tuple[str, str] | None = None) -> str:
    """Store the canonical JSON (RFC 8785) of a value; returns its digest.

    **Raises:** as `put`; `ProgrammerError("not-json")`.
    """
    return put(tx, strict_json.canonical(value), kind, pointer)


def read(store: Store, digest: str) -> bytes:
    """An object's bytes, checked against its name.

    **Raises:** `OperatorError("object-missing" | "object-erased" | "store-corrupt" | "io-error")`.
    """
    with files.judged():
        data = _found(store.folder, digest)
    if data is None:
        raise _absent(store, digest)
    if hashlib.sha256(data).hexdigest() != digest:
        raise OperatorError("store-corrupt", f"the bytes of object {digest[:16]} do not match its name")
    return data


def read_json(store: Store, digest: str) -> Any:
    """The value of an object that holds strict JSON.

    **Raises:** as `read`; `OperatorError("bad-json")`.
    """
    return strict_json.loads(read(store, digest))


def point(tx: Transaction, holder: str, role: str, digest: str) -> None:
    """Make (holder, role) point at an object, in place of what it pointed at before.

    **Raises:** `OperatorError("object-missing")` for an object that the store does not know.
    """
    if describe(tx.connection, digest) is None:
        raise OperatorError("object-missing", f"no object {digest[:16]} to point at")
    tables.put(tx.connection, tables.pointers, {"holder": holder, "role": role}, digest=digest)


def pointed(connection: Connection, holder: str, role: str) -> str | None:
    """The digest that (holder, role) points at, or None."""
    row = tables.find(connection, tables.pointers, {"holder": holder, "role": role})
    return None if row is None else row["digest"]


def held(connection: Connection, holder: str) -> dict[str, str]:
    """Everything that `holder` points at: role -> digest."""
    table = tables.pointers
    rows = connection.execute(select(table.c.role, table.c.digest).where(table.c.holder == holder))
    return {row.role: row.digest for row in rows}


def release(tx: Transaction, holder: str, role: str | None = None) -> None:
    """Drop the pointers of `holder`, or the one of this role. The objects stay until `collect` or `erase`."""
    table = tables.pointers
    where = table.c.holder == holder if role is None else (table.c.holder == holder) & (table.c.role == role)
    tx.connection.execute(delete(table).where(where))


def erase(tx: Transaction, digest: str, reason: str) -> None:
    """Delete an object for good, whoever points at it, with every exported copy; the row stays and keeps the reason.

    The bytes go right after the commit, or, when the process is killed between, when the store is next opened. An
    object that was erased before stays as it is.

    **Raises:** `OperatorError("object-missing" | "reason-missing")`.
    """
    row = tables.find(tx.connection, tables.objects, {"digest": digest})
    if row is None:
        raise OperatorError("object-missing", f"no object {digest[:16]} to erase")
    if not reason.strip():
        raise OperatorError("reason-missing", "an object is erased for a reason")
    if row["state"] in ERASED:
        return
    tables.change(tx.connection, tables.objects, {"digest": digest}, state="erasing", reason=reason)
    exported = select(tables.exports.c.path).where(tables.exports.c.digest == digest)
    for path in tx.connection.scalars(exported).all():
        tables.change(tx.connection, tables.exports, {"path": path}, state="removing")
    tx.unsettled = True


def collect(tx: Transaction, reason: str = "nothing points at it") -> tuple[str, ...]:
    """Erase every object that nothing points at and no export shows; returns their digests."""
    objects, pointers, exports = tables.objects, tables.pointers, tables.exports
    idle = (
        select(objects.c.digest)
        .where(objects.c.state == "stored")
        .where(objects.c.digest.not_in(select(pointers.c.digest)))
        .where(objects.c.digest.not_in(select(exports.c.digest)))
        .order_by(objects.c.digest)
    )
    found = tuple(tx.connection.scalars(idle))
    for digest in found:
        erase(tx, digest, reason)
    return found


def export(tx: Transaction, digest: str, path: str) -> None:
    """Keep a readable copy of an object at `path` in the workspace (`receipts/r1.bundle.json`); `fsck` watches it.

    The copy is made right after the commit, over what was at `path`.

    **Raises:** `AttackSuspected("unsafe-path")`; `OperatorError("object-missing")`.
    """
    name = str(paths.relative(path))
    paths.inside(tx.folder, name)
    row = describe(tx.connection, digest)
    if row is None or row.erased_at is not None:
        raise OperatorError("object-missing", f"no object {digest[:16]} to export")
    tables.put(tx.connection, tables.exports, {"path": name}, digest=digest, state="pending")
    tx.unsettled = True


def withdraw(tx: Transaction, path: str) -> None:
    """Remove an exported copy; the object stays. One that is not there is no mistake."""
    table = tables.exports
    if tables.find(tx.connection, table, {"path": path}) is not None:
        tables.change(tx.connection, table, {"path": path}, state="removing")
        tx.unsettled = True


def describe(connection: Connection, digest: str) -> Stored | None:
    """What the store knows of an object; None for one that it never had."""
    row = tables.find(connection, tables.objects, {"digest": digest})
    return None if row is None else _stored(row)


def list_all(connection: Connection, kind: str | None = None) -> Sequence[Stored]:
    """Every object there ever was, of one kind or of all, oldest first."""
    query = select(tables.objects).order_by(tables.objects.c.stored_at, tables.objects.c.digest)
    rows = connection.execute(query if kind is None else query.where(tables.objects.c.kind == kind))
    return tuple(_stored(row) for row in rows.mappings())


def _stored(row: Any) -> Stored:
    erased_at = row["erased_at"] or (row["stored_at"] if row["state"] in ERASED else None)
    return Stored(row["digest"], row["size"], row["kind"], row["stored_at"], erased_at, row["reason"])


def _stage(tx: Transaction, digest: str, data: bytes) -> None:
    with files.judged():
        path = recovery.staged_path(tx.folder, digest)
        files.write_new(path, data)
    tx.staged.append(path)


def _present(folder: Path, digest: str, size: int) -> bool:
    with files.judged():
        place = folder / recovery.OBJECTS / digest
        candidates = [place] if place.exists() else recovery.staged_copies(folder, digest)
        return any(path.stat().st_size == size for path in candidates)


def _found(folder: Path, digest: str) -> bytes | None:
    """The object's bytes from its place, or from where it waits for its last rename."""
    place = folder / recovery.OBJECTS / paths.digest(digest)
    for _ in range(2):  # it may be renamed between the two looks
        for path in (place, *recovery.staged_copies(folder, digest)):
            try:
                return files.read(path)
            except FileNotFoundError:
                continue
    return None


def _absent(store: Store, digest: str) -> OperatorError:
    with store.reading() as connection:
        known = describe(connection, digest)
    if known is not None and known.erased_at is not None:
        return OperatorError("object-erased", f"object {digest[:16]} was erased: {known.reason}")
    return OperatorError("object-missing", f"object {digest[:16]} is not in the store")
