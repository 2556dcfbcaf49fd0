"""Composition root of ingest: the only place that builds its connections."""

from functools import partial

from services.ingest.admin import SourceAdmin
from services.ingest.api import routes
from services.ingest.cipher import cipher_of
from services.ingest.config import IngestSettings
from services.ingest.directory import Directory
from services.ingest.door import Door
from services.ingest.fairness import Fairness
from services.ingest.fetching import Fetcher
from services.ingest.outlet import BusOutlet, SpoolingOutlet
from services.ingest.service import IngestService, mender
from services.ingest.sources import CONNECTORS
from services.ingest.wants import dead_letter_origin
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.http.outbound import OutboundClient
from shared.runtime.component import Service
from shared.runtime.compose import Composition


def build(settings: IngestSettings) -> Service:
    """The ingest service. Raises SettingsError."""
    own_bus = settings.bus_url != "postgres"
    composition = Composition(settings, "ingest", needs_bus=not own_bus)
    cipher = cipher_of(settings.secrets_key, settings.data_dir)
    directory = Directory(composition.database, cipher)
    to_bus = BusOutlet(composition.producer)
    spool = SpoolingOutlet(to_bus, composition.database, composition.wakeups.on("spool"))
    outlet = spool if own_bus else to_bus
    ingest = IngestService(outlet, composition.database, directory)
    admin = SourceAdmin(composition.database, cipher)
    fairness = Fairness(settings.ingest_requests_per_second, settings.ingest_in_flight)
    client = OutboundClient(allow_private=settings.outbound_allow_private)

    async def bus() -> None:
        await composition.bus.offsets(FEEDBACK_RECEIVED.name)

    composition.route(routes(ingest, admin, fairness, composition.authenticator))
    mend = mender(cipher)
    composition.mend({dead_letter_origin(name): mend for name in CONNECTORS})
    composition.check("ingest sources", directory.check)
    composition.check("ingest bus", spool.check(bus) if own_bus else bus)
    if own_bus:
        composition.run(spool)
    composition.run(Fetcher(composition.database, cipher, client, outlet, composition.wakeups.on("wanted")))
    service = composition.service()
    service.fronts.append(partial(Door, directory, outlet, fairness))
    service.start.append(directory.load)
    service.close += [directory.stop, client.close]
    if own_bus:
        # Sources and keys are in memory, and the check of the bus looks at both ways.
        del service.checks["ingest database"]
    return service
