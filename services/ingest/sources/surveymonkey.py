"""SurveyMonkey responses. Signature: `Sm-Signature` = base64 HMAC-SHA1 over the raw body, the key is
`<client id>&<secret>`. A HEAD asks who is here.

Deliveries carry ids only; the response is fetched with its questions (`…/details?simple=true`, API v3). An answer on a
scale is `choice_metadata.weight`, except where the label of the choice is itself a number: the weights of NPS questions
are said to be -100, 0 and 100 (unverified).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from services.ingest.decoding import invalid
from services.ingest.sources import texts
from services.ingest.sources.base import (
    Answer,
    Parsed,
    Wanted,
    json_object,
    need_list,
    object_of,
    objects,
    skipped,
    word,
)
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
from services.ingest.sources.survey import Question, Response, SurveySettings
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_ANSWERED = {"response_completed", "response_updated"}
_CONTACT = FieldMap({"customer.email": "metadata.contact.email.value"})


class SurveyMonkeySettings(FetchSettings, SurveySettings):
    """`fields` names questions by their id, and rows of a matrix by `<question>/<row>`."""

    client_id: str = Field(min_length=1, max_length=200, pattern=r"^[!-%'-~]+$", description="Client id of your app.")
    api_url: ApiUrl = "https://api.surveymonkey.com"
    requests_per_minute: float = Field(default=60, gt=0, le=6000, description="Most calls; the vendor allows 120.")


class SurveyMonkey(FetchingConnector):
    """An app's webhooks."""

    name: ClassVar[str] = "surveymonkey"
    settings: ClassVar[type[SurveyMonkeySettings]] = SurveyMonkeySettings

    def credential(self, settings: SurveyMonkeySettings) -> Credential:
        """See Connector."""
        return Scheme("Sm-Signature", digest="sha1", encoding="base64", key_prefix=f"{settings.client_id}&")

    def greet(self, settings: Any, message: Signed, secrets: Sequence[str], key: str) -> Answer | None:
        """See Connector."""
        del settings, secrets, key
        return Answer() if message.method == "HEAD" else None

    def parse(self, settings: SurveyMonkeySettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        kind = word(body.get("event_type"))
        if kind not in {*_ANSWERED, "response_deleted"}:
            return skipped("other event")
        response = plain_id(body.get("object_id"), "object_id")
        survey = plain_id(object_of(body.get("resources")).get("survey_id"), "resources.survey_id")
        if kind != "response_deleted":
            return Parsed(wanted=[Wanted(response, {"survey": survey})])
        deleted = millis_of(body.get("event_datetime"))
        if deleted is None:
            raise invalid([Fault("event_datetime", "is not a time: it comes after that of what is deleted")])
        item = {
            **settings.constants(),
            "id": response,
            "revision": deleted + 1,
            "removed": True,
            "survey": settings.survey(survey),
        }
        return Parsed(items=[item])

    def request(self, settings: SurveyMonkeySettings, wanted: Wanted, token: str) -> Request:
        """See FetchingConnector."""
        path = f"/v3/surveys/{wanted.detail['survey']}/responses/{wanted.object}/details?simple=true"
        return Request(settings.api_url + path, {"Authorization": f"Bearer {token}", "Accept": "application/json"})

    def fetched(self, settings: SurveyMonkeySettings, wanted: Wanted, body: bytes) -> Fetched:
        """See FetchingConnector."""
        found = answer_object(body)
        if found.get("response_status") != "completed":
            return Fetched(skipped("response not complete"))
        response = Response(settings)
        _CONTACT.fill(response.fields, found)
        said_in = object_of(object_of(found.get("metadata")).get("respondent")).get("language")
        response.fields.setdefault("language", texts.language(object_of(said_in).get("value")))
        response.hidden(found.get("custom_variables"))
        for page in objects(need_list(found.get("pages"), "pages")):
            for question in objects(page.get("questions")):
                _answer(response, question)
        revision = millis_of(found.get("date_modified"))
        if revision is None:
            raise invalid([Fault("date_modified", "is not a time: it tells versions of a response apart")])
        return Fetched(
            Parsed(
                items=[
                    response.item(
                        wanted.detail["survey"],
                        "pages",
                        id=wanted.object,
                        revision=revision,
                        occurred_at=found.get("date_created"),
                    )
                ]
            )
        )


def _answer(response: Response, question: dict[str, Any]) -> None:
    """Take the answers to one question."""
    name, title = str(question.get("id")), texts.without_tags(word(question.get("heading")))
    chosen: list[str] = []
    for answer in objects(question.get("answers")):
        value, kind = _value(answer)
        keys = (f"{name}/{answer.get('row_id')}", name)
        where = f"question {name[:80]}"
        if kind == "other":
            chosen.append(str(value))
        else:
            response.answer(Question(keys, title, "scaled" if kind == "scaled" else "text", where), value)
    if chosen:
        response.answer(Question((name,), title, "other"), chosen)


def _value(answer: dict[str, Any]) -> tuple[Any, str]:
    """(the answer, what it is: scaled, text or other)."""
    label = word(answer.get("simple_text")).rpartition("|")[2].strip()
    weight = _number(object_of(answer.get("choice_metadata")).get("weight"))
    if weight is not None:
        said = _number(label)
        return (weight if said is None else said), "scaled"
    if "choice_id" not in answer and isinstance(answer.get("text"), str):
        return answer["text"], "text"
    return label, "other"


def _number(value: Any) -> float | None:
    """A number, also where it is written as text."""
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
