"""Customers who post feedback at a paced rate to several addresses of ingest, each waiting for the last answer.

A customer's next feedback is sent only when the last one was answered or given up, so that the order in which theirs
were accepted is known. The same seed makes a customer say the same things in the same order.
"""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.ingest.domain import event_id, feedback_id
from tests.fault.history import Attempt, History, outcome_of
from tests.load.client import Connection

TIMEOUT_SECONDS = 6.0
WRONG_SHARE = 0.01  # bodies that no API may accept
TEXT_SHARE = 0.1
PROMOTER_SHARE = DETRACTOR_SHARE = 0.1
RETRY_SHARE = 0.5  # of what may have happened is sent again, until it is accepted; the rest is left open
HOT_SHARE = 0.5  # posts by one of the last few who were answered: nothing tests order like haste
_HOT = 4
_RETRY_SECONDS = 0.3
_KEPT_SECONDS = 2.0
_TEXTS = (
    "The courier was late and nobody answered.",
    "The lamp is broken.",
    "Lovely, thank you.",
    "Where is my refund?",
)


@dataclass(frozen=True)
class Terms:
    """How a load behaves. `label` keeps the ids of two loads apart."""

    label: str
    seed: int
    rate: float
    customers: int = 300
    workspace: str = "main"
    promoter_share: float = PROMOTER_SHARE
    wrong_share: float = WRONG_SHARE


class Load:
    """Start it with `run`, end it with `stop`."""

    def __init__(self, addresses: Sequence[str], key: str, history: History, terms: Terms) -> None:
        self.terms = terms
        self.history = history
        self.statuses: Counter[int] = Counter()
        self.late = 0  # posts that had to wait for a free customer
        self._ports = [urlsplit(address).port or 80 for address in addresses]
        self._key = key
        self._dice = random.Random(terms.seed)
        self._sequences = [0] * terms.customers
        self._free = list(range(terms.customers))
        self._hot: deque[int] = deque(maxlen=_HOT)
        self._idle: dict[int, list[tuple[Connection, float]]] = {port: [] for port in self._ports}
        self._posts: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Post until `stop`, then wait for the answers."""
        began, turn = time.monotonic(), 0
        while not self._stopping.is_set():
            due = began + turn / self.terms.rate
            if (early := due - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), early)
                continue
            turn += 1
            if not self._free:
                self.late += 1
                continue
            post = asyncio.create_task(self._post(self._next_customer()))
            self._posts.add(post)
            post.add_done_callback(self._posts.discard)
        if self._posts:
            await asyncio.wait(self._posts)
        for connection, _ in (one for idle in self._idle.values() for one in idle):
            await connection.__aexit__()

    def stop(self) -> None:
        """Post nothing new."""
        self._stopping.set()

    def _next_customer(self) -> int:
        hot = [customer for customer in self._hot if customer in self._free]
        customer = self._dice.choice(hot if hot and self._dice.random() < HOT_SHARE else self._free)
        self._free.remove(customer)
        return customer

    async def _post(self, customer: int) -> None:
        try:
            sequence, self._sequences[customer] = self._sequences[customer], self._sequences[customer] + 1
            object_id = f"{self.terms.label}-{customer}-{sequence}"
            body = self._body(object_id, customer, sequence)
            again = self._dice.random() < RETRY_SHARE
            for number in range(1, 100):
                status = await self._attempt(object_id, customer, sequence, number, body)
                if outcome_of(status) != "info" or not again or self._stopping.is_set():
                    return
                await asyncio.sleep(_RETRY_SECONDS)
        finally:
            self._free.append(customer)
            self._hot.append(customer)

    async def _attempt(self, object_id: str, customer: int, sequence: int, number: int, body: bytes) -> int:
        port = self._dice.choice(self._ports)
        began = time.monotonic()
        status = await self._request(port, body)
        workspace = self.terms.workspace
        self.statuses[status] += 1
        self.history.note(
            Attempt(
                event_id(workspace, "api", object_id, 0),
                feedback_id(workspace, "api", object_id),
                customer,
                sequence,
                number,
                outcome_of(status),
                status,
                time.time(),
                round(time.monotonic() - began, 4),
                str(port),
            )
        )
        return status

    async def _request(self, port: int, body: bytes) -> int:
        """The status; 0 where none came."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                connection = await self._connection(port)
                status, _ = await connection.request("POST", "/v1/feedback", body)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            if connection is not None:
                await connection.__aexit__()
            return 0
        self._idle[port].append((connection, time.monotonic()))
        return status

    async def _connection(self, port: int) -> Connection:
        """One that waits, or a new one: a server closes those that waited long, and that is no failure of its own."""
        while self._idle[port]:
            connection, since = self._idle[port].pop()
            if time.monotonic() - since < _KEPT_SECONDS:
                return connection
            await connection.__aexit__()
        return await Connection(port, self._key).__aenter__()

    def _body(self, object_id: str, customer: int, sequence: int) -> bytes:
        dice, person = random.Random(f"{self.terms.seed} {object_id}"), f"{self.terms.label}-{customer}"
        mood = dice.random()
        promoter = mood < self.terms.promoter_share
        score = 9 if promoter else 2 if mood > 1 - DETRACTOR_SHARE else 7
        text = f"{sequence}: {dice.choice(_TEXTS)}" if dice.random() < TEXT_SHARE else None
        body = {
            "id": object_id,
            "channel": "email",
            "touchpoint": dice.choice(("delivery", "store", "support_call")),
            "survey": {"id": "fault", "type": "transactional"},
            "metric": "nps",
            "score": 99 if dice.random() < self.terms.wrong_share else score,
            "customer": {"id": person, "email": f"{person}@example.org"},
            "language": "en",
        }
        return json.dumps(body | ({"text": text} if text else {"thread_id": str(sequence)})).encode()
