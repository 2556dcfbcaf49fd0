"""HubSpot feedback submissions. Signature: `X-HubSpot-Signature-v3` = base64 HMAC-SHA256 over method, address, body and
time with the app's client secret; the time is in milliseconds, and a proxy must not rewrite the address.

Deliveries are arrays of up to a hundred events with ids only, in any order; a submission is fetched (CRM API v3). Old
subscriptions are named `feedback_submission.creation`, newer ones `object.creation` with the object type 0-19
(unverified both). NPS is asked on 0–10 and CES on 1–7; the scale of other surveys must be set.
"""

from typing import Any, ClassVar

from pydantic import Field

from services.ingest.decoding import decode_json, invalid
from services.ingest.sources.base import Parsed, Wanted, need_list, need_object, skipped, word
from services.ingest.sources.fetching import (
    ApiUrl,
    Fetched,
    FetchingConnector,
    FetchSettings,
    Request,
    answer_object,
    plain_id,
)
from services.ingest.sources.mapping import FieldMap
from services.ingest.sources.proof import Credential
from services.ingest.sources.revisions import millis_of
from services.ingest.sources.survey import Answered
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_OBJECT_TYPE = "0-19"
_KINDS = {"creation", "propertyChange", "deletion", "restore"}
_SCALES = {"NPS": Answered(metric="nps"), "CES": Answered(metric="ces", scale_min=1, scale_max=7)}
_PROPERTIES = (
    "hs_survey_id",
    "hs_survey_name",
    "hs_survey_type",
    "hs_value",
    "hs_content",
    "hs_contact_id",
    "hs_contact_email_rollup",
    "hs_submission_timestamp",
    "hs_lastmodifieddate",
)
_FIELDS = FieldMap(
    {
        "text": "hs_content",
        "occurred_at": "hs_submission_timestamp",
        "customer.email": "hs_contact_email_rollup",
        "customer.id": "hs_contact_id",
    }
)


class HubSpotSettings(FetchSettings):
    """`scales` by type of survey, as HubSpot names it."""

    scales: dict[str, Answered] = Field(
        default_factory=dict,
        description='{"CSAT": {"metric": "csat", "scale_min": 0, "scale_max": 2}}; NPS and CES have theirs.',
    )
    api_url: ApiUrl = "https://api.hubapi.com"
    requests_per_minute: float = Field(default=300, gt=0, le=6000, description="Most calls; HubSpot allows 600.")


class HubSpot(FetchingConnector):
    """An app's webhooks."""

    name: ClassVar[str] = "hubspot"
    settings: ClassVar[type[HubSpotSettings]] = HubSpotSettings
    proof: ClassVar[Credential] = Scheme(
        header="X-HubSpot-Signature-v3",
        encoding="base64",
        signed=("{method}", "{url}", "{body}", "{timestamp}"),
        timestamp_header="X-HubSpot-Request-Timestamp",
        timestamp_unit="milliseconds",
        tolerance_seconds=300,
    )

    def parse(self, settings: HubSpotSettings, message: Signed) -> Parsed:
        """See Connector."""
        parsed = Parsed()
        for index, one in enumerate(need_list(decode_json(message.body), "$")):
            event = need_object(one, f"[{index}]")
            kind, _, change = word(event.get("subscriptionType") or event.get("eventType")).partition(".")
            about = kind == "feedback_submission" or (kind == "object" and event.get("objectTypeId") == _OBJECT_TYPE)
            if not about or change not in _KINDS:
                parsed.skipped["other event"] += 1
                continue
            name = plain_id(event.get("objectId"), f"[{index}].objectId")
            if change == "deletion":
                parsed.items.append(_removal(settings, name, event, f"[{index}].occurredAt"))
            else:
                parsed.wanted.append(Wanted(name))
        return parsed

    def request(self, settings: HubSpotSettings, wanted: Wanted, token: str) -> Request:
        """See FetchingConnector."""
        path = f"/crm/v3/objects/feedback_submissions/{wanted.object}?properties={','.join(_PROPERTIES)}"
        return Request(settings.api_url + path, {"Authorization": f"Bearer {token}", "Accept": "application/json"})

    def fetched(self, settings: HubSpotSettings, wanted: Wanted, body: bytes) -> Fetched:
        """See FetchingConnector."""
        answer = answer_object(body)
        if answer.get("archived") is True:
            return Fetched(skipped("archived"))
        said = need_object(answer.get("properties"), "properties")
        revision = millis_of(said.get("hs_lastmodifieddate") or answer.get("updatedAt"))
        if revision is None:
            raise invalid([Fault("updatedAt", "is not a time: it tells versions of a submission apart")])
        item = {"channel": "web", **settings.constants(), "id": wanted.object, "revision": revision}
        item["survey"] = settings.survey(said.get("hs_survey_id") or said.get("hs_survey_name") or "hubspot")
        if rating := _rating(settings, said):
            item["ratings"] = [rating]
        return Fetched(Parsed(items=[_FIELDS.fill(item, said)]))


def _rating(settings: HubSpotSettings, said: dict[str, Any]) -> dict[str, Any] | None:
    """Values come as text. Raises InvalidInput for one on a scale that nobody has set."""
    value, kind = said.get("hs_value"), word(said.get("hs_survey_type"))
    if value is None or value == "":
        return None
    scale = settings.scales.get(kind) or _SCALES.get(kind)
    if scale is None:
        reason = (
            f"is on a scale that is not known: set the one of {kind[:40] or 'such'} surveys in `scales`, then replay"
        )
        raise invalid([Fault("properties.hs_value", reason)])
    return scale.rating(value)


def _removal(settings: HubSpotSettings, name: str, event: dict[str, Any], where: str) -> dict[str, Any]:
    occurred = event.get("occurredAt")
    if isinstance(occurred, bool) or not isinstance(occurred, int):
        raise invalid([Fault(where, "is not a time: it comes after that of what is deleted")])
    return {**settings.constants(), "id": name, "revision": occurred + 1, "removed": True}
