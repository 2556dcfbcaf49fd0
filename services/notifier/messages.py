"""Prepare: from a claimed follow-up and its facts to a message that a transport can send. No I/O."""

import base64
import hashlib
import hmac
import re
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from services.notifier.catalogue import Catalogue, render
from services.notifier.config import NotifierSettings
from services.notifier.transports.outcome import Outgoing
from services.notifier.wording import Words, clean_line, person_name

_MAC_BYTES = 16
_WORKSPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Signer:
    """Signs unsubscribe links and derives webhook secrets from the installation's key."""

    def __init__(self) -> None:
        self._key = b""

    def use(self, key: bytes) -> None:
        """Set the key, once, at start."""
        self._key = key

    def token(self, workspace: str, followup: UUID) -> str:
        """What stands in an unsubscribe link: it names a follow-up, not a person."""
        raw = followup.bytes + self._mac("unsubscribe", workspace, followup.hex)[:_MAC_BYTES]
        return f"{workspace}.{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"

    def read_token(self, token: str) -> tuple[str, UUID] | None:
        """(workspace, follow-up) of a token of ours, else None; compares in constant time."""
        workspace, _, encoded = token.partition(".")
        if not _WORKSPACE.fullmatch(workspace) or len(encoded) != 43:
            return None
        try:
            raw = base64.urlsafe_b64decode(encoded + "=")
        except ValueError:
            return None
        followup = UUID(bytes=raw[:16])
        good = hmac.compare_digest(raw[16:], self._mac("unsubscribe", workspace, followup.hex)[:_MAC_BYTES])
        return (workspace, followup) if good else None

    def webhook_secret(self, workspace: str, audience: str, version: int) -> str:
        """The secret that signs a workspace's webhooks, in the form of Standard Webhooks; 256 bits."""
        return f"whsec_{base64.b64encode(self._mac('webhook', workspace, audience, str(version))).decode()}"

    def _mac(self, *parts: str) -> bytes:
        if not self._key:
            raise RuntimeError("the installation's key is read at start")
        return hmac.digest(self._key, "\x1f".join(parts).encode(), hashlib.sha256)


class Composer:
    """Fills templates."""

    def __init__(self, settings: NotifierSettings, catalogue: Catalogue, signer: Signer) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._signer = signer
        self._zone = ZoneInfo(settings.time_zone)

    def compose(self, row: Any, facts: Any) -> Outgoing:
        """The message of a claimed row. Raises InvalidInput when its template is gone."""
        template = self._catalogue.find(row.template, row.language)
        words = self._catalogue.words(template.language)
        brand = clean_line(self._settings.brand_name) or row.workspace.replace("-", " ").replace("_", " ").title()
        unsubscribe = None
        if row.audience == "customer":
            token = self._signer.token(row.workspace, row.id)
            unsubscribe = f"{self._settings.base_url()}/unsubscribe/{token}"
        values = self._values(row, facts, words) | {"unsubscribe_url": unsubscribe or ""}
        return Outgoing(
            id=row.id,
            workspace=row.workspace,
            recipient=row.recipient,
            message=render(template, words, values, brand=brand),
            brand=brand,
            unsubscribe_url=unsubscribe,
            fields=_fields(row),
            secret=self._signer.webhook_secret(row.workspace, row.audience, facts.secret_version or 1),
        )

    def _values(self, row: Any, facts: Any, words: Words) -> dict[str, str]:
        kept: dict[str, Any] = row.facts
        unknown = words.get("unknown")
        name = person_name(facts.name)
        due = words.moment(facts.first_response_due_at, self._zone) if facts.first_response_due_at else ""
        greeting = words.get("greeting_named").replace("{{customer_name}}", name) if name else words.get("greeting")
        pending = facts.first_response_due_at is not None and facts.first_response_at is None
        values = {
            "customer_name": name or words.get("somebody"),
            "greeting": greeting,
            "agent_name": person_name(facts.member_name) or words.get("nobody"),
            "promise": words.get("promise_at").replace("{{due_time}}", due) if pending else words.get("promise_soon"),
            "due_time": due or unknown,
            "band": words.get(row.band) if row.band else unknown,
            "priority": words.get(facts.priority) if facts.priority else unknown,
            "touchpoint": facts.touchpoint or kept.get("touchpoint") or unknown,
            "department": facts.department or facts.understood_department or kept.get("department") or unknown,
            "channel": facts.channel or kept.get("channel") or unknown,
            "product": facts.product or unknown,
            "team": facts.team or kept.get("team") or unknown,
            "case_id": str(row.assignment_id or row.feedback_id)[:8],
            "alert_text": words.get(kept.get("alert") or "unknown"),
        }
        for score in ("score_name", "score_value", "score_before", "score_count", "score_target"):
            values[score] = str(kept.get(score) or unknown)
        values["score_contributors"] = str(kept.get("score_contributors") or words.get("none"))
        return values | self._urls(row)

    def _urls(self, row: Any) -> dict[str, str]:
        settings = self._settings
        case = str(row.assignment_id or "")
        urls = {
            "case_url": settings.case_url if case else "",
            "survey_url": settings.survey_url,
            "invite_url": settings.invite_url,
            "review_url": settings.review_url,
        }
        return {
            name: url.replace("{case_id}", case).replace("{feedback_id}", str(row.feedback_id))
            for name, url in urls.items()
        }


def _fields(row: Any) -> dict[str, Any]:
    return {
        "workspace": row.workspace,
        "play": row.play,
        "step": row.step,
        "audience": row.audience,
        "template": row.template,
        "band": row.band,
        "feedback_id": str(row.feedback_id),
        "assignment_id": str(row.assignment_id) if row.assignment_id else None,
        "customer_id": str(row.customer_id) if row.customer_id else None,
    }
