"""Webhooks: Standard Webhooks (signed, the same id at every attempt) and the shape that Slack takes."""

import json
import time
from typing import Any

from services.notifier.catalogue import Rendered
from services.notifier.transports.outcome import Outcome, Outgoing
from shared.auth.signatures import STANDARD_WEBHOOKS, Signed, sign
from shared.core.clock import rfc3339, utc_now
from shared.http.addresses import AddressRefused
from shared.http.outbound import Answer, NoAnswer, NotSent, OutboundClient

_PLAIN_TEXT_LIMIT = 2_900
_HEADER_LIMIT = 140
_BUTTON_LIMIT = 70


class Webhook:
    """The generic webhook."""

    resends_unknown = True

    def __init__(self, client: OutboundClient) -> None:
        self._client = client

    async def send(self, outgoing: Outgoing) -> Outcome:
        """POST one signed JSON object."""
        message = outgoing.message
        data = {
            **outgoing.fields,
            "language": message.language,
            "subject": message.subject,
            "text": "\n\n".join(message.paragraphs),
            "url": message.action[1] if message.action else None,
        }
        body = json.dumps(
            {"type": "followup", "id": str(outgoing.id), "timestamp": rfc3339(utc_now()), "data": data},
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()
        headers = {"webhook-id": f"msg_{outgoing.id}", "webhook-timestamp": str(int(time.time()))}
        headers["webhook-signature"] = sign(STANDARD_WEBHOOKS, Signed(body, headers), outgoing.secret)
        return await _post(self._client, outgoing.recipient, body, headers)


class Slack:
    """An incoming webhook of Slack, or of whatever takes its shape."""

    resends_unknown = False

    def __init__(self, client: OutboundClient) -> None:
        self._client = client

    async def send(self, outgoing: Outgoing) -> Outcome:
        """POST one message."""
        body = json.dumps(slack_message(outgoing.message), ensure_ascii=False).encode()
        return await _post(self._client, outgoing.recipient, body, {})


def slack_message(message: Rendered) -> dict[str, Any]:
    """Plain text blocks only: nothing in a name or a subject can mention a channel or make a link."""
    text = "\n\n".join(message.paragraphs)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(message.subject, _HEADER_LIMIT)},
        {"type": "section", "text": _plain(text, _PLAIN_TEXT_LIMIT)},
    ]
    if message.action:
        label, url = message.action
        button = {"type": "button", "text": _plain(label, _BUTTON_LIMIT), "url": url}
        blocks.append({"type": "actions", "elements": [button]})
    return {
        "text": _escaped(message.subject),
        "blocks": blocks,
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _plain(text: str, limit: int) -> dict[str, Any]:
    # Cut before escaping: an entity must not be cut in two.
    return {"type": "plain_text", "text": _escaped(text[:limit]), "emoji": False}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def _post(client: OutboundClient, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
    try:
        answer = await client.post(url, body, {"Content-Type": "application/json", **headers})
    except AddressRefused as error:
        return Outcome("not sent", error.detail, permanent=True)
    except NotSent as error:
        return Outcome("not sent", error.detail)
    except NoAnswer as error:
        return Outcome("unknown", f"{error.detail}: it may have arrived")
    return _judged(answer)


def _judged(answer: Answer) -> Outcome:
    status = answer.status
    if 200 <= status < 300:
        return Outcome("ok", status=status)
    if status == 410:
        return Outcome("refused", "HTTP 410: the endpoint is gone, and disabled", status, permanent=True, gone=True)
    if 300 <= status < 400:
        return Outcome("refused", f"HTTP {status}: redirects are not followed; set the final address", status)
    return Outcome("refused", f"HTTP {status}", status, retry_after_seconds=answer.retry_after_seconds())
