"""`python -m services.ingest`: ingest as a process of its own."""

from services.ingest.app import build
from services.ingest.config import IngestSettings
from shared.core.errors import CloseloopError
from shared.core.settings import load
from shared.runtime.process import run_service

if __name__ == "__main__":
    try:
        settings = load(IngestSettings)
        service = build(settings)
    except CloseloopError as error:
        raise SystemExit(f"closeloop ingest: {error.detail}") from None
    run_service(settings, service)
