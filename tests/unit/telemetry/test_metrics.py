"""The closed list of metrics."""

from prometheus_client.parser import text_string_to_metric_families

from shared.telemetry import metrics

PEOPLE = {"workspace", "customer", "email", "name", "user", "member"}


def test_the_list_is_closed() -> None:
    assert sorted(metrics.NAMES) == [
        "closeloop_batch_seconds",
        "closeloop_consumed_events",
        "closeloop_consumer_lag_events",
        "closeloop_database_reachable",
        "closeloop_dead_letters_events",
        "closeloop_fenced_batches",
        "closeloop_outbox_events",
        "closeloop_published_events",
        "closeloop_repeated_events",
        "closeloop_sse_clients",
        "closeloop_stopped_partitions",
        "closeloop_timers_late_seconds",
        "ingest_accepted_events",
        "ingest_fetches",
        "ingest_refused_requests",
        "ingest_spooled_events",
        "ingest_spooling",
        "notifier_deliveries",
        "scoring_uncounted_answers",
        "scoring_values_over_cap",
    ]


def test_what_is_exposed_is_the_list_and_nothing_else() -> None:
    families = {family.name for family in text_string_to_metric_families(metrics.exposition().decode())}
    made = {name.removesuffix("_created") for name in families}
    assert made == metrics.NAMES


def test_every_metric_says_what_it_is_and_labels_no_people() -> None:
    for collector in vars(metrics).values():
        if hasattr(collector, "_labelnames"):
            assert collector._documentation.endswith((".", "now.")), collector._name
            assert not PEOPLE & set(collector._labelnames), collector._name
