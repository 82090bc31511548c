"""Changes of the database's shape: named, in order, each in one transaction that also records it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

from sqlalchemy import Connection, Engine, Table, create_engine, inspect, select

from expunge.errors import OperatorError
from expunge.ledger import tables


@dataclass(frozen=True)
class Migration:
    """One step from an older shape to a newer one.

    **Arguments:**

    - `name`: recorded in the store for ever: never rename, reorder or edit one that was released.
    - `apply`: makes the change; runs inside the transaction that records it.
    """

    name: str
    apply: Callable[[Connection], None]


def creating(*new: Table) -> Callable[[Connection], None]:
    """A change that makes tables with their indexes."""
    return lambda connection: new[0].metadata.create_all(connection, tables=new, checkfirst=False)


MIGRATIONS: Final = (Migration("0001-ledger", creating(*tables.TABLES)),)
"""The ledger's own; rooms above append theirs."""


def recorded(connection: Connection) -> tuple[str, ...]:
    """Names of the migrations that the database has been through, in their order."""
    if not inspect(connection).has_table(tables.migrations.name):
        return ()
    return tuple(connection.scalars(select(tables.migrations.c.name).order_by(tables.migrations.c.position)))


def migrate(engine: Engine, known: Sequence[Migration], now: datetime) -> tuple[str, ...]:
    """Bring the database to the newest shape; returns the names of what was applied.

    `engine` begins every transaction as the only writer.

    **Raises:** `OperatorError("store-newer")` where the database has been through migrations that are not `known`.
    """
    applied = []
    while (name := _next(engine, known, now)) is not None:
        applied.append(name)
    return tuple(applied)


def behind(connection: Connection, known: Sequence[Migration]) -> bool:
    """Whether a migration is due.

    **Raises:** `OperatorError("store-newer")`.
    """
    return len(_checked(connection, known)) < len(known)


def _next(engine: Engine, known: Sequence[Migration], now: datetime) -> str | None:
    with engine.begin() as connection:
        done = len(_checked(connection, known))
        if done == len(known):
            return None
        known[done].apply(connection)
        row = {"position": done, "name": known[done].name, "applied_at": now.isoformat()}
        tables.add(connection, tables.migrations, **row)
    return known[done].name


def _checked(connection: Connection, known: Sequence[Migration]) -> tuple[str, ...]:
    names = recorded(connection)
    if names != tuple(step.name for step in known[: len(names)]):
        raise OperatorError("store-newer", "the store has been through migrations that this version does not know")
    return names


def schema(connection: Connection) -> dict[str, str]:
    """Every table and index of the SQLite database by name, with its definition, spaces evened out."""
    found = connection.exec_driver_sql("select name, sql from sqlite_master where sql is not null")
    return {str(name): re.sub(r"\s+", " ", str(sql)) for name, sql in found}


@cache
def expected_schema(known: tuple[Migration, ...]) -> dict[str, str]:
    """What `schema` gives for a new database that went through `known`."""
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            for step in known:
                step.apply(connection)
            return schema(connection)
    finally:
        engine.dispose()
