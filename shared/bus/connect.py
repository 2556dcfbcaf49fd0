"""The bus that `BUS_URL` names, and the topics as it has them."""

from dataclasses import replace

from shared.bus.port import Bus
from shared.bus.security import PLAIN, Security
from shared.contracts.topics import SINGLE_NODE_PARTITIONS, TOPICS, Topic
from shared.core.settings import SettingsError

POSTGRES = "postgres"


def connect(bus_url: str, database_url: str, security: Security = PLAIN) -> Bus:
    """`postgres`: the log inside the database; `kafka://…`: Apache Kafka. Raises SettingsError for anything else."""
    if bus_url == POSTGRES:
        from shared.bus.postgres import PostgresBus

        return PostgresBus(database_url)
    if bus_url.startswith("kafka://"):
        from shared.bus.kafka import KafkaBus

        return KafkaBus(bus_url, security)
    raise SettingsError(
        f"BUS_URL: {bus_url.split(':', maxsplit=1)[0]!r} is not a bus; use `postgres` or kafka://host:port[,host:port]"
    )


def topics_of(bus_url: str) -> tuple[Topic, ...]:
    """Every topic, with the number of partitions that it has on this bus."""
    if bus_url != POSTGRES:
        return TOPICS
    return tuple(replace(topic, partitions=SINGLE_NODE_PARTITIONS) for topic in TOPICS)
