# SPDX-License-Identifier: Apache-2.0
"""The office's tables. No plate text in any of them: hits stay sealed in the blob folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    inspect,
)
from sqlalchemy.dialects import postgresql, sqlite

DATABASE_VARIABLE = "DATABASE_URL"
BUSY_TIMEOUT_MS = 10_000

metadata = MetaData()

devices = Table(
    "devices",
    metadata,
    Column("device_id", String(64), primary_key=True),
    Column("cert_pem", Text, nullable=False),
    Column("cert_sha256", String(64), nullable=False),
    Column("enrolled_us", BigInteger, nullable=False),
    Column("revoked_us", BigInteger),
    Column("revoked_reason", Text),
    Column("heartbeat_us", BigInteger),
    Column("heartbeat", Text),
    Column("pull_url", Text),
)
hits = Table(
    "hits",
    metadata,
    Column("hit_id", String(64), primary_key=True),
    Column("device_id", String(64), nullable=False),
    Column("received_us", BigInteger, nullable=False, index=True),
    Column("raised_us", BigInteger, nullable=False),
    Column("blob", String(64), nullable=False),
    Column("stale", Boolean, nullable=False),
    Column("decision", String(16)),
    Column("decided_us", BigInteger),
    Column("decided_by", String(64)),
    Column("characters_ok", Boolean),
    Column("state_ok", Boolean),
    Column("reason", String(32)),
    Column("note", Text),
    Column("deleted_us", BigInteger),
    Column("supersedes", String(64), index=True),  # the early hit that this one takes back
    Column("superseded_by", String(64)),
)
deletion_receipts = Table(
    "deletion_receipts",
    metadata,
    Column("device_id", String(64), primary_key=True),
    Column("receipt_id", String(64), primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)
device_epochs = Table(  # hours of which a device ever listed a segment, or of which it gave the share
    "device_epochs",
    metadata,
    Column("device_id", String(64), primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("first_us", BigInteger, nullable=False),
)
retention_policies = Table(
    "retention_policies",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # grows by one; 0: of init
    Column("seconds", BigInteger, nullable=False),
    Column("version", String(64), nullable=False),
    Column("issued_us", BigInteger, nullable=False),
    Column("decided_by", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("signed", LargeBinary, nullable=False),
)
pull_requests = Table(
    "pull_requests",
    metadata,
    Column("device_id", String(64), primary_key=True),
    Column("segment_id", String(128), primary_key=True),
    Column("requested_us", BigInteger, nullable=False),
)
users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("password", Text, nullable=False),
    Column("one_time", Boolean, nullable=False),
    Column("trained_on", String(10), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False, default=0),
    Column("locked_until_us", BigInteger, nullable=False, default=0),
    Column("session_epoch", Integer, nullable=False, default=0),
)
tickets = Table(
    "tickets",
    metadata,
    Column("device_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),  # from 1 for each device
    Column("alarm", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("well_us", BigInteger),
    Column("returns", Integer, nullable=False),
    Column("closed_us", BigInteger),
    Column("closed_by", String(64)),
    Column("note", Text),
)
list_versions = Table(
    "list_versions",
    metadata,
    Column("list_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("published_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
)


def open_database(default: Path) -> Engine:
    """The database named by DATABASE_URL, else SQLite at `default`; missing tables are made."""
    url = os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{default}"
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable_sqlite)
    metadata.create_all(engine)
    _add_missing_columns(engine)
    if engine.dialect.name == "sqlite":
        # What a killed process wrote and did not sync is seen: it is synced before anybody is told that it is here.
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
    return engine


def _add_missing_columns(engine: Engine) -> None:
    """Bring tables of an older version up to date; later versions only ever add columns that may be empty."""
    present = inspect(engine)
    for table in metadata.sorted_tables:
        held = {column["name"] for column in present.get_columns(table.name)}
        for column in table.columns:
            if column.name not in held and column.nullable:
                kind = column.type.compile(engine.dialect)
                change = f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}"
                with engine.begin() as connection:
                    connection.exec_driver_sql(change)


def insert_once(engine: Engine, table: Table, row: dict[str, object]) -> bool:
    """Insert unless the primary key is there; True when this call made the row. Safe under concurrency."""
    return insert_missing(engine, table, [row]) == 1


def insert_missing(engine: Engine, table: Table, rows: Sequence[dict[str, object]]) -> int:
    """Insert the rows whose primary key is not there, all in one transaction; how many this call made."""
    if not rows:
        return 0
    keys = [column.name for column in table.primary_key.columns]
    statement: Any
    if engine.dialect.name == "sqlite":
        statement = sqlite.insert(table).values(rows).on_conflict_do_nothing(index_elements=keys)
    elif engine.dialect.name == "postgresql":
        statement = postgresql.insert(table).values(rows).on_conflict_do_nothing(index_elements=keys)
    else:
        statement = insert(table).values(rows)
    with engine.begin() as connection:
        return int(connection.execute(statement).rowcount)


def _durable_sqlite(connection: Any, _record: object) -> None:
    # FULL: an acknowledged hit must be on the disk, because the device then forgets it
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
