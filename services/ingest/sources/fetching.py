"""Connectors whose deliveries carry ids only, or that have no webhooks at all: what they ask for at the vendor's API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from services.ingest.sources.base import Connector, Parsed, Wanted


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a vendor's API."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    method: Literal["GET", "POST"] = "GET"
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an answer holds. `following` is what to fetch in its place: the next page at once, or, for a poller, the
    same again `after_seconds` from now."""

    parsed: Parsed
    following: Wanted | None = None
    after_seconds: float = 0.0


class FetchingConnector(Connector):
    """A connector that calls its vendor's API. `first` is what a poller begins with, None for one that waits for
    deliveries to say what to fetch (`Parsed.wanted`)."""

    first: ClassVar[Wanted | None] = None

    def request(self, settings: Any, wanted: Wanted, token: str) -> Request:
        """The call; `token` is the credential of the API that the operator gave."""
        raise NotImplementedError

    def fetched(self, settings: Any, wanted: Wanted, body: bytes) -> Fetched:
        """What the answer of a successful call says. Raises InvalidInput for one that it cannot understand."""
        raise NotImplementedError
