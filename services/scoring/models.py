"""The tables of the `scoring` schema. Migrations create them; a drift test holds both together."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
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


def _sums() -> list[Column[Any]]:
    return [
        *(Column(name, Integer, nullable=False) for name in ("n", "top", "bottom")),
        *(Column(name, Numeric, nullable=False) for name in ("total", "squares")),
    ]


# Kept answers, many a row (domain/answers.py): counted in the order of `first_row`, not counted yet while it is null.
block = Table(
    "block",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("first_row", BigInteger),
    Column("n", Integer, nullable=False),
    Column("head", Text, nullable=False),
    Column("ids", LargeBinary, nullable=False),
    Column("rows", LargeBinary, nullable=False),
    Column("dead", ARRAY(Integer), nullable=False, server_default=text("'{}'")),
    Column("replaced", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("latest", BigInteger, nullable=False, server_default=text("9223372036854775807")),
    PrimaryKeyConstraint("workspace", "id"),
    Index("block_row", "workspace", "first_row", unique=True),
    Index("block_waiting", "workspace", "id", postgresql_where=text("first_row is null")),
)
# What is listed; sums and series of a generation are those of one version of the workspace's rules.
series = Table(
    "series",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("name", Text(collation="C"), nullable=False),
    Column("metric", Text, nullable=False),
    Column("survey_type", Text, nullable=False),
    *_dimensions(),
    PrimaryKeyConstraint("workspace", "generation", "id"),
    Index("series_name", "workspace", "generation", "name", unique=True),
)
# Sums of one series and measure on one UTC day (days since 1970), and packed those of its hours.
day = Table(
    "day",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("series", Uuid, nullable=False),
    Column("day", Integer, nullable=False),
    Column("measure", Text, nullable=False),
    *_sums(),
    Column("hours", LargeBinary, nullable=False),
    PrimaryKeyConstraint("workspace", "generation", "series", "day", "measure"),
)
# What was published last of each series and window.
score = Table(
    "score",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("series", Uuid, nullable=False),
    Column("span", Text, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False),
    Column("publication", BigInteger, nullable=False),
    Column("content", JSONB, nullable=False),
    PrimaryKeyConstraint("workspace", "series", "span"),
)
# How far each workspace is counted and published.
progress = Table(
    "progress",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("next_row", BigInteger, nullable=False, server_default=text("0")),
    Column("published_row", BigInteger, nullable=False, server_default=text("0")),
    Column("hour", Integer, nullable=False),
    Column("turns_at", DateTime(timezone=True), nullable=False),
    Column("passes", BigInteger, nullable=False, server_default=text("0")),
    Column("generation", Integer, nullable=False, server_default=text("0")),
    Column("rules_version", BigInteger, nullable=False),
    Column("rules", JSONB, nullable=False),
    Column("draft_version", BigInteger),
    Column("draft_rules", JSONB),
    Column("draft_row", BigInteger),
    Column("draft_until", BigInteger),
    Column("looked", Integer, nullable=False, server_default=text("0")),
)
alert = Table(
    "alert",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("series", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("raised_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("evidence", JSONB, nullable=False),
    Column("held_against", JSONB),
    PrimaryKeyConstraint("workspace", "id"),
    Index("alert_once", "workspace", "name", "kind", unique=True, postgresql_where=text("ended_at is null")),
    Index("alert_raised", "workspace", "raised_at"),
)
target = Table(
    "target",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("series", Uuid, nullable=False),
    Column("span", Text, nullable=False),
    Column("due", Date, nullable=False),
    Column("value", Double),
    Column("metric", Text, nullable=False),
    Column("survey_type", Text, nullable=False),
    Column("dimensions", JSONB, nullable=False),
    Column("set_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("fresh", Boolean, nullable=False, server_default=text("true")),
    Column("met", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("workspace", "series", "span", "due"),
    Index("target_fresh", "workspace", postgresql_where=text("fresh")),
)
# The rules that a workspace wants; those that count stand in its progress.
rules = Table(
    "rules",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
)
# What became of each assignment of routing; cause and action only where a person named them.
care = Table(
    "care",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("customer_id", Uuid),
    Column("department", Text),
    Column("detractor", Boolean, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True)),
    Column("answered_at", DateTime(timezone=True)),
    Column("answered_seconds", Double),
    Column("resolved_at", DateTime(timezone=True)),
    Column("cause", Text),
    Column("action", Text),
    PrimaryKeyConstraint("workspace", "id"),
    Index("care_opened", "workspace", "opened_at"),
    Index("care_answered", "workspace", "answered_at", postgresql_where=text("answered_at is not null")),
    Index("care_resolved", "workspace", "resolved_at", postgresql_where=text("resolved_at is not null")),
)
# What stands in the way, in a manager's words; department '' is all of them.
obstacles = Table(
    "obstacles",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("department", Text, nullable=False),
    Column("quarter", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("workspace", "department", "quarter"),
)
# Answers of persons, where the rules count one per person and survey in a window (domain/repeats.py).
given = Table(
    "given",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("person", Uuid, nullable=False),
    Column("survey", Text, nullable=False),
    Column("metric", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("feedback", Uuid, nullable=False),
    Column("hour", Integer, nullable=False),
    Column("measure", Text, nullable=False),
    *_sums(),
    Column("series", Text, nullable=False),
    PrimaryKeyConstraint("workspace", "generation", "person", "survey", "metric", "at", "feedback"),
)
# Sums of answers that a later one stands in for, by the hours of both.
repeat = Table(
    "repeat",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("series", Uuid, nullable=False),
    Column("measure", Text, nullable=False),
    Column("later", Integer, nullable=False),
    Column("earlier", Integer, nullable=False),
    *_sums(),
    PrimaryKeyConstraint("workspace", "generation", "series", "measure", "later", "earlier"),
    Index("repeat_later", "workspace", "generation", "later"),
)
