"""The ledger's tables. Two hold the record; the rest are projections that can be dropped and rebuilt from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
)

SCHEMA = 1
"""Raised whenever an older program could misread a ledger."""

metadata = MetaData()

meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False))

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("hash", String(64), nullable=False),
    Column("ledger", String, nullable=False),
    Column("origin_seq", Integer, nullable=False),
    Column("kind", String, nullable=False, index=True),
    Column("payload", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    UniqueConstraint("ledger", "origin_seq"),
)

edges = Table(
    "edges",
    metadata,
    Column("event", String(64), primary_key=True),
    Column("role", String, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("digest", String(64), nullable=False, index=True),
    Column("name", String, nullable=False, index=True),
)
"""One row for each reference of each event; ``role`` is ``input``, ``output``, or ``object``: bytes a body names."""

artifacts = Table(
    "artifacts",
    metadata,
    Column("kind", String, primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("recorded_at_ns", BigInteger, nullable=False),
    Column("event", String(64), nullable=False),
    Index("artifacts_in_time", "kind", "recorded_at_ns", "event"),
)
"""Everything some event gave as output, with the earliest such event."""

projections = (edges, artifacts)

_GUARDS = (
    "CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events "
    "BEGIN SELECT RAISE(ABORT, 'events are never changed'); END",
    "CREATE TRIGGER IF NOT EXISTS events_remain BEFORE DELETE ON events "
    "BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END",
)


def connect(path: Path, *, busy_s: float = 60.0) -> Engine:
    """An engine on a SQLite file: WAL, every commit synced, writers queue for up to ``busy_s``.

    A connection with the execution option ``lock`` begins with that lock (``IMMEDIATE``, ``EXCLUSIVE``), so that two
    appenders queue at the start and never meet in the middle.
    """
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": busy_s, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('lock', 'DEFERRED')}")

    return engine


def create(engine: Engine, *, ledger: str) -> None:
    """Make the tables of a new ledger."""
    with engine.execution_options(lock="IMMEDIATE").begin() as connection:
        metadata.create_all(connection)
        for guard in _GUARDS:
            connection.exec_driver_sql(guard)
        connection.execute(meta.insert(), [{"key": "schema", "value": str(SCHEMA)}, {"key": "ledger", "value": ledger}])
