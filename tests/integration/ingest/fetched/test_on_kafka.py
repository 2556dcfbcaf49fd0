"""The same with Kafka as the bus: what is fetched goes the way of everything that ingest accepts."""

from pathlib import Path

from shared.contracts.topics import FEEDBACK_RECEIVED
from tests.integration.ingest.conftest import running_ingest
from tests.integration.ingest.fetched.support import answered, deliver, fetchers, settled, survey
from tests.integration.ingest.vendor import Vendor


async def test_what_was_fetched_is_on_kafka_once(
    database_url: str, kafka_bootstrap: str, vendor: Vendor, tmp_path: Path
) -> None:
    async with running_ingest(database_url, tmp_path, f"kafka://{kafka_bootstrap}") as ingest:
        await ingest.bus.create_topics([FEEDBACK_RECEIVED])
        source = await survey(ingest, vendor, "on-kafka")
        answered(vendor, "114096", "114097")
        await deliver(ingest, source, "114096", "114097", "114096")

        async with fetchers(ingest, tmp_path, 2):
            await settled(ingest)
        events = [event for event in await ingest.events() if event.data.source == "on-kafka"]
    assert len(events) == len({event.id for event in events}) == 2
    assert len(vendor.calls) == 2
