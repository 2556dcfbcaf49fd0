"""The bus that `BUS_URL` names."""

from shared.bus.port import Bus
from shared.core.settings import SettingsError


def connect(bus_url: str, database_url: str) -> Bus:
    """`postgres`: the log inside the database; `kafka://…`: Apache Kafka. Raises SettingsError for anything else."""
    if bus_url == "postgres":
        from shared.bus.postgres import PostgresBus

        return PostgresBus(database_url)
    if bus_url.startswith("kafka://"):
        from shared.bus.kafka import KafkaBus

        return KafkaBus(bus_url)
    raise SettingsError(
        f"BUS_URL: {bus_url.split(':', maxsplit=1)[0]!r} is not a bus; use `postgres` or kafka://host:port[,host:port]"
    )
