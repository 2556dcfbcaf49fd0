"""Topics, partitions, groups and replay over Postgres or Kafka (port.py says what they promise)."""

from shared.bus.port import (
    MESSAGE_LIMIT_BYTES,
    Bus,
    BusUnavailable,
    Consumer,
    Headers,
    Message,
    MessageTooLarge,
    Producer,
    RebalanceListener,
    Record,
    TopicPartition,
)

__all__ = [
    "MESSAGE_LIMIT_BYTES",
    "Bus",
    "BusUnavailable",
    "Consumer",
    "Headers",
    "Message",
    "MessageTooLarge",
    "Producer",
    "RebalanceListener",
    "Record",
    "TopicPartition",
]
