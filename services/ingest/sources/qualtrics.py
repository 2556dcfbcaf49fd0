"""Qualtrics responses. Deliveries are forms with ids only and prove nothing by a header (an HMAC inside the form is
unverified), so the address is kept like a secret; the response is fetched (API v3, `/surveys/{id}/responses/{id}`).

`values` has the answers by question: `QID5` a number, `QID5_NPS_GROUP` beside it where it was asked as NPS, `QID7_TEXT`
words. Labels of choices stand in `labels`. Other numbers have no scale: they need `fields`.
"""

import json
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from pydantic import Field

from services.ingest.decoding import invalid, text_of
from services.ingest.sources import texts
from services.ingest.sources.base import Parsed, Wanted, need_object, object_of, skipped, word
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
from services.ingest.sources.proof import Address, Credential
from services.ingest.sources.revisions import millis_of
from services.ingest.sources.survey import Answered, Kind, Question, Response, SurveySettings
from shared.auth.signatures import Signed
from shared.core.errors import Fault

_CONTACT = FieldMap({"customer.id": "externalDataReference", "customer.email": "recipientEmail"})
_NPS = "_NPS_GROUP"
_TEXT = "_TEXT"
_MOST_FIELDS = 50


class QualtricsSettings(FetchSettings, SurveySettings):
    """`fields` names questions as Qualtrics does: `QID5`, `QID7_TEXT`, `QID9_1`; `hidden` its embedded data."""

    api_url: ApiUrl = "https://iad1.qualtrics.com"
    requests_per_minute: float = Field(default=120, gt=0, le=6000, description="Most calls.")


class Qualtrics(FetchingConnector):
    """A brand's event subscriptions for completed responses."""

    name: ClassVar[str] = "qualtrics"
    settings: ClassVar[type[QualtricsSettings]] = QualtricsSettings
    proof: ClassVar[Credential] = Address()

    def parse(self, settings: QualtricsSettings, message: Signed) -> Parsed:
        """See Connector. With a shared key the fields stand as JSON in one of them, MSG."""
        del settings
        try:
            form = dict(parse_qsl(text_of(message.body), max_num_fields=_MOST_FIELDS))
            form = need_object(json.loads(form["MSG"]), "MSG") | {"Topic": form.get("Topic")} if "MSG" in form else form
        except (ValueError, RecursionError):
            raise invalid([Fault("$", "must be a form")]) from None
        topic = word(form.get("Topic"))
        if topic and "completedResponse" not in topic:
            return skipped("other event")
        survey = plain_id(form.get("SurveyID"), "SurveyID")
        return Parsed(wanted=[Wanted(plain_id(form.get("ResponseID"), "ResponseID"), {"survey": survey})])

    def request(self, settings: QualtricsSettings, wanted: Wanted, token: str) -> Request:
        """See FetchingConnector."""
        url = f"{settings.api_url}/API/v3/surveys/{wanted.detail['survey']}/responses/{wanted.object}"
        return Request(url, {"X-API-TOKEN": token, "Accept": "application/json"})

    def fetched(self, settings: QualtricsSettings, wanted: Wanted, body: bytes) -> Fetched:
        """See FetchingConnector."""
        result = need_object(answer_object(body).get("result"), "result")
        values = need_object(result.get("values"), "result.values")
        if values.get("finished") not in (1, True, None):
            return Fetched(skipped("response not complete"))
        response = Response(settings)
        _CONTACT.fill(response.fields, values)
        response.fields.setdefault("language", texts.language(values.get("userLanguage")))
        response.hidden(values)
        for name, value in values.items():
            nps, rated = name + _NPS in values, isinstance(settings.fields.get(name), Answered)
            said = value if nps or rated else object_of(result.get("labels")).get(name, value)
            _answer(response, name, said, nps=nps)
        # There is no time of a change: a response is recorded once.
        recorded = millis_of(values.get("recordedDate"))
        if recorded is None:
            raise invalid([Fault("result.values.recordedDate", "is not a time: it tells versions of a response apart")])
        item = response.item(
            wanted.detail["survey"],
            "result.values",
            id=wanted.object,
            revision=recorded,
            occurred_at=values.get("endDate") or values.get("recordedDate"),
        )
        return Fetched(Parsed(items=[item]))


def _answer(response: Response, name: str, value: Any, *, nps: bool) -> None:
    """Take the answer to one question. What Qualtrics itself and embedded data say stands beside them, without QID."""
    if name.startswith("QID") and not name.endswith(_NPS):
        kind: Kind = "nps" if nps else "text" if name.endswith(_TEXT) else "other"
        response.answer(Question((name,), kind=kind, where=f"result.values.{name[:80]}"), value)
