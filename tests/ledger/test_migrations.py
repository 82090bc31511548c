"""Named steps, each committed together with its own record."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, Table, create_engine, inspect, select

from expunge.errors import OperatorError
from expunge.journey.tables import MIGRATIONS as ALL
from expunge.ledger import database, tables
from expunge.ledger.migrations import MIGRATIONS, Migration, behind, expected_schema, migrate, recorded, schema
from expunge.ledger.tables import MetaData

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path):
    database.make(tmp_path / "test.db")
    made = database.engine(tmp_path / "test.db")
    yield made
    made.dispose()


def making(name: str) -> Migration:
    table = Table(name, MetaData(), Column("id", Integer, primary_key=True))
    return Migration(f"make {name}", lambda connection: table.create(connection))


def test_each_is_applied_once_in_order(engine):
    steps = (*MIGRATIONS, making("a"), making("b"))
    assert migrate(engine, steps, NOW) == tuple(step.name for step in steps)
    assert migrate(engine, steps, NOW) == ()
    with engine.connect() as connection:
        assert recorded(connection) == tuple(step.name for step in steps)
        assert not behind(connection, steps)
        assert behind(connection, (*steps, making("c")))


def test_a_step_and_its_record_come_together_or_not_at_all(engine):
    def half(connection) -> None:
        making("a").apply(connection)
        raise ValueError("killed")

    with pytest.raises(ValueError, match="killed"):
        migrate(engine, (*MIGRATIONS, Migration("half", half)), NOW)
    with engine.connect() as connection:
        assert recorded(connection) == tuple(step.name for step in MIGRATIONS)
        assert not inspect(connection).has_table("a")
    migrate(engine, (*MIGRATIONS, making("a")), NOW)
    with engine.connect() as connection:
        assert inspect(connection).has_table("a")


@pytest.mark.parametrize("known", [MIGRATIONS, (*MIGRATIONS, making("b"), making("a")), (making("a"), *MIGRATIONS)])
def test_other_names_or_another_order_are_refused(engine, known):
    migrate(engine, (*MIGRATIONS, making("a")), NOW)
    with pytest.raises(OperatorError) as caught:
        migrate(engine, known, NOW)
    assert caught.value.code == "store-newer"


def test_records_are_sealed_and_dated(engine):
    migrate(engine, MIGRATIONS, NOW)
    with engine.connect() as connection:
        row = connection.execute(select(tables.migrations)).mappings().one()
        assert row["applied_at"] == NOW.isoformat()
        assert list(tables.broken_seals(connection, tables.migrations)) == []


def test_the_schema_is_told_apart_by_any_change(engine):
    migrate(engine, MIGRATIONS, NOW)
    with engine.connect() as connection:
        assert schema(connection) == expected_schema(MIGRATIONS)
        assert schema(connection) != expected_schema((*MIGRATIONS, making("a")))


def test_released_shapes_never_change():
    """A table that changes needs a new migration: stores in the field went through these. Digests: version 0.1."""
    text = json.dumps(expected_schema(ALL), sort_keys=True).encode()
    assert [step.name for step in ALL] == ["0001-ledger", "0002-log", "0003-journey"]
    assert hashlib.sha256(text).hexdigest() == "4adf77081886f16c2e3e39cdd0c52a8886d510731b968257641baa91c89e8058"


def test_every_table_of_ours_is_sealed_or_checked_by_the_log():
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        for step in ALL:
            step.apply(connection)
        names = set(inspect(connection).get_table_names())
    engine.dispose()
    sealed = {table.name for table in tables.metadata.sorted_tables if tables.SEAL in table.c}
    assert {name for name in names - sealed if not name.startswith("log_")} == set()
