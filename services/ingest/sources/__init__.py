"""Vendors' webhooks, one small file each: verify the raw bytes, parse them, give canonical fields."""

from services.ingest.sources.base import Connector
from services.ingest.sources.discourse import Discourse
from services.ingest.sources.generic import Generic
from services.ingest.sources.typeform import Typeform

CONNECTORS: dict[str, Connector] = {connector.name: connector for connector in (Generic(), Typeform(), Discourse())}
"""Every connector by name; a new one is a file here and an entry in this list."""

__all__ = ["CONNECTORS", "Connector"]
