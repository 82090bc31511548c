"""The journey's tables: requests without a name in them, subjects that can be erased, and a history that cannot."""

from typing import Final

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, LargeBinary, String, Table, UniqueConstraint

from expunge.journey.transitions import State
from expunge.ledger import log
from expunge.ledger.migrations import MIGRATIONS as LEDGER_MIGRATIONS
from expunge.ledger.migrations import Migration, creating
from expunge.ledger.tables import metadata, seal_column

_STATES: Final = ", ".join(f"'{state}'" for state in State)

requests: Final = Table(
    "requests",
    metadata,
    Column("id", String, primary_key=True),
    Column("key", String, nullable=False),
    Column("channel", Integer, nullable=False),
    Column("state", String, CheckConstraint(f"state in ({_STATES})"), nullable=False, index=True),
    Column("failed_in", String),
    Column("batch", String, nullable=False, index=True),
    Column("run", String, index=True),
    Column("regime", String, nullable=False),
    Column("rule_version", Integer, nullable=False),
    Column("received_at", String, nullable=False),
    Column("verified_at", String),
    Column("method", String),
    seal_column(),
    CheckConstraint("(failed_in is null) = (state != 'failed')"),
    UniqueConstraint("key", "channel"),
)

# In the order of arrival and without an index on the content, so that SQLite moves no copy of it between pages.
subjects: Final = Table(
    "subjects",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("request", ForeignKey("requests.id"), nullable=False, unique=True),
    Column("content", LargeBinary, nullable=False),
    seal_column(),
)

events: Final = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("request", ForeignKey("requests.id"), nullable=False, index=True),
    Column("at", String, nullable=False),
    Column("move", String, nullable=False),
    Column("source", String),
    Column("target", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("by", String),
    Column("reason", String),
    Column("detail", String, nullable=False),
    Column("chain", String(64), nullable=False),
    seal_column(),
)

models: Final = Table(
    "models",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("kind", String, nullable=False),
    Column("known_at", String, nullable=False),
    Column("retired_at", String),
    Column("replaced_by", String(64)),
    Column("note", String),
    seal_column(),
)

derivations: Final = Table(
    "derivations",
    metadata,
    Column("child", ForeignKey("models.digest"), primary_key=True),
    Column("parent", ForeignKey("models.digest"), primary_key=True, index=True),
    seal_column(),
)

affected: Final = Table(
    "affected",
    metadata,
    Column("request", ForeignKey("requests.id"), primary_key=True),
    Column("model", ForeignKey("models.digest"), primary_key=True),
    seal_column(),
)

exemptions: Final = Table(
    "exemptions",
    metadata,
    Column("request", ForeignKey("requests.id"), primary_key=True),
    Column("model", ForeignKey("models.digest"), primary_key=True),
    seal_column(),
)

TABLES: Final = (requests, subjects, events, models, derivations, affected, exemptions)

MIGRATIONS: Final = (
    *LEDGER_MIGRATIONS,
    Migration("0002-log", creating(*log.TABLES)),
    Migration("0003-journey", creating(*TABLES)),
)
"""Every migration of a workspace's store, in order."""
