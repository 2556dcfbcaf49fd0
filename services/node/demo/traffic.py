"""Live traffic as vendors send it: through the real endpoints, with real signatures, in three languages."""

import asyncio
import contextlib
import itertools
import json
import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from services.ingest.sources.discourse import Discourse
from services.ingest.sources.proof import Credential, with_proof
from services.ingest.sources.typeform import Typeform
from services.node.demo.brand import Chooser, Customer, band
from services.node.demo.history import answer
from shared.auth.signatures import STANDARD_WEBHOOKS, Signed
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
EVENTS_PER_SECOND = 4.0
# The support line goes down for two minutes, first after one: long enough to see the score sink and alarms go off.
INCIDENT_FIRST_SECONDS = 60.0
INCIDENT_SECONDS = 120.0
INCIDENT_EVERY_SECONDS = 900.0

SHOP_SETTINGS: dict[str, Any] = {
    "channel": "web",
    "only": {"event": ["survey.finished"]},
    "fields": {
        "id": "answer.id",
        "occurred_at": "answer.at",
        "customer.id": "shopper.number",
        "customer.email": "shopper.email",
        "customer.name": "shopper.first_name",
        "segment": "shopper.tier",
        "language": "shopper.language",
        "survey.id": "survey.name",
        "touchpoint": "survey.moment",
        "department": "survey.team",
        "product": "order.product",
        "score": "answer.recommend",
        "text": "answer.why",
    },
    "constants": {"kind": "survey_response", "metric": "nps", "survey.type": "transactional"},
}
FORM_SETTINGS: dict[str, Any] = {
    "channel": "email",
    "touchpoint": "delivery",
    "department": "support",
    "survey_type": "transactional",
    "fields": {"likely": {"metric": "nps"}, "product": {"to": "product"}},
    "hidden": {"customer": "customer.id", "segment": "segment", "language": "language"},
}
FORUM_SETTINGS: dict[str, Any] = {"channel": "forum", "site_url": "https://forum.example.com"}


class Traffic:
    """Customers who answer and write. A component."""

    name = "demo-traffic"

    def __init__(self, client: httpx.AsyncClient, sources: dict[str, tuple[str, str]], people: list[Customer]) -> None:
        """`sources`: name → (path, secret) of `shop`, `form` and `forum`; `client` has the address and a key."""
        self._client = client
        self._sources = sources
        self._people = people
        self._chance = random.Random()  # noqa: S311 - live traffic is different every time
        self._chooser = Chooser(self._chance)
        self._stopping = asyncio.Event()
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._began = time.monotonic()
        self._posts: list[dict[str, Any]] = []
        self.sent = 0
        self.refused = 0

    async def run(self) -> None:
        """Send until `stop`; what is refused or missed is counted, not repeated, as with a vendor without retries."""
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._chance.expovariate(EVENTS_PER_SECOND))
                return
            try:
                response = await self._next()
            except httpx.HTTPError as error:
                self.refused += 1
                log.debug("demo_request_failed", error=type(error).__name__)
                continue
            self.sent += response.is_success
            self.refused += not response.is_success
            if not response.is_success:
                log.warning("demo_request_refused", path=response.request.url.path, status=response.status_code)

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    def incident(self) -> bool:
        """True while the support line is down."""
        since = time.monotonic() - self._began - INCIDENT_FIRST_SECONDS
        return since >= 0 and since % INCIDENT_EVERY_SECONDS < INCIDENT_SECONDS

    async def _next(self) -> httpx.Response:
        ways: list[Callable[[Customer], Any]] = [self._shop, self._form, self._forum, self._call]
        weights = [4, 3, 1, 12 if self.incident() else 2]
        person = self._chance.choice(self._people)
        result: httpx.Response = await self._chance.choices(ways, weights)[0](person)
        return result

    def _answer(self, person: Customer) -> dict[str, Any]:
        return answer(self._chance, self._chooser, person, datetime.now(UTC), drift=0.03)

    async def _shop(self, person: Customer) -> httpx.Response:
        """The web shop's own survey, through the generic connector and a field map."""
        given = self._answer(person)
        body = {
            "event": "survey.finished",
            "answer": {
                "id": f"{self._run}-{next(self._numbers)}",
                "at": given["occurred_at"],
                "recommend": given["ratings"][0]["value"],
                "why": given.get("text"),
            },
            "shopper": {
                "number": person.id,
                "email": person.email,
                "first_name": person.name,
                "tier": person.segment,
                "language": person.language,
            },
            "survey": {"name": "shop-survey", "moment": given["touchpoint"], "team": given["department"]},
            "order": {"product": given.get("product")},
        }
        raw = json.dumps(body, ensure_ascii=False).encode()
        return await self._signed("shop", STANDARD_WEBHOOKS, raw, {"webhook-id": f"msg_{secrets.token_hex(8)}"})

    async def _form(self, person: Customer) -> httpx.Response:
        """A Typeform survey after a delivery."""
        given = self._answer(person)
        value = given["ratings"][0]["value"]
        answers: list[dict[str, Any]] = [
            {"type": "number", "number": value, "field": {"id": "q1", "ref": "likely", "type": "nps"}},
            {"type": "email", "email": person.email, "field": {"id": "q3", "ref": "email", "type": "email"}},
        ]
        if self._chance.random() < 0.5:
            text = self._chooser.answer(person.language, "delivery", band(value))
            answers.append({"type": "text", "text": text, "field": {"id": "q2", "ref": "why", "type": "long_text"}})
        body = {
            "event_id": secrets.token_hex(13),
            "event_type": "form_response",
            "form_response": {
                "form_id": "lT4Z3j",
                "token": f"{self._run}{next(self._numbers):024d}",
                "submitted_at": given["occurred_at"],
                "hidden": {"customer": person.id, "segment": person.segment, "language": person.language},
                "definition": {"id": "lT4Z3j", "title": "After your delivery", "fields": []},
                "answers": answers,
            },
        }
        raw = json.dumps(body, ensure_ascii=False).encode()
        return await self._signed("form", Typeform.proof, raw, {})

    async def _forum(self, person: Customer) -> httpx.Response:
        """A post in the community forum; one in six edits or deletes an earlier one."""
        event = "post_created"
        if self._posts and self._chance.random() < 1 / 6:
            post = self._posts.pop(self._chance.randrange(len(self._posts)))
            event = self._chance.choice(["post_edited", "post_edited", "post_destroyed"])
            post = {**post, "version": post["version"] + 1, "raw": post["raw"] + " 🙏"}
        else:
            number = int(time.time()) % 10**7 * 10 + next(self._numbers) % 10
            post = {
                "id": number,
                "topic_id": number,
                "post_number": 1,
                "topic_title": "Lale community",
                "username": person.email.split("@", 1)[0],
                "name": person.name,
                "user_id": 1000 + self._people.index(person),
                "created_at": datetime.now(UTC).isoformat(),
                "version": 1,
                "raw": self._chooser.message(person.language),
            }
        if event != "post_destroyed":
            self._posts = [*self._posts[-50:], post]
        raw = json.dumps({"post": post}, ensure_ascii=False).encode()
        headers = {"x-discourse-event": event, "x-discourse-event-type": "post"}
        return await self._signed("forum", Discourse.proof, raw, headers)

    async def _call(self, person: Customer) -> httpx.Response:
        """The call centre's own system, by API key; while the line is down its customers say so."""
        given = self._answer(person)
        given |= {"touchpoint": "support_call", "channel": "call_center", "department": "support"}
        given |= {"survey": {"id": "call-survey", "type": "transactional"}}
        if self.incident() and self._chance.random() < 0.85:
            given["ratings"] = [{"metric": "nps", "value": self._chance.choice((0, 0, 1, 2, 3))}]
            given["text"] = self._chooser.incident(person.language)
        return await self._client.post("/v1/feedback", json={"id": f"call-{self._run}-{next(self._numbers)}", **given})

    async def _signed(self, source: str, proof: Credential, raw: bytes, headers: dict[str, str]) -> httpx.Response:
        path, secret = self._sources[source]
        message = with_proof(proof, Signed(raw, {**headers, "content-type": "application/json"}), secret)
        return await self._client.post(path, content=raw, headers=dict(message.headers))
