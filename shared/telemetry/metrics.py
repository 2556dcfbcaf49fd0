"""Every metric there is. A closed list: dashboards, alert rules and tests go by these names; labels are never people.

Names follow `<service>_<noun>_<unit>` with `closeloop` for what all services share.
"""

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()
_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

ACCEPTED = Counter("ingest_accepted_events", "Feedback answered 2xx, by connector.", ["connector"], registry=REGISTRY)
REFUSED = Counter(
    "ingest_refused_requests",
    "Requests answered 4xx or 5xx, by connector and status.",
    ["connector", "status"],
    registry=REGISTRY,
)
FETCHES = Counter(
    "ingest_fetches",
    "Calls of vendors' APIs, by connector and how they ended.",
    ["connector", "outcome"],
    registry=REGISTRY,
)
SPOOLED = Counter("ingest_spooled_events", "Feedback accepted into the spool, the bus being away.", registry=REGISTRY)
SPOOLING = Gauge(
    "ingest_spooling",
    "1 while accepted feedback goes to the spool: the bus is away or the spool not empty.",
    registry=REGISTRY,
)
UNCOUNTED = Gauge(
    "scoring_uncounted_answers",
    "Answers that are stored and not counted yet; the one process that counts says so.",
    registry=REGISTRY,
)
OVER_CAP = Counter(
    "scoring_values_over_cap",
    "Sets of dimension values that count as `other`, because their roll-up has as many series as it may have.",
    registry=REGISTRY,
)
PUBLISHED = Counter("closeloop_published_events", "Events that are durable on the bus.", ["topic"], registry=REGISTRY)
CONSUMED = Counter(
    "closeloop_consumed_events", "Events whose effects are committed.", ["group", "topic"], registry=REGISTRY
)
REPEATED = Counter(
    "closeloop_repeated_events",
    "Events dropped because they were processed before.",
    ["group", "topic"],
    registry=REGISTRY,
)
LAG = Gauge(
    "closeloop_consumer_lag_events",
    "Events on the bus that are not yet processed.",
    ["group", "topic", "partition"],
    registry=REGISTRY,
)
BATCH_SECONDS = Histogram(
    "closeloop_batch_seconds",
    "Time from fetch to commit of a batch.",
    ["group", "topic"],
    buckets=_LATENCY,
    registry=REGISTRY,
)
DEAD_LETTERS = Counter(
    "closeloop_dead_letters_events", "Records parked as dead letters.", ["origin"], registry=REGISTRY
)
STOPPED_PARTITIONS = Gauge(
    "closeloop_stopped_partitions",
    "Partitions stopped at the dead-letter limit: look now.",
    ["group", "topic"],
    registry=REGISTRY,
)
FENCED = Counter(
    "closeloop_fenced_batches",
    "Batches dropped because another member owns the partition.",
    ["group", "topic"],
    registry=REGISTRY,
)
OUTBOX = Gauge("closeloop_outbox_events", "Events committed and not yet on the bus.", ["service"], registry=REGISTRY)
TIMERS_LATE = Histogram(
    "closeloop_timers_late_seconds",
    "How late timers fired, by the database clock.",
    ["service", "kind"],
    buckets=_LATENCY,
    registry=REGISTRY,
)
DELIVERIES = Counter("notifier_deliveries", "Ended delivery attempts.", ["transport", "outcome"], registry=REGISTRY)
DATABASE_REACHABLE = Gauge(
    "closeloop_database_reachable",
    "1 while PostgreSQL answers, looked at every ten seconds.",
    ["service"],
    registry=REGISTRY,
)
SSE_CLIENTS = Gauge("closeloop_sse_clients", "Open event streams.", ["stream"], registry=REGISTRY)

NAMES: frozenset[str] = frozenset(metric.name for metric in REGISTRY.collect())


@lru_cache(maxsize=4096)
def child(metric: Counter, *labels: str) -> Counter:
    """The metric with these labels; for hot paths, where looking it up costs more than counting."""
    return metric.labels(*labels)


def exposition() -> bytes:
    """All metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
