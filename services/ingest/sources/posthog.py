"""PostHog survey responses. PostHog signs nothing: the operator adds `Authorization: Bearer <secret>` to the headers of
the webhook destination, whose body is the template `{"event": "{event}", "person": "{person}"}`, PostHog's own default.

A survey may send an event for each answer: they share `$survey_submission_id`, and the latest by its time is kept.
posthog-js repeats each answer under the question's number, which counts only where there is none under its id.
Numbers may come as text, so that a text of one figure up to 10 is taken for a number (PostHog's scales end there).
Properties are from PostHog's code, partly by way of others (secondary); that all of them arrive is unverified.
"""

import re
from typing import Any, ClassVar

from services.ingest.decoding import invalid
from services.ingest.sources import texts
from services.ingest.sources.base import (
    Connector,
    Parsed,
    json_object,
    need_id,
    need_object,
    object_of,
    objects,
    skipped,
    word,
)
from services.ingest.sources.mapping import put
from services.ingest.sources.proof import Bearer, Credential
from services.ingest.sources.revisions import millis_of
from services.ingest.sources.survey import Kind, Question, Response, SurveySettings
from shared.auth.signatures import Signed
from shared.core.errors import Fault, InvalidInput

_WITHOUT_WORDS = {"survey shown", "survey dismissed", "survey abandoned"}
_FIRST = "$survey_response"
_ANSWER = f"{_FIRST}_"
_NO_ANSWER: tuple[Any, ...] = (None, "", [])
_FIGURE = re.compile(r"[0-9]|10")
_SHOWABLE = re.compile(r"[\w-]{1,80}")


class PostHog(Connector):
    """`fields` name questions by id (by number, from 0, in old SDKs), `hidden` properties of event and person."""

    name: ClassVar[str] = "posthog"
    settings: ClassVar[type[SurveySettings]] = SurveySettings
    proof: ClassVar[Credential] = Bearer()

    def parse(self, settings: SurveySettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        event = object_of(body.get("event")) or body
        name = event.get("event")
        if not isinstance(name, str):
            raise invalid([Fault("event.event", "is missing: give the webhook PostHog's default body")])
        if name != "survey sent":
            return skipped(name if name in _WITHOUT_WORDS else "other event")
        properties = need_object(event.get("properties"), "event.properties")
        answers = _answers(properties)
        if not answers:
            return skipped("no answer")
        response = _response(settings, event, properties, object_of(object_of(body.get("person")).get("properties")))
        for question, value in answers:
            response.answer(question, value)
        given = {
            "id": need_id(properties.get("$survey_submission_id") or event.get("uuid"), "event.uuid"),
            "revision": millis_of(event.get("timestamp")),
            "occurred_at": event.get("timestamp"),
        }
        try:
            return Parsed(items=[response.item(properties.get("$survey_id"), "event.properties", **given)])
        except InvalidInput:
            if properties.get("$survey_completed") in (False, "false"):
                return skipped("partial response without words")
            raise


def _response(
    settings: SurveySettings, event: dict[str, Any], properties: dict[str, Any], person: dict[str, Any]
) -> Response:
    response = Response(settings)
    who = event.get("distinct_id")
    put(response.fields, ("customer", "email"), person.get("email"))
    put(response.fields, ("customer", "name"), person.get("name"))
    # An id goes before an e-mail address, and only the address is known to other sources too.
    if not person.get("email"):
        put(response.fields, ("customer", "id"), who)
    response.hidden({**person, **properties, "distinct_id": who})
    if language := texts.language(properties.get("$survey_language")):
        response.fields.setdefault("language", language)
    return response


def _answers(properties: dict[str, Any]) -> list[tuple[Question, Any]]:
    given = {key.removeprefix(_ANSWER): value for key, value in properties.items() if key.startswith(_ANSWER)}
    given |= {"0": properties[_FIRST]} if _FIRST in properties else {}
    given = {key: value for key, value in given.items() if value not in _NO_ANSWER}
    named = {key: value for key, value in given.items() if not key.isdecimal()}
    titles: dict[str, str] = {}
    for number, asked in enumerate(objects(properties.get("$survey_questions"))):
        titles[word(asked.get("id"))] = titles[str(number)] = word(asked.get("question"))
    chosen = named or given
    order = [key for key in titles if key in chosen] + [key for key in chosen if key not in titles]
    return [(_question(key, titles.get(key, ""), chosen[key]), chosen[key]) for key in order]


def _question(key: str, title: str, value: Any) -> Question:
    where = f"event.properties.{_ANSWER}{key}" if _SHOWABLE.fullmatch(key) else "event.properties"
    return Question((key,), title, _kind(value), where)


def _kind(value: Any) -> Kind:
    if isinstance(value, str):
        return "scaled" if _FIGURE.fullmatch(value.strip()) else "text"
    return "scaled" if isinstance(value, int | float) and not isinstance(value, bool) else "other"
