"""Secret salts of commitments: kept, read, and destroyed so that what was committed to can no longer be told.

A salt has a public name (the commitment that it opens, or a request's id). Destroying overwrites it, records when and
why, and keeps the salt's own digest, by which `fsck --prove-absent` can look for it.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, RowMapping, select

from expunge.errors import OperatorError, ProgrammerError
from expunge.ledger import tables
from expunge.ledger.store import Transaction

BYTES: Final = 32
_BATCH: Final = 500


@dataclass(frozen=True)
class Destroyed:
    """A destroyed salt: its name, its SHA-256 (hex), when and why."""

    name: str
    digest: str
    destroyed_at: str
    reason: str


def new() -> bytes:
    """32 random bytes of the operating system: the one kind of randomness that no seed may reproduce."""
    return secrets.token_bytes(BYTES)


def keep(tx: Transaction, salts: Mapping[str, bytes]) -> None:
    """Keep salts under their names; to keep the same one again is no mistake.

    **Raises:** `ProgrammerError("bad-salt")` for one that is not 32 bytes long, or for a name that is taken.
    """
    if any(len(salt) != BYTES for salt in salts.values()):
        raise ProgrammerError("bad-salt", f"a salt has {BYTES} bytes")
    known = _rows(tx.connection, salts)
    if any(known[name]["digest"] != _digest(salts[name]) for name in known):
        raise ProgrammerError("bad-salt", "a name has another salt already")
    start = tables.next_id(tx.connection, tables.salts)
    fresh = [(name, salt) for name, salt in salts.items() if name not in known]
    rows = (
        {"id": start + number, "name": name, "salt": salt, "digest": _digest(salt), "kept_at": tx.stamp}
        for number, (name, salt) in enumerate(fresh)
    )
    tables.add_all(tx.connection, tables.salts, rows)


def read(connection: Connection, names: Iterable[str]) -> dict[str, bytes]:
    """The salts of these names, as far as they are kept and not destroyed."""
    return {name: bytes(row["salt"]) for name, row in _rows(connection, names).items() if row["salt"] is not None}


def destroy(tx: Transaction, names: Iterable[str], reason: str) -> tuple[Destroyed, ...]:
    """Destroy the salts of these names for good; returns what is recorded of each. A destroyed one stays destroyed.

    After the commit the database's files are searched for the bytes and rebuilt where they are found; a killed process
    leaves that to the next one that opens the store.

    **Raises:** `OperatorError("reason-missing")`; `OperatorError("unknown-salt")` for a name that was never kept;
    after the commit `OperatorError("not-erased" | "store-busy")`.
    """
    wanted = tuple(dict.fromkeys(names))
    if not reason.strip():
        raise OperatorError("reason-missing", "a salt is destroyed for a reason")
    known = _rows(tx.connection, wanted)
    if len(known) < len(wanted):
        raise OperatorError("unknown-salt", f"{len(wanted) - len(known)} of {len(wanted)} names have no salt")
    for row in known.values():
        if row["salt"] is not None:
            gone = {"salt": None, "destroyed_at": tx.stamp, "reason": reason}
            tables.change(tx.connection, tables.salts, {"id": row["id"]}, **gone)
            tx.scrub(bytes(row["salt"]))
    return tuple(each for each in destroyed(tx.connection) if each.name in known)


def destroyed(connection: Connection) -> tuple[Destroyed, ...]:
    """Every destroyed salt, in the order in which they were kept."""
    table = tables.salts
    rows = connection.execute(select(table).where(table.c.salt.is_(None)).order_by(table.c.id))
    return tuple(Destroyed(row.name, row.digest, row.destroyed_at, row.reason) for row in rows)


def _rows(connection: Connection, names: Iterable[str]) -> dict[str, RowMapping]:
    table, wanted = tables.salts, list(names)
    found: dict[str, RowMapping] = {}
    for start in range(0, len(wanted), _BATCH):
        some = select(table).where(table.c.name.in_(wanted[start : start + _BATCH]))
        found |= {row["name"]: row for row in connection.execute(some).mappings()}
    return found


def _digest(salt: bytes) -> str:
    return hashlib.sha256(salt).hexdigest()
