"""The tables of the `scoring` schema. Migrations create them; a drift test holds both together."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.scoring.domain.answers import DIMENSIONS
from shared.db import runtime_tables

metadata = MetaData()
runtime_tables.declare(metadata)


def _dimensions() -> list[Column[str]]:
    return [Column(name, Text) for name in DIMENSIONS]


# The state of every feedback, so that a later version can take an earlier one back. Holds no text and no identity.
answer = Table(
    "answer",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("feedback_id", Uuid, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("removed", Boolean, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("survey_type", Text, nullable=False),
    Column("survey", Text),
    Column("customer_id", Uuid),
    *_dimensions(),
    Column("points", JSONB, nullable=False),
    PrimaryKeyConstraint("workspace", "feedback_id"),
)
series = Table(
    "series",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("name", Text(collation="C"), nullable=False),
    Column("metric", Text, nullable=False),
    Column("survey_type", Text, nullable=False),
    *_dimensions(),
    PrimaryKeyConstraint("workspace", "id"),
    Index("series_name", "workspace", "name", unique=True),
)
# Sums of one series and measure in one hour (grain h, slot: hours since 1970) or one UTC day (grain d).
bucket = Table(
    "bucket",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("series", Uuid, nullable=False),
    Column("grain", Text, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("measure", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("top", Integer, nullable=False),
    Column("bottom", Integer, nullable=False),
    Column("total", Numeric, nullable=False),
    Column("squares", Numeric, nullable=False),
    PrimaryKeyConstraint("workspace", "series", "grain", "slot", "measure"),
)
# What was last published of each series and window, and whether it has to be published again (due_at).
score = Table(
    "score",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("series", Uuid, nullable=False),
    Column("days", SmallInteger, nullable=False),
    Column("due_at", DateTime(timezone=True)),
    Column("cause", Text, nullable=False),
    Column("causation_id", Uuid),
    Column("correlation_id", Uuid, nullable=False),
    Column("traceparent", Text),
    Column("published_at", DateTime(timezone=True)),
    Column("publication", BigInteger, nullable=False, server_default=text("0")),
    Column("content", JSONB),
    PrimaryKeyConstraint("workspace", "series", "days"),
    Index("score_due", "due_at", postgresql_where=text("due_at is not null")),
)
# The hour up to which answers that left their windows have been accounted for.
clock = Table(
    "clock",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("hour", Integer, nullable=False),
)
