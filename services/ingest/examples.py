"""Examples of the public API, shown in OpenAPI and posted by the tests. All people in them are invented."""

from typing import Any

SURVEY_EXAMPLE: dict[str, Any] = {
    "id": "resp-8812",
    "occurred_at": "2026-03-10T09:14:52Z",
    "channel": "email",
    "touchpoint": "delivery",
    "department": "support",
    "product": "Lale Home Lamp",
    "survey": {"id": "post-delivery", "type": "transactional"},
    "metric": "nps",
    "score": 3,
    "customer": {"email": "nora@example.com", "name": "Nora Whitfield"},
    "text": "The lamp came nine days late and the shade was cracked.",
    "language": "en",
}
RATING_EXAMPLE: dict[str, Any] = {
    "id": "review-318",
    "channel": "review_site",
    "product": "Lale Home Lamp",
    "ratings": [{"metric": "rating", "value": 4, "scale_min": 1, "scale_max": 5}],
    "title": "Warm light, short cable",
    "text": "Half a metre more cable and it would be five stars.",
    "url": "https://reviews.example.com/lale/home-lamp#318",
    "public": True,
}
MESSAGE_EXAMPLE: dict[str, Any] = {
    "channel": "store",
    "touchpoint": "store",
    "text": "Kasada yarım saat bekledik.",
    "language": "tr",
}
CORRECTION_EXAMPLE: dict[str, Any] = {**SURVEY_EXAMPLE, "revision": 1, "score": 8}
REMOVAL_EXAMPLE: dict[str, Any] = {"id": "resp-8812", "revision": 2, "removed": True}
INVITATION_EXAMPLE: dict[str, Any] = {
    "id": "inv-20911",
    "status": "delivered",
    "invited_at": "2026-03-09T18:00:00Z",
    "survey": {"id": "post-delivery", "type": "transactional"},
    "channel": "email",
    "touchpoint": "delivery",
    "department": "support",
    "customer": {"email": "nora@example.com"},
}
INVITATIONS: dict[str, Any] = {
    "delivered": {"summary": "Sent, and not known to have failed", "value": INVITATION_EXAMPLE},
    "completed": {"summary": "The survey was answered", "value": {**INVITATION_EXAMPLE, "status": "completed"}},
    "several": {"summary": "Up to 500 at once, all or nothing", "value": [INVITATION_EXAMPLE]},
}
BODIES: dict[str, Any] = {
    "survey": {"summary": "An answer to a survey", "value": SURVEY_EXAMPLE},
    "review": {"summary": "A public review with stars", "value": RATING_EXAMPLE},
    "message": {"summary": "A message, in any language", "value": MESSAGE_EXAMPLE},
    "correction": {"summary": "The customer changed the answer", "value": CORRECTION_EXAMPLE},
    "removal": {"summary": "The customer took it back", "value": REMOVAL_EXAMPLE},
    "several": {"summary": "Up to 500 at once, all or nothing", "value": [SURVEY_EXAMPLE, RATING_EXAMPLE]},
}
CSV_EXAMPLE = (
    "id,occurred_at,channel,touchpoint,survey.id,survey.type,metric,score,customer.email,text\n"
    'resp-1,2026-03-01T10:00:00Z,email,delivery,post-delivery,transactional,nps,9,ali@example.com,"Quick, thanks"\n'
)
NDJSON_EXAMPLE = (
    '{"id":"resp-1","channel":"email","metric":"nps","score":9,"survey":{"id":"post-delivery","type":"transactional"}}\n'
    '{"id":"m-2","channel":"store","text":"Kasada yarım saat bekledik."}\n'
)
