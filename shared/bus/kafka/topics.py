"""Topics on Kafka: how ours are to be, how they are, and what brings the one to the other."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, UnknownTopicOrPartitionError, for_code

from shared.bus.kafka.consumer import answered
from shared.bus.plan import Shape
from shared.bus.port import BusUnavailable
from shared.contracts.topics import Topic

_REPLICAS = 3
_DAY_MILLISECONDS = 24 * 60 * 60 * 1000
_SECONDS = 10.0  # a person waits, not a request
_SET_ON_TOPIC = 1  # config_source: not the broker's default


def shape_of(topic: Topic, brokers: int) -> Shape:
    """A confirmed record is on two brokers where there are three; its time is the broker's, not the sender's."""
    replicas = min(_REPLICAS, brokers)
    return Shape(
        topic.name,
        topic.partitions,
        replicas,
        {
            "retention.ms": str(topic.retention_days * _DAY_MILLISECONDS),
            "min.insync.replicas": "2" if replicas == _REPLICAS else "1",
            "unclean.leader.election.enable": "false",
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(1024 * 1024),
        },
    )


def new_topic(shape: Shape) -> NewTopic:
    """aiokafka's order for it."""
    return NewTopic(shape.name, shape.partitions, shape.replicas, topic_configs=dict(shape.settings))


async def broker_count(admin: Any) -> int:
    """Brokers that the cluster knows now."""
    return len((await answered(admin.describe_cluster(), _SECONDS))["brokers"])


async def shapes(admin: Any, names: Sequence[str]) -> dict[str, Shape]:
    """Topics as they are; those that do not exist are left out. Raises BusUnavailable."""
    described = [
        topic
        for topic in await answered(admin.describe_topics(list(names)), _SECONDS)
        if for_code(topic["error_code"]) is not UnknownTopicOrPartitionError
    ]
    settings = await _settings(admin, [topic["topic"] for topic in described])
    return {
        topic["topic"]: Shape(
            topic["topic"],
            len(topic["partitions"]),
            min((len(partition["replicas"]) for partition in topic["partitions"]), default=0),
            {name: value for name, (value, _) in settings[topic["topic"]].items()},
        )
        for topic in described
    }


async def change(admin: Any, wanted: Shape) -> None:
    """Set what differs. The request replaces all that is set on a topic, so what others have set there is sent along.
    Raises BusUnavailable with Kafka's reason."""
    there = (await _settings(admin, [wanted.name]))[wanted.name]
    kept = {name: value for name, (value, source) in there.items() if source == _SET_ON_TOPIC}
    resource = ConfigResource(ConfigResourceType.TOPIC, wanted.name, configs=kept | dict(wanted.settings))
    for response in await answered(admin.alter_configs([resource]), _SECONDS):
        for code, message, *_ in response.resources:
            if for_code(code) is not NoError:
                raise BusUnavailable(f"Kafka did not change {wanted.name}: {message or for_code(code).__name__}")


async def _settings(admin: Any, names: Sequence[str]) -> dict[str, Mapping[str, tuple[str, int]]]:
    """Topic → setting → (value, where it comes from)."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found: dict[str, Mapping[str, tuple[str, int]]] = {}
    for response in await answered(admin.describe_configs(resources), _SECONDS):
        for code, message, _, name, entries in response.resources:
            if for_code(code) is not NoError:
                raise BusUnavailable(f"Kafka does not describe {name}: {message or for_code(code).__name__}")
            found[name] = {entry[0]: (entry[1], entry[3]) for entry in entries}
    return found
