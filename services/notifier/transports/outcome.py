"""What a transport is given, and what it says about the end of a call."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from uuid import UUID

from services.notifier.catalogue import Rendered


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to one recipient. `id` is the same at every attempt; `fields` are ids and words for machines."""

    id: UUID
    workspace: str
    recipient: str
    message: Rendered
    brand: str
    unsubscribe_url: str | None
    fields: Mapping[str, Any]
    secret: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """`ok`: the other side took it. `refused`: it answered no. `not sent`: it certainly has nothing. `unknown`: it may
    have it. `permanent` ends the attempts; `gone` says never to call again; `reason` is ours, never theirs."""

    kind: Literal["ok", "refused", "not sent", "unknown"]
    reason: str | None = None
    status: int | None = None
    permanent: bool = False
    gone: bool = False
    retry_after_seconds: float | None = None


class Transport(Protocol):
    """One way out."""

    resends_unknown: bool
    """Whether an unknown outcome is tried again by itself: only where the receiver can tell a repeat by its id."""

    async def send(self, outgoing: Outgoing) -> Outcome:
        """Make the call; never raises for what the other side does."""
        ...
