"""The tables that every consumer has, in each service's own schema.

Position, processed ids, outbox, timers, dead letters, leases. Migrations create them by `create`, models declare them
by `declare`; a drift test holds both together.
"""

from collections.abc import Callable

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)

from shared.db.database import API_ROLE
from shared.db.workspaces import protect

_NOW = text("clock_timestamp()")


def declare(metadata: MetaData) -> None:
    """Add the tables to a service's metadata."""
    Table(
        "consumer_position",
        metadata,
        Column("group_name", Text, nullable=False),
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("epoch", BigInteger, nullable=False),
        Column("owner", Text, nullable=False),
        Column("next_offset", BigInteger, nullable=False),
        Column("moved_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
        PrimaryKeyConstraint("group_name", "topic", "partition"),
    )
    Table(
        "processed_event",
        metadata,
        Column("group_name", Text, nullable=False),
        Column("event_id", Uuid, nullable=False),
        Column("processed_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
        PrimaryKeyConstraint("group_name", "event_id"),
        Index("processed_event_age", "processed_at", postgresql_using="brin"),
    )
    Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("topic", Text, nullable=False),
        Column("key", LargeBinary, nullable=False),
        Column("value", LargeBinary, nullable=False),
        Column("headers", JSON, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    )
    Table(
        "timer",
        metadata,
        Column("kind", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("workspace", Text, nullable=False),
        Column("due_at", DateTime(timezone=True), nullable=False),
        Column("payload", JSON, nullable=False),
        PrimaryKeyConstraint("workspace", "kind", "key"),
        Index("timer_due", "kind", "due_at"),
    )
    Table(
        "dead_letter",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("origin", Text, nullable=False, comment="`group/topic`, or `sources/<connector>` for a vendor's body"),
        Column("workspace", Text),
        Column("partition", Integer),
        Column("record_offset", BigInteger),
        Column("key", LargeBinary),
        Column("value", LargeBinary, nullable=False),
        Column("headers", JSON, nullable=False),
        Column("error_class", Text, nullable=False),
        Column("error", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("state", Text, nullable=False, server_default=text("'parked'")),
        Column("parked_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
        Index("dead_letter_state", "state", "parked_at"),
    )
    Table(
        "lease",
        metadata,
        Column("name", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("epoch", BigInteger, nullable=False),
        Column("expires_at", DateTime(timezone=True), nullable=False),
    )


def create(execute: Callable[[str], object]) -> None:
    """The first version of the tables, for a service's first migration: `runtime_tables.create(op.execute)`."""
    for statement in _CREATE:
        execute(statement)
    protect(execute, "timer")
    protect(execute, "dead_letter", grants="select, update")


_CREATE = (
    """create table consumer_position (
        group_name text not null, topic text not null, partition integer not null,
        epoch bigint not null, owner text not null, next_offset bigint not null,
        moved_at timestamptz not null default clock_timestamp(),
        primary key (group_name, topic, partition)
    ) with (fillfactor = 50)""",
    """create table processed_event (
        group_name text not null, event_id uuid not null,
        processed_at timestamptz not null default clock_timestamp(),
        primary key (group_name, event_id)
    )""",
    "create index processed_event_age on processed_event using brin (processed_at)",
    """create table outbox (
        id bigint generated always as identity primary key,
        topic text not null, key bytea not null, value bytea not null, headers json not null,
        created_at timestamptz not null default clock_timestamp()
    )""",
    """create table timer (
        kind text not null, key text not null, workspace text not null,
        due_at timestamptz not null, payload json not null,
        primary key (workspace, kind, key)
    )""",
    "create index timer_due on timer (kind, due_at)",
    """create table dead_letter (
        id uuid primary key, origin text not null, workspace text, partition integer, record_offset bigint,
        key bytea, value bytea not null, headers json not null,
        error_class text not null, error text not null, attempts integer not null,
        state text not null default 'parked', parked_at timestamptz not null default clock_timestamp()
    )""",
    "comment on column dead_letter.origin is '`group/topic`, or `sources/<connector>` for a vendor''s body'",
    "create index dead_letter_state on dead_letter (state, parked_at)",
    """create table lease (
        name text primary key, owner text not null, epoch bigint not null, expires_at timestamptz not null
    )""",
    f"grant insert on outbox to {API_ROLE}",
)
