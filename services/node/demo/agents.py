"""Lale's support people at work: they take, answer and resolve, most in time, some too late."""

import asyncio
import contextlib
import random
import time
from typing import Any

import httpx

from shared.telemetry.logging import get_logger

log = get_logger(__name__)
_LOOK_EVERY_SECONDS = 1.0
# How long a person needs for a first answer, in seconds: most are quicker than the demo's clocks, one in seven is not.
_QUICK = (5.0, 35.0)
_SLOW = (70.0, 180.0)
_SLOW_SHARE = 0.14
_RESOLVE = (10.0, 40.0)
_CAUSES = (("carrier_delay", "voucher_sent"), ("damaged_item", "replacement_sent"), ("wrong_charge", "refund_made"),
           ("long_wait", "called_back"), ("question", "explained"))  # fmt: skip


class Agents:
    """Works through the assignments that members have. A component."""

    name = "demo-agents"

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._chance = random.Random()  # noqa: S311 - people are different every day
        self._due: dict[str, float] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._stopping.is_set():
            try:
                await self._look()
            except httpx.HTTPError as error:
                log.debug("demo_request_failed", error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _LOOK_EVERY_SECONDS)

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def _look(self) -> None:
        response = await self._client.get(
            "/v1/assignments", params={"state": ["assigned", "taken", "answered"], "limit": 200}
        )
        if not response.is_success:
            return
        now = time.monotonic()
        for assignment in response.json()["items"]:
            if assignment["member"] is None:
                continue
            due = self._due.setdefault(assignment["id"] + assignment["state"], now + self._patience(assignment))
            if due <= now:
                await self._act(assignment)

    def _patience(self, assignment: dict[str, Any]) -> float:
        if assignment["state"] == "answered":
            return self._chance.uniform(*_RESOLVE)
        if assignment["state"] == "taken":
            return self._chance.uniform(2, 8)
        slow = self._chance.random() < _SLOW_SHARE
        return self._chance.uniform(*(_SLOW if slow else _QUICK))

    async def _act(self, assignment: dict[str, Any]) -> None:
        step = {"assigned": "take", "taken": "answer", "answered": "resolve"}[assignment["state"]]
        body: dict[str, Any] = {"member": assignment["member"]}
        if step == "resolve":
            body["cause"], body["action"] = self._chance.choice(_CAUSES)
        response = await self._client.post(f"/v1/assignments/{assignment['id']}/{step}", json=body)
        self._due.pop(assignment["id"] + assignment["state"], None)
        if not response.is_success and response.status_code != httpx.codes.CONFLICT:
            log.warning("demo_agent_refused", step=step, status=response.status_code)
