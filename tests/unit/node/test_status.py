"""The node's numbers come from the metrics registry, whole and without what belongs to one workspace."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.node.page.status import Consumer, StatusReport
from shared.auth.keys import Principal, Role

SOMEBODY = Principal("lale", "k" * 12, "desk", frozenset({Role.OPERATOR, Role.AGENT}))


def test_a_process_that_has_done_nothing_reports_zeros() -> None:
    status = StatusReport(CollectorRegistry()).now(SOMEBODY)
    assert (status.accepted, status.outbox, status.dead_letters, status.streams) == (0, 0, 0, 0)
    assert status.consumers == []
    assert (status.workspace, status.key_name, status.roles) == ("lale", "desk", ["agent", "operator"])


def test_partitions_add_up_by_group_and_topic() -> None:
    registry = CollectorRegistry()
    consumed = Counter("closeloop_consumed_events", "d", ["group", "topic"], registry=registry)
    lag = Gauge("closeloop_consumer_lag_events", "d", ["group", "topic", "partition"], registry=registry)
    consumed.labels("scoring", "feedback.received.v1").inc(7)
    for partition, behind in enumerate((3, 0, 2)):
        lag.labels("scoring", "feedback.received.v1", str(partition)).set(behind)
    lag.labels("routing", "feedback.received.v1", "0").set(1)
    consumers = StatusReport(registry).now(SOMEBODY).consumers
    topic = "feedback.received.v1"
    assert consumers == [
        Consumer(group="routing", topic=topic, processed=0, repeated=0, lag=1, stopped_partitions=0),
        Consumer(group="scoring", topic=topic, processed=7, repeated=0, lag=5, stopped_partitions=0),
    ]


def test_the_sources_of_other_workspaces_have_no_name_here() -> None:
    registry = CollectorRegistry()
    parked = Counter("closeloop_dead_letters_events", "d", ["origin"], registry=registry)
    for origin in ("sources/their-shop", "sources/our-form", "scoring/feedback.received.v1"):
        parked.labels(origin).inc(2)
    status = StatusReport(registry).now(SOMEBODY)
    assert status.dead_letters_by_origin == {"scoring/feedback.received.v1": 2, "sources": 4}
    assert status.dead_letters == 6
    assert "their-shop" not in status.model_dump_json()
