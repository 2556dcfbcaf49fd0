"""Tables of the `ingest` schema."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

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
    Column("token", LargeBinary, comment="of the API of the vendor, encrypted with SECRETS_KEY"),
    Column(
        "fetch_after",
        DateTime(timezone=True),
        nullable=False,
        server_default=text("'epoch'"),
        comment="before this nothing of it is fetched: its pace, or a refusal",
    ),
    Index("source_key", "key"),
)

wanted = Table(
    "wanted",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("detail", JSON, nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("first_due_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column(
        "version",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="how often it was wanted again while it was here",
    ),
    Column(
        "claims",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="number of the lease: who has another has lost it",
    ),
    Column("leased_until", DateTime(timezone=True)),
    ForeignKeyConstraint(["workspace", "source"], ["source.workspace", "source.name"], ondelete="CASCADE"),
    Index("wanted_due", "workspace", "source", "due_at"),
)
