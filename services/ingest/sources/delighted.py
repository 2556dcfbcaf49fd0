"""Delighted responses. Signature: `X-Delighted-Webhook-Signature: sha256=` + hex HMAC-SHA256 over the raw body, with
the project's private API key (secondary sources).

The score is sent when it is given, and again with every comment and answer that is added: one response, whose
`updated_at` is its revision. Other surveys than NPS differ in their scale, which the source's settings name.
"""

from typing import ClassVar

from pydantic import Field

from services.ingest.sources.base import Connector, Parsed, SourceSettings, json_object, need_id, need_object, skipped
from services.ingest.sources.mapping import FieldMap
from services.ingest.sources.proof import Credential
from services.ingest.sources.revisions import millis_of
from services.ingest.sources.survey import Answered
from shared.auth.signatures import Scheme, Signed

_NPS = Answered(metric="nps")


class DelightedSettings(SourceSettings):
    """`score`: what the project asks."""

    score: Answered = Field(
        default=_NPS, description='{"metric": "csat"}, also with scale_min and scale_max. Default: NPS.'
    )


class Delighted(Connector):
    """A project."""

    name: ClassVar[str] = "delighted"
    settings: ClassVar[type[SourceSettings]] = DelightedSettings
    proof: ClassVar[Credential] = Scheme(header="X-Delighted-Webhook-Signature", prefix="sha256=")
    fields: ClassVar[FieldMap] = FieldMap(
        {
            "occurred_at": "created_at",
            "text": "comment",
            "url": "permalink",
            "customer.email": "person.email",
            "customer.name": "person.name",
            "customer.phone": "person.phone_number",
        }
    )

    def parse(self, settings: DelightedSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        kind = str(body.get("event_type"))
        data = need_object(body.get("event_data"), "event_data")
        if not kind.startswith("survey_response.") or kind.endswith(".unsubscribed"):
            return skipped("other event")
        item = self.fields.fill(settings.constants(), data)
        item.setdefault("channel", "email")
        updated = millis_of(data.get("updated_at")) or 0
        item |= {
            "id": need_id(data.get("id"), "event_data.id"),
            "revision": updated,
            "survey": settings.survey("delighted"),
            "ratings": [settings.score.rating(data.get("score"))],
        }
        return Parsed(items=[item])
