"""What every event carries around its data: CloudEvents 1.0 attributes plus workspace, correlation and causation."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints

from shared.contracts.topics import Topic
from shared.core.clock import utc_now
from shared.core.ids import caused_event_id, uuid7


def _storable(text: str) -> str:
    """Postgres refuses U+0000 and lone surrogates; refused here, they cannot become poison later."""
    if "\x00" in text:
        raise ValueError("must not contain U+0000")
    try:
        text.encode()  # in C; a look at every character in Python takes milliseconds for a long text
    except UnicodeEncodeError:
        raise ValueError("must not contain a lone surrogate") from None
    return text


# Python calls these two joiners unprintable; Persian spelling and composed emoji need them.
_JOINERS = str.maketrans("", "", "\u200c\u200d")


def _printable(text: str) -> str:
    if not text.translate(_JOINERS).isprintable():
        raise ValueError("must not contain control characters")
    return text


Text = Annotated[str, StringConstraints(max_length=65_536), AfterValidator(_storable)]
Label = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), AfterValidator(_printable)
]
"""A short name without control characters: a touchpoint, a product, a survey."""
WORKSPACE_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
WorkspaceName = Annotated[str, StringConstraints(pattern=WORKSPACE_PATTERN)]


class Part(BaseModel):
    """A piece of an event's data: immutable, unknown fields ignored (a newer writer may add some), no NaN."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class EventData(Part):
    """The data of one event type. `event_type` and `topic` never change once released."""

    event_type: ClassVar[str]
    topic: ClassVar[Topic]

    def key(self) -> str:
        """The part of the record key that follows the workspace; events of one key keep their order."""
        raise NotImplementedError


D_co = TypeVar("D_co", bound=EventData, covariant=True)
N = TypeVar("N", bound=EventData)


@dataclass(frozen=True, slots=True)
class Event(Generic[D_co]):
    """One event: `correlation_id` is the feedback it began with, `causation_id` the event it came from (or None)."""

    id: UUID
    source: str
    time: datetime
    workspace: str
    correlation_id: UUID
    causation_id: UUID | None
    data: D_co
    traceparent: str | None = None

    @property
    def type(self) -> str:
        """CloudEvents type, `dev.closeloop.<noun>.<past verb>.v1`."""
        return self.data.event_type

    def record_key(self) -> bytes:
        """Workspace and the data's own key: one customer's events share a partition."""
        return f"{self.workspace}/{self.data.key()}".encode()


def caused_by(cause: Event[Any], data: N, *, group: str, n: int = 0) -> Event[N]:
    """The n-th event of its type that `group` makes out of `cause`; the same cause gives the same id again."""
    return Event(
        id=caused_event_id(group, cause.id, data.event_type, n),
        source=f"closeloop/{data.topic.owner}",
        time=utc_now(),
        workspace=cause.workspace,
        correlation_id=cause.correlation_id,
        causation_id=cause.id,
        data=data,
        traceparent=cause.traceparent,
    )


def started_here(workspace: str, data: N, *, correlation_id: UUID, event_id: UUID | None = None) -> Event[N]:
    """An event that a person or a clock caused: a fresh id, unless the caller has one that repeats with its cause."""
    return Event(
        id=event_id or uuid7(),
        source=f"closeloop/{data.topic.owner}",
        time=utc_now(),
        workspace=workspace,
        correlation_id=correlation_id,
        causation_id=None,
        data=data,
    )


__all__ = [
    "WORKSPACE_PATTERN",
    "AwareDatetime",
    "Event",
    "EventData",
    "Label",
    "Part",
    "Text",
    "WorkspaceName",
    "caused_by",
    "started_here",
]
