"""Topics by plan: the same answers on both buses."""

from dataclasses import replace

import pytest

from shared.bus.plan import Action
from shared.bus.port import Bus, BusUnavailable
from shared.contracts.topics import Topic
from shared.core.errors import Conflict


async def _action(bus: Bus, topic: Topic) -> Action:
    (step,) = await bus.plan_topics([topic])
    return step.action


async def test_a_plan_changes_nothing_until_it_is_applied(bus: Bus, name: str) -> None:
    topic = Topic(name, owner="test", key="test", partitions=3, retention_days=2)
    steps = await bus.plan_topics([topic])
    assert [step.action for step in steps] == [Action.CREATE]
    assert await _action(bus, topic) is Action.CREATE
    await bus.apply_topics(steps)
    assert await _action(bus, topic) is Action.KEEP
    assert len(await bus.offsets(name)) == 3


async def test_records_may_be_kept_longer_never_shorter(bus: Bus, name: str) -> None:
    topic = Topic(name, owner="test", key="test", partitions=1, retention_days=2)
    await bus.apply_topics(await bus.plan_topics([topic]))
    longer = replace(topic, retention_days=5)
    assert await _action(bus, longer) is Action.CHANGE
    await bus.apply_topics(await bus.plan_topics([longer]))
    assert await _action(bus, longer) is Action.KEEP
    assert await _action(bus, topic) is Action.REFUSE


@pytest.mark.parametrize("partitions", [1, 4])
async def test_a_plan_with_a_refusal_does_nothing_at_all(bus: Bus, name: str, partitions: int) -> None:
    topic, another = (Topic(f"{name}{end}", owner="test", key="test", partitions=2) for end in ("", ".other"))
    await bus.apply_topics(await bus.plan_topics([topic]))
    steps = await bus.plan_topics([another, replace(topic, partitions=partitions)])
    with pytest.raises(Conflict, match="nothing was changed") as caught:
        await bus.apply_topics(steps)
    assert f"2 partitions, not {partitions}" in caught.value.faults[0].reason
    assert await _action(bus, another) is Action.CREATE


@pytest.mark.kafka
async def test_topics_are_not_planned_for_brokers_that_are_not_there(kafka_bootstrap: str, name: str) -> None:
    from shared.bus.kafka import KafkaBus

    bus = KafkaBus(f"kafka://{kafka_bootstrap}")
    await bus.start()
    try:
        with pytest.raises(BusUnavailable, match="1 of 3 brokers"):
            await bus.plan_topics([Topic(name, owner="test", key="test")], brokers=3)
    finally:
        await bus.stop()
