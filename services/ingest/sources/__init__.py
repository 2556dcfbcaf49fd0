"""Vendors' webhooks, one small file each: how they prove themselves, and what their bodies say."""

import importlib
import pkgutil

from services.ingest.sources.base import Connector


def _found() -> list[Connector]:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return [kind() for kind in _below(Connector) if hasattr(kind, "name")]


def _below(kind: type[Connector]) -> list[type[Connector]]:
    return [one for child in kind.__subclasses__() for one in (child, *_below(child))]


CONNECTORS: dict[str, Connector] = {one.name: one for one in sorted(_found(), key=lambda one: one.name)}
"""Every connector by name; a new one is a file here."""

__all__ = ["CONNECTORS", "Connector"]
