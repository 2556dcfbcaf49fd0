"""Composition root of ingest: the only place that builds its connections."""

from services.ingest.admin import SourceAdmin
from services.ingest.api import routes
from services.ingest.cipher import cipher_of
from services.ingest.config import IngestSettings
from services.ingest.directory import Directory
from services.ingest.service import IngestService, dead_letter_origin, mender
from services.ingest.sources import CONNECTORS
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.runtime.component import Service
from shared.runtime.compose import Composition


def build(settings: IngestSettings) -> Service:
    """The ingest service. Raises SettingsError."""
    composition = Composition(settings, "ingest")
    cipher = cipher_of(settings.secrets_key, settings.data_dir)
    directory = Directory(composition.database, cipher)
    ingest = IngestService(composition.producer, composition.database, directory)
    admin = SourceAdmin(composition.database, cipher)

    async def bus() -> None:
        await composition.bus.offsets(FEEDBACK_RECEIVED.name)

    composition.route(routes(ingest, admin, composition.authenticator))
    mend = mender(cipher)
    composition.mend({dead_letter_origin(name): mend for name in CONNECTORS})
    composition.check("ingest sources", directory.check)
    composition.check("ingest bus", bus)
    service = composition.service()
    service.start.append(directory.load)
    service.close.append(directory.stop)
    if settings.bus_url != "postgres":
        # Sources and keys are in memory: with a bus of its own ingest accepts while the database is away.
        del service.checks["ingest database"]
    return service
