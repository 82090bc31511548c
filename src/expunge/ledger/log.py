"""The append-only log of receipts: a Merkle tree in the store, with signed checkpoints and proofs.

A leaf's entry is the SHA-256 of a receipt's envelope: the log can be published and shows no receipt. Every function
works in the caller's transaction, so that a leaf is committed together with the state of its request. A checkpoint
signed in a transaction may be shown to others only after that transaction is committed.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    desc,
    func,
    insert,
    select,
)

import expunge_verify
from expunge.errors import OperatorError, ProgrammerError, ProviderDishonest
from expunge.ledger import merkle
from expunge.ledger.checkpoints import open_checkpoint, sign_checkpoint
from expunge.ledger.dsse import Signer, to_bytes
from expunge.ledger.dsse import parse as parse_envelope
from expunge.ledger.signatures import KeyHistory
from expunge.ledger.strict_json import canonical
from expunge.ledger.tables import metadata
from expunge_verify import Bundle, Checkpoint, Earlier

_BIG: Final = BigInteger().with_variant(Integer, "sqlite")  # in SQLite only INTEGER is the row's own number
_LEVEL: Final = 48
"""A node's row number is `level << 48 | position`."""

leaves: Final = Table(
    "log_leaves",
    metadata,
    Column("position", _BIG, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary(32), nullable=False, unique=True),
)
nodes: Final = Table(
    "log_nodes",
    metadata,
    Column("id", _BIG, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
)
checkpoints: Final = Table(
    "log_checkpoints",
    metadata,
    Column("id", _BIG, primary_key=True),
    Column("size", _BIG, nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("note", Text, nullable=False),
    UniqueConstraint("size", "key_id"),
)
keys: Final = Table(
    "log_keys",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("public", LargeBinary(32), nullable=False, unique=True),
    Column("rotation", Text),
)
TABLES: Final = (leaves, nodes, checkpoints, keys)
"""For the store's migrations; the rows need no seal: the tree, the signatures and `faults` check them."""

_BATCH: Final = 10_000
"""Values in one question to the database, which takes no more than 32,766."""

RECENT: Final = 16
"""Every bundle proves that its log extends the log of this many leaves less, and all sizes in between."""


def create(connection: Connection) -> None:
    """Make the tables where they are missing."""
    metadata.create_all(connection, tables=TABLES)


# Leaves and the tree


def entry_of(envelope: Mapping[str, Any]) -> bytes:
    """What the log holds of a receipt: SHA-256 of the envelope's canonical bytes."""
    return hashlib.sha256(to_bytes(envelope)).digest()


def append(connection: Connection, entries: Sequence[bytes]) -> list[int]:
    """Log `entries` of 32 bytes in their order and return their leaf indices; one that is there already stays.

    **Raises:** `ProgrammerError("bad-shape")` for entries of another length.
    """
    if any(len(entry) != 32 for entry in entries):
        raise ProgrammerError("bad-shape", "a log entry is a SHA-256 of 32 bytes")
    places = _places(connection, entries)
    fresh = [entry for entry in dict.fromkeys(entries) if entry not in places]
    if fresh:
        start = size(connection)
        grown = merkle.grow(fetcher(connection), start, [expunge_verify.leaf_hash(entry) for entry in fresh])
        places |= {entry: start + offset for offset, entry in enumerate(fresh)}
        connection.execute(insert(leaves), [{"position": places[entry], "entry": entry} for entry in fresh])
        connection.execute(insert(nodes), [{"id": row_of(node), "hash": value} for node, value in grown.items()])
    return [places[entry] for entry in entries]


def size(connection: Connection) -> int:
    """The number of leaves."""
    last = connection.scalar(select(func.max(leaves.c.position)))
    return 0 if last is None else int(last) + 1


def root(connection: Connection, count: int | None = None) -> bytes:
    """The root over the first `count` leaves, by default over all."""
    return merkle.root(fetcher(connection), size(connection) if count is None else count)


def row_of(node: merkle.Node) -> int:
    """The row number of a node."""
    return node[0] << _LEVEL | node[1]


def fetcher(connection: Connection) -> merkle.Fetch:
    """Reads nodes from the store; **raises** `OperatorError("log-corrupt")` where one is missing."""

    def fetch(wanted: Iterable[merkle.Node]) -> dict[merkle.Node, bytes]:
        rows = {row_of(node): node for node in wanted}
        found = connection.execute(select(nodes.c.id, nodes.c.hash).where(nodes.c.id.in_(rows)))
        values = {rows[number]: bytes(value) for number, value in found}
        if len(values) != len(rows):
            raise OperatorError("log-corrupt", f"{len(rows) - len(values)} nodes of the log's tree are missing")
        return values

    return fetch


# Keys


def start(connection: Connection, first_key: bytes) -> KeyHistory:
    """Enter the log's first key; nothing happens where the same one is there.

    **Raises:** `OperatorError("wrong-key")` where the log has another first key.
    """
    known = connection.scalar(select(keys.c.public).where(keys.c.position == 0))
    if known is None:
        connection.execute(insert(keys), {"position": 0, "public": first_key, "rotation": None})
    elif known != first_key:
        raise OperatorError("wrong-key", "the log began with another key")
    return history(connection)


def history(connection: Connection) -> KeyHistory:
    """All keys of the log, verified.

    **Raises:** `ProviderDishonest("key-history-invalid")`, also where the log has no key yet;
    `AttackSuspected("bad-envelope")`.
    """
    rows = connection.execute(select(keys.c.public, keys.c.rotation).order_by(keys.c.position)).all()
    rotations = tuple(parse_envelope(text.encode()) for _, text in rows if text is not None)
    return KeyHistory(tuple(bytes(public) for public, _ in rows), rotations)


def rotate(connection: Connection, old: Signer, new: Signer, rotated: str) -> KeyHistory:
    """Let `new` sign from the next leaf on; `rotated` is the UTC time. Sign a checkpoint with it next.

    **Raises:** `OperatorError("wrong-key")`.
    """
    longer = history(connection).rotate(old, new, size(connection), rotated)
    text = canonical(dict(longer.rotations[-1])).decode()
    connection.execute(insert(keys), {"position": len(longer.keys) - 1, "public": new.public, "rotation": text})
    return longer


# Checkpoints


def sign(connection: Connection, origin: str, signer: Signer) -> str:
    """The signed note of the log as it stands: made once for a size and a key, and kept.

    **Raises:** `OperatorError("wrong-key")` unless `signer` is the key in force; `ProviderDishonest` with
    `log-rollback` or `log-fork` where the log no longer extends what was signed last, `log-other` for another origin.
    """
    known = history(connection)
    if signer.public != known.current:
        raise OperatorError("wrong-key", "checkpoints are signed with the key in force")
    last = latest(connection)
    count = size(connection)
    if last is not None:
        before = open_checkpoint(last.encode(), known.keys)
        require_extension(connection, before, origin, count)
        if before.size == count and _signed_by(connection, count, known.current):
            return last
    note = sign_checkpoint(Checkpoint(origin, count, root(connection, count)), signer)
    connection.execute(
        insert(checkpoints), {"size": count, "key_id": expunge_verify.key_id(signer.public), "note": note}
    )
    return note


def latest(connection: Connection) -> str | None:
    """The signed note made last, `None` where there is none."""
    found: str | None = connection.scalar(select(checkpoints.c.note).order_by(desc(checkpoints.c.id)).limit(1))
    return found


@dataclass(frozen=True)
class Extension:
    """That the log of checkpoint `head` extends the log of checkpoint `old`, with the proof."""

    old: Checkpoint
    head: Checkpoint
    proof: tuple[bytes, ...]


def check_against(connection: Connection, note: bytes) -> Extension:
    """Compare the log with a checkpoint that somebody kept.

    **Raises:** `AttackSuspected("bad-checkpoint")`; `ProviderDishonest` with `log-other` for another log's,
    `log-rollback` where the log is shorter than it was, `log-fork` where it has another past.
    """
    last = _demand_latest(connection)
    known = history(connection).keys
    old, head = open_checkpoint(note, known), open_checkpoint(last.encode(), known)
    count = size(connection)
    require_extension(connection, head, head.origin, count)
    require_extension(connection, old, head.origin, count)
    fetch = fetcher(connection)
    proof = merkle.consistency(fetch, old.size, count) if old.size else []
    return Extension(old, Checkpoint(head.origin, count, merkle.root(fetch, count)), tuple(proof))


def prove(connection: Connection, envelope: Mapping[str, Any], since: Iterable[int] = ()) -> Bundle:
    """The bundle of a logged receipt under the latest checkpoint.

    It proves that the log extends its last `RECENT` sizes, sizes at ever rounder distances, and those in `since`.

    **Raises:** `ProgrammerError("no-such-leaf")` where the latest checkpoint does not reach the receipt.
    """
    known = history(connection)
    note = _demand_latest(connection)
    head = open_checkpoint(note.encode(), [known.current])
    place = _places(connection, [entry := entry_of(envelope)]).get(entry, head.size)
    if place >= head.size:
        raise ProgrammerError("no-such-leaf", "the receipt is not under the latest checkpoint: log it, then sign one")
    sizes = sorted(old for old in {*_earlier_sizes(head.size), *since} if 0 < old < head.size)
    inclusion, *rest = _proofs(connection, place, head.size, sizes)
    earlier = tuple(Earlier(old, path[0], path[1:]) for old, path in zip(sizes, rest, strict=True))
    return Bundle(envelope, place, inclusion, note, earlier, known.keys, known.rotations)


def require_extension(connection: Connection, old: Checkpoint, origin: str, count: int) -> None:
    """Refuses unless the log `origin` of `count` leaves extends the checkpoint `old`; **raises** as `check_against`."""
    if old.origin != origin:
        raise ProviderDishonest("log-other", f"the checkpoint is of {old.origin}, the log is {origin}")
    if old.size > count:
        raise ProviderDishonest("log-rollback", f"the log has {count} leaves, a signed checkpoint had {old.size}")
    if root(connection, old.size) != old.root:
        raise ProviderDishonest("log-fork", f"the log and a signed checkpoint differ within {old.size} leaves")


def _proofs(connection: Connection, place: int, count: int, sizes: Sequence[int]) -> list[tuple[bytes, ...]]:
    """The inclusion proof, then for each size its root and consistency proof: all from one reading of the store."""
    parts = [merkle.inclusion_spans(place, count)]
    parts += [[(0, old), *merkle.consistency_spans(old, count)] for old in sizes]
    found = iter(merkle.read(fetcher(connection), [span for part in parts for span in part]))
    return [tuple(next(found) for _ in part) for part in parts]


def _earlier_sizes(count: int) -> set[int]:
    """A few sizes close by, and one for each power of two."""
    return set(range(count - RECENT, count)) | {count >> shift << shift for shift in range(count.bit_length())}


def _demand_latest(connection: Connection) -> str:
    note = latest(connection)
    if note is None:
        raise OperatorError("log-corrupt", "the log has no signed checkpoint")
    return note


def _signed_by(connection: Connection, count: int, public: bytes) -> bool:
    wanted = checkpoints.c.size == count, checkpoints.c.key_id == expunge_verify.key_id(public)
    return connection.scalar(select(checkpoints.c.id).where(*wanted)) is not None


def _places(connection: Connection, entries: Sequence[bytes]) -> dict[bytes, int]:
    wanted = select(leaves.c.entry, leaves.c.position)
    parts = (entries[place : place + _BATCH] for place in range(0, len(entries), _BATCH))
    found = (row for part in parts for row in connection.execute(wanted.where(leaves.c.entry.in_(part))))
    return {bytes(entry): int(position) for entry, position in found}
