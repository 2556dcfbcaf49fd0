"""The record headers of an event as a schema: CloudEvents 1.0 attributes in Kafka's binary mode, and the trace."""

from typing import Annotated, Literal, TypeVar
from uuid import UUID

from pydantic import Field, StringConstraints

from shared.contracts.envelope import AwareDatetime, Event, EventData, Part, WorkspaceName

N = TypeVar("N", bound=EventData)
TraceParent = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]


class CloudEventsHeaders(Part):
    """Headers of every record. Nothing in them identifies a person."""

    content_type: Literal["application/json"] = Field(alias="content-type")
    ce_specversion: Literal["1.0"]
    ce_id: UUID = Field(description="Id of the event; a repeat has the same one, so drop what you have seen.")
    ce_type: Annotated[str, StringConstraints(pattern=r"^dev\.closeloop\.[a-z]+\.[a-z]+\.v[0-9]+$")]
    ce_source: Annotated[str, StringConstraints(min_length=1)] = Field(description="Who wrote it: `closeloop/ingest`.")
    ce_time: AwareDatetime = Field(description="When it was written, in UTC.")
    ce_workspace: WorkspaceName = Field(description="The tenant.")
    ce_correlationid: UUID = Field(description="The feedback it began with.")
    ce_causationid: UUID | None = Field(default=None, description="The event it came from; absent where none was.")
    traceparent: TraceParent | None = Field(default=None, description="W3C trace context.")

    def event(self, data: N) -> Event[N]:
        """The event of these headers and `data`."""
        return Event(
            id=self.ce_id,
            source=self.ce_source,
            time=self.ce_time,
            workspace=self.ce_workspace,
            correlation_id=self.ce_correlationid,
            causation_id=self.ce_causationid,
            data=data,
            traceparent=self.traceparent,
        )
