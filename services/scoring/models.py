"""The tables of the `scoring` schema. Migrations create them; a drift test holds both together."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
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
    PrimaryKeyConstraint("workspace", "id"),
    Index("block_row", "workspace", "first_row", unique=True),
    Index("block_waiting", "workspace", "id", postgresql_where=text("first_row is null")),
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
# Sums of one series and measure on one UTC day (days since 1970), and packed those of its hours.
day = Table(
    "day",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("series", Uuid, nullable=False),
    Column("day", Integer, nullable=False),
    Column("measure", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("top", Integer, nullable=False),
    Column("bottom", Integer, nullable=False),
    Column("total", Numeric, nullable=False),
    Column("squares", Numeric, nullable=False),
    Column("hours", LargeBinary, nullable=False),
    PrimaryKeyConstraint("workspace", "series", "day", "measure"),
)
# What was published last of each series and window.
score = Table(
    "score",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("series", Uuid, nullable=False),
    Column("days", SmallInteger, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False),
    Column("publication", BigInteger, nullable=False),
    Column("content", JSONB, nullable=False),
    PrimaryKeyConstraint("workspace", "series", "days"),
)
# How far each workspace is counted and published.
progress = Table(
    "progress",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("next_row", BigInteger, nullable=False, server_default=text("0")),
    Column("published_row", BigInteger, nullable=False, server_default=text("0")),
    Column("hour", Integer, nullable=False),
    Column("passes", BigInteger, nullable=False, server_default=text("0")),
)
