"""Connectors whose deliveries carry ids only, or that have no webhooks: what they ask for at the vendor's API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from services.ingest.decoding import decode_json, invalid
from services.ingest.sources.base import Connector, Parsed, SourceSettings, Wanted, need_object
from shared.core.errors import Fault
from shared.http.addresses import AddressRefused, parse_target

# A page of a vendor's API holds more than a delivery may: a hundred reviews, each with dozens of keys.
_MAX_KEYS = 50_000
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,100}")


def _address(text: str) -> str:
    try:
        parse_target(text, allow_private=True)  # whether it may be called is asked at every call
    except AddressRefused:
        raise ValueError("must be an https address, as https://api.example.com") from None
    if "?" in text or "#" in text:
        raise ValueError("must be an address without a query")
    return text.rstrip("/")


ApiUrl = Annotated[str, AfterValidator(_address)]


class FetchSettings(SourceSettings):
    """Where the vendor's API is, and how often it may be called. Connectors give both their defaults."""

    api_url: ApiUrl = Field(description="Address of the vendor's API; another one for another region.")
    requests_per_minute: float = Field(gt=0, le=6000, description="Most calls, over all processes.")


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a vendor's API."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: Literal["GET", "POST"] = "GET"
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """A credential that is good for so many seconds."""

    token: str = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an answer holds. `following` is the detail with which to fetch the same again: the next page at once, or,
    for a poller, the cursor of its next look `after_seconds` from now."""

    parsed: Parsed
    following: Mapping[str, Any] | None = None
    after_seconds: float = 0.0


class FetchingConnector(Connector):
    """A connector that calls its vendor's API; its settings are FetchSettings. `polled` is the object that a poller
    fetches again and again, None for one that waits for deliveries to say what to fetch (`Parsed.wanted`)."""

    polled: ClassVar[str | None] = None

    def check_token(self, token: str) -> None:
        """Raise InvalidInput for a text that cannot be the credential of this API."""
        if not token.isascii() or not token.isprintable() or " " in token:
            raise invalid([Fault("token", "must be printable ASCII characters without spaces")])

    def exchange(self, settings: Any, token: str) -> Request | None:
        """The call that gives a credential for a while in exchange for the operator's; None: that one is used as it
        is. Raises InvalidInput for a token that cannot be one."""
        del settings, token
        return None

    def exchanged(self, body: bytes) -> Access:
        """What the answer of that call gives. Raises InvalidInput."""
        raise NotImplementedError

    def request(self, settings: Any, wanted: Wanted, token: str) -> Request:
        """The call; `token` is the operator's credential of the API, or what it was exchanged for. Raises InvalidInput
        for a token that cannot be one."""
        raise NotImplementedError

    def fetched(self, settings: Any, wanted: Wanted, body: bytes) -> Fetched:
        """What the answer of a successful call says. Raises InvalidInput for one that it cannot understand."""
        raise NotImplementedError

    def restarted(self, wanted: Wanted) -> Wanted:
        """What to ask for after the API has called the request itself bad: pages of a look can expire."""
        return wanted


def answer_object(body: bytes) -> dict[str, Any]:
    """An answer as an object. Raises InvalidInput."""
    return need_object(decode_json(body, max_keys=_MAX_KEYS), "$")


def plain_id(value: Any, where: str) -> str:
    """An id that can stand in an address: it comes from outside, and must not lead elsewhere. Raises InvalidInput."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _PLAIN.fullmatch(text):
        raise invalid([Fault(where, "must be an id: letters, digits, - and _")])
    return text
