"""Bodies as the vendors send them; all people in them are invented."""

import json
from typing import Any

TYPEFORM: dict[str, Any] = {
    "event_id": "01HXTYPEFORMDELIVERY",
    "event_type": "form_response",
    "form_response": {
        "form_id": "lT4Z3j",
        "token": "a3a12ec67a1365927098a606107fac15",
        "submitted_at": "2026-03-10T09:14:52Z",
        "hidden": {"customer": "C-20911", "tier": "gold"},
        "definition": {
            "id": "lT4Z3j",
            "title": "After your delivery",
            "fields": [
                {"id": "f1", "ref": "likely", "type": "nps", "title": "How likely are you to recommend us?"},
                {"id": "f2", "ref": "ease", "type": "opinion_scale", "title": "How easy was it?"},
                {"id": "f3", "ref": "why", "type": "long_text", "title": "Why?"},
                {"id": "f4", "ref": "better", "type": "short_text", "title": "What should be better?"},
                {"id": "f5", "ref": "product", "type": "multiple_choice", "title": "Which product?"},
                {"id": "f6", "ref": "mail", "type": "email", "title": "Your e-mail?"},
            ],
        },
        "answers": [
            {"type": "number", "number": 6, "field": {"id": "f1", "type": "nps"}},
            {"type": "number", "number": 5, "field": {"id": "f2", "type": "opinion_scale"}},
            {"type": "text", "text": "Late.", "field": {"id": "f3", "type": "long_text"}},
            {"type": "text", "text": "The courier.", "field": {"id": "f4", "type": "short_text"}},
            {"type": "choice", "choice": {"label": "Lale Home Lamp"}, "field": {"id": "f5", "type": "multiple_choice"}},
            {"type": "email", "email": "nora@example.com", "field": {"id": "f6", "type": "email"}},
        ],
    },
}
TYPEFORM_SETTINGS: dict[str, Any] = {
    "channel": "email",
    "touchpoint": "delivery",
    "survey_type": "relational",
    "fields": {"ease": {"metric": "ces"}, "f5": {"to": "product"}},
    "hidden": {"customer": "customer.id", "tier": "segment"},
}
DISCOURSE: dict[str, Any] = {
    "post": {
        "id": 318,
        "topic_id": 77,
        "post_number": 1,
        "topic_title": "Cracked shade",
        "topic_slug": "cracked-shade",
        "username": "nora_w",
        "name": "Nora",
        "user_id": 1044,
        "category_id": 5,
        "created_at": "2026-03-10T09:14:52.000Z",
        "version": 1,
        "raw": '[quote="admin, post:1"]We ship fast.[/quote]\nMine came <b>cracked</b>, 3 < 4 weeks late.',
        "cooked": "<p>Mine came cracked.</p>",
    }
}
DISCOURSE_SETTINGS: dict[str, Any] = {
    "site_url": "https://forum.example.com/",
    "own_users": ["lale_team"],
    "categories": {"5": {"department": "support", "product": "Lale Home Lamp"}},
}
GENERIC: dict[str, Any] = {
    "event": "finished",
    "responses": [
        {
            "nr": 1042,
            "at": "2026-03-10T09:14:52Z",
            "who": {"mail": "nora@example.com"},
            "stars": "good",
            "say": "Fine.",
        },
        {"nr": 1043, "at": "2026-03-10T09:15:52Z", "who": {"mail": "ali@example.com"}, "stars": "bad", "say": "Slow."},
    ],
}
GENERIC_SETTINGS: dict[str, Any] = {
    "channel": "app",
    "items": "responses[*]",
    "fields": {
        "id": "nr",
        "occurred_at": "at",
        "customer.email": "who.mail",
        "ratings[0].value": "stars",
        "text": "say",
    },
    "constants": {"ratings[0].metric": "csat", "survey.id": "in-app", "survey.type": "transactional"},
    "values": {"ratings[0].value": {"good": 5, "bad": 1}},
}
ALL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "typeform": (TYPEFORM_SETTINGS, TYPEFORM),
    "discourse": (DISCOURSE_SETTINGS, DISCOURSE),
    "generic": ({**GENERIC_SETTINGS, "signature": {"scheme": "hmac", "header": "X-Signature"}}, GENERIC),
}


def raw(body: Any) -> bytes:
    """The bytes on the wire."""
    return json.dumps(body, ensure_ascii=False).encode()


def post(**changed: Any) -> dict[str, Any]:
    """The Discourse post with other fields."""
    return {"post": {**DISCOURSE["post"], **changed}}
