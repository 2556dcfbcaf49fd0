"""Zendesk tickets, what customers add to them, and satisfaction ratings. Signature: `X-Zendesk-Webhook-Signature` =
base64 HMAC-SHA256 over the timestamp and the raw body; the key is the signing secret as it is shown, as text.

Events of subscriptions come in Zendesk's form, in any order, and name no e-mail address. A trigger sends what its admin
wrote: docs/connectors/zendesk.md has the body for ratings; its placeholders are secondary, and so is the form of
`ticket.csat_received`. That the first comment is the ticket's description is unverified.
"""

from typing import Any, ClassVar

from pydantic import Field

from services.ingest.decoding import invalid
from services.ingest.sources.base import (
    Connector,
    Parsed,
    SourceSettings,
    json_object,
    need_id,
    need_object,
    object_of,
    skipped,
    word,
)
from services.ingest.sources.mapping import FieldMap
from services.ingest.sources.proof import Credential
from services.ingest.sources.revisions import millis_of
from services.ingest.sources.survey import Answered
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_EVENT, _TRIGGER = "zen:event-type:ticket.", "closeloop.csat"
_SAID = {"created", "undeleted", "description_changed"}
_GONE = {"soft_deleted", "permanently_deleted", "marked_as_spam"}
_COMMENT_GONE = {"comment_redacted", "comment_made_private"}
_CHANNELS = {
    **{name: name for name in ("email", "web", "sms", "facebook", "twitter", "whatsapp")},
    **dict.fromkeys(("chat", "native_messaging"), "chat"),
    **dict.fromkeys(("mobile", "mobile_sdk"), "app"),
    **dict.fromkeys(("phone", "voice"), "phone"),
}
_TICKET = FieldMap(
    {"title": "subject", "text": "description", "occurred_at": "created_at", "customer.id": "requester_id"}
)
_REQUESTER = FieldMap({"customer.id": "detail.requester_id"})
_PERSON = FieldMap({"customer.id": "id", "customer.email": "email", "customer.name": "name"})


class ZendeskSettings(SourceSettings):
    """`own_users` are the brand's: what they write is no feedback."""

    site_url: str | None = Field(
        default=None, pattern=r"^https://[^\s/]+/?$", description="To link tickets: https://lale.zendesk.com"
    )
    own_users: tuple[str, ...] = Field(default=(), description="User ids or e-mail addresses of your own people.")
    on_behalf: bool = Field(default=False, description="Read tickets that somebody else opened for the requester, too.")
    score: Answered = Field(
        default=Answered(metric="csat", scale_min=1, scale_max=5), description="The scale of ratings; CSAT 1–5."
    )
    scores: dict[str, float] = Field(
        default={"good": 5, "bad": 1}, description='Words of a rating → their number: {"good": 5, "bad": 1}.'
    )


class Zendesk(Connector):
    """An account."""

    name: ClassVar[str] = "zendesk"
    settings: ClassVar[type[SourceSettings]] = ZendeskSettings
    proof: ClassVar[Credential] = Scheme(
        header="X-Zendesk-Webhook-Signature",
        encoding="base64",
        signed=("{timestamp}", "{body}"),
        timestamp_header="X-Zendesk-Webhook-Signature-Timestamp",
        tolerance_seconds=300,
    )

    def parse(self, settings: ZendeskSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        if body.get("kind") == _TRIGGER:
            return _triggered(settings, body)
        kind = word(body.get("type"))
        if not kind.startswith("zen:event-type:"):
            reason = f"is neither a Zendesk event nor has the trigger's body the kind {_TRIGGER}, as the guide shows it"
            raise invalid([Fault("type", reason)])
        event = kind.removeprefix(_EVENT)
        if event in _SAID or event in _GONE:
            return _ticket(settings, body, gone=event in _GONE)
        if event == "comment_added" or event in _COMMENT_GONE:
            return _comment(settings, body, gone=event in _COMMENT_GONE)
        return _received(settings, body) if event == "csat_received" else skipped("other event")


def _base(settings: ZendeskSettings, ticket: str, body: dict[str, Any], channel: str = "web") -> dict[str, Any]:
    via = word(object_of(object_of(body.get("detail")).get("via")).get("channel")).lower()
    item: dict[str, Any] = {
        **settings.constants(),
        "revision": millis_of(body.get("time")) or 0,
        "thread_id": f"ticket/{ticket}",
        "url": f"{settings.site_url.rstrip('/')}/agent/tickets/{ticket}" if settings.site_url else None,
    }
    item.setdefault("channel", _CHANNELS.get(via, channel))
    return item


def _number(body: dict[str, Any]) -> str:
    """The ticket's: in `detail`, which may be left out, and in the subject `zen:ticket:5158`."""
    known = object_of(body.get("detail")).get("id")
    return need_id(known or word(body.get("subject")).removeprefix("zen:ticket:"), "detail.id")


def _ticket(settings: ZendeskSettings, body: dict[str, Any], *, gone: bool) -> Parsed:
    number = _number(body)
    item = _base(settings, number, body) | {"id": f"ticket/{number}", "kind": "message", "removed": gone}
    if gone:
        return Parsed(items=[item])
    ticket = need_object(body.get("detail"), "detail")
    _TICKET.fill(item, ticket)
    submitter, requester = ticket.get("submitter_id"), ticket.get("requester_id")
    if ticket.get("is_public") is False:
        return skipped("internal note")
    if not settings.on_behalf and submitter and str(submitter) != str(requester):
        return skipped("opened for the requester")
    return _unless_own(settings, item)


def _comment(settings: ZendeskSettings, body: dict[str, Any], *, gone: bool) -> Parsed:
    comment = need_object(object_of(body.get("event")).get("comment"), "event.comment")
    ticket, author = object_of(body.get("detail")), object_of(comment.get("author"))
    text = comment.get("body")
    if not gone and comment.get("is_public") is not True:
        return skipped("internal note")
    if _of_the_team(ticket, author, gone):
        return skipped("comment of the team")
    item = _base(settings, _number(body), body) | {
        "id": f"comment/{need_id(comment.get('id'), 'event.comment.id')}",
        "kind": "message",
        "removed": gone,
    }
    _PERSON.fill(item, author)
    if gone:
        return Parsed(items=[item])
    if not text:
        return skipped("no text")
    if isinstance(text, str) and text.strip() == word(ticket.get("description")).strip():
        return skipped("first comment")  # the ticket has it already
    return _unless_own(settings, item | {"text": text, "occurred_at": body.get("time")})


def _of_the_team(ticket: dict[str, Any], author: dict[str, Any], gone: bool) -> bool:
    staff = author.get("is_staff")
    if isinstance(staff, bool):
        return staff
    # To take back what was never taken harms nobody.
    return not gone and (not author.get("id") or str(author["id"]) != str(ticket.get("requester_id")))


def _received(settings: ZendeskSettings, body: dict[str, Any]) -> Parsed:
    given = need_object(object_of(body.get("event")).get("satisfaction_score"), "event.satisfaction_score")
    number = _number(body)
    item = _base(settings, number, body) | {"occurred_at": body.get("time")}
    _REQUESTER.fill(item, body)
    return _rated(settings, item, number, given, "event.satisfaction_score.score")


def _triggered(settings: ZendeskSettings, body: dict[str, Any]) -> Parsed:
    number = need_id(body.get("ticket_id"), "ticket_id")
    updated, comment = millis_of(body.get("updated_at")), body.get("comment")
    if updated is None:
        raise invalid([Fault("updated_at", "is no time: put {{ticket.updated_at_with_timestamp}} there")])
    # The placeholder counts minutes: a comment wins over the bare score of the same minute.
    revision = updated + bool(comment)
    item = _base(settings, number, {}, "email") | {"revision": revision, "occurred_at": body.get("updated_at")}
    _PERSON.fill(item, object_of(body.get("requester")))
    return _rated(settings, item, number, body, "score")


def _rated(settings: ZendeskSettings, item: dict[str, Any], ticket: str, given: dict[str, Any], where: str) -> Parsed:
    value, comment = given.get("score"), given.get("comment")
    if isinstance(value, str):
        said = value.strip().casefold()
        if said in {"offered", "unoffered"}:
            return skipped("not rated yet")
        value = {name.casefold(): number for name, number in settings.scores.items()}.get(said, said)
        if isinstance(value, str) and not value.replace(".", "", 1).isdecimal():
            raise invalid([Fault(where, "is a word without a number: set it in the source's `scores`, then replay")])
    item |= {
        "id": f"csat/{ticket}",
        "survey": settings.survey("zendesk-csat"),
        "ratings": [settings.score.rating(value)],
        "text": comment.strip('"') if isinstance(comment, str) else comment,
    }
    return _unless_own(settings, item)


def _unless_own(settings: ZendeskSettings, item: dict[str, Any]) -> Parsed:
    customer = object_of(item.get("customer"))
    names = {word(customer.get(name)).lower() for name in ("id", "email")}
    if not names.isdisjoint(name.lower() for name in settings.own_users):
        return skipped("own message")
    return Parsed(items=[item])
