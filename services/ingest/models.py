"""Tables of the `ingest` schema."""

from sqlalchemy import JSON, Boolean, Column, DateTime, Index, LargeBinary, MetaData, Table, Text, text

from shared.db import runtime_tables

metadata = MetaData()
runtime_tables.declare(metadata)
_NOW = text("clock_timestamp()")

source = Table(
    "source",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("connector", Text, nullable=False),
    Column("key", Text, nullable=False, comment="last part of its address; 256 random bits"),
    Column("settings", JSON, nullable=False),
    Column("secrets", LargeBinary, nullable=False, comment="JSON list, newest first, encrypted with SECRETS_KEY"),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Index("source_key", "key"),
)
