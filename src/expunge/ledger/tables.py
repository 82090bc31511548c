"""The store's tables, and the seal that every row carries: a digest over its other columns, checked by `fsck`."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    and_,
    func,
    insert,
    select,
    update,
)

metadata: Final = MetaData()
"""All tables of the database; rooms above add theirs."""

SEAL: Final = "seal"


def seal_column() -> Column[str]:
    """The column that makes a table a sealed one; write such tables with `add` and `change` only."""
    return Column(SEAL, String(64), nullable=False)


settings: Final = Table(
    "settings", metadata, Column("name", String, primary_key=True), Column("value", String), seal_column()
)

migrations: Final = Table(
    "migrations",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False, unique=True),
    Column("applied_at", String, nullable=False),
    seal_column(),
)

objects: Final = Table(
    "objects",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("state", String, CheckConstraint("state in ('stored', 'erasing', 'erased')"), nullable=False, index=True),
    Column("stored_at", String, nullable=False),
    Column("erased_at", String),
    Column("reason", String),
    seal_column(),
)

pointers: Final = Table(
    "pointers",
    metadata,
    Column("holder", String, primary_key=True),
    Column("role", String, primary_key=True),
    Column("digest", ForeignKey("objects.digest"), nullable=False, index=True),
    seal_column(),
)

exports: Final = Table(
    "exports",
    metadata,
    Column("path", String, primary_key=True),
    Column("digest", ForeignKey("objects.digest"), nullable=False, index=True),
    Column("state", String, CheckConstraint("state in ('pending', 'written', 'removing')"), nullable=False, index=True),
    seal_column(),
)

# Salts stand in the order of their arrival and have no index on the secret: SQLite then never moves one between pages,
# so that zeroing the deleted bytes leaves no stale copy.
salts: Final = Table(
    "salts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False, unique=True),
    Column("salt", LargeBinary),
    Column("digest", String(64), nullable=False),
    Column("kept_at", String, nullable=False),
    Column("destroyed_at", String),
    Column("reason", String),
    seal_column(),
)

leases: Final = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("owner", String),
    Column("token", Integer, nullable=False),
    Column("expires_at", String, nullable=False),
    seal_column(),
)

TABLES: Final = (settings, migrations, objects, pointers, exports, salts, leases)
"""Tables of the ledger's first migration."""


def sealed(table: Table, row: Mapping[str, Any]) -> str:
    """SHA-256, hex, over the table's name and all columns of a row but the seal."""
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items() if name != SEAL}
    body = json.dumps([table.name, plain], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(body.encode()).hexdigest()


def add(connection: Connection, table: Table, **values: Any) -> None:
    """Insert one row with its seal; columns that are not named are null."""
    add_all(connection, table, [values])


def add_all(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows with their seals."""
    empty = {column.name: None for column in table.columns if column.name != SEAL}
    whole = [empty | dict(row) for row in rows]
    if whole:
        connection.execute(insert(table), [row | {SEAL: sealed(table, row)} for row in whole])


def change(connection: Connection, table: Table, key: Mapping[str, Any], **values: Any) -> None:
    """Update the one row that `key` (its primary key) names, and its seal.

    **Raises:** `LookupError` where there is none.
    """
    row = find(connection, table, key)
    if row is None:
        raise LookupError(f"no row of {table.name}")
    new = dict(row) | values
    connection.execute(update(table).where(_is(table, key)).values(**values, **{SEAL: sealed(table, new)}))


def put(connection: Connection, table: Table, key: Mapping[str, Any], **values: Any) -> None:
    """Put a whole row in the place of the one that `key` (its primary key) names, or add it."""
    whole = {column.name: None for column in table.columns} | dict(key) | values
    row = whole | {SEAL: sealed(table, whole)}
    if connection.execute(update(table).where(_is(table, key)).values(**row)).rowcount == 0:
        connection.execute(insert(table), row)


def find(connection: Connection, table: Table, key: Mapping[str, Any]) -> RowMapping | None:
    """The one row with these values, or None."""
    return connection.execute(select(table).where(_is(table, key))).mappings().one_or_none()


def next_id(connection: Connection, table: Table) -> int:
    """One more than the greatest `id`; safe because a store has one writer at a time."""
    greatest: int | None = connection.scalar(select(func.max(table.c.id)))
    return (greatest or 0) + 1


def broken_seals(connection: Connection, table: Table) -> Iterator[str]:
    """Primary keys, as text, of rows whose seal does not match their content."""
    for row in connection.execute(select(table)).mappings():
        if sealed(table, dict(row)) != row[SEAL]:
            yield "/".join(str(row[column.name]) for column in table.primary_key)


def _is(table: Table, key: Mapping[str, Any]) -> ColumnElement[bool]:
    return and_(*(table.c[name] == value for name, value in key.items()))
