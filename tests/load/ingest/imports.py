"""What is sent to ingest: bodies, and imports of many of them."""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

LINES = 200_000
# 50,000 events a second of a core, where a bare request took 36.6 µs (performance.md).
BUDGET = 1e6 / 50_000 / 36.6
TEXTS = (
    "The driver was friendly, but the lamp came a day late, and the box had been opened on its way.",
    "Kargo iki gün gecikti ama müşteri hizmetleri hemen geri döndü, kutuyu da değiştirdiler. Sağ olun!",
    "سفارش من دیر رسید و جعبه آسیب دیده بود، اما پشتیبانی خیلی زود پاسخ داد و آن را عوض کرد.",
)


@dataclass(frozen=True)
class Import:
    """One import: bytes of a line, events a second, and events a second of processor time of ingest."""

    line_bytes: float
    events_per_second: float
    events_per_processor_second: float
    arrived: bool


def body(chance: random.Random, name: str) -> bytes:
    """A survey answer like those that shops send (about 440 bytes)."""
    customer = f"c{chance.randrange(5000)}"
    return json.dumps(
        {
            "id": name,
            "kind": "survey_response",
            "occurred_at": f"2026-03-{chance.randrange(1, 29):02}T09:14:{chance.randrange(60):02}Z",
            "channel": "email",
            "touchpoint": chance.choice(["post_purchase", "delivery", "support_call", "store"]),
            "department": chance.choice(["sales", "support", "marketing"]),
            "product": chance.choice(["sofa", "lamp", "rug", "jacket", "tea set"]),
            "survey": {"id": "bench", "type": "transactional"},
            "metric": "nps",
            "score": chance.randrange(11),
            "customer": {"id": customer, "email": f"{customer}@example.com"},
            "text": chance.choice(TEXTS),
            "language": "en",
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


def score(chance: random.Random, name: str) -> bytes:
    """An answer without words or a customer, as exports of old surveys hold them (about 150 bytes)."""
    return json.dumps(
        {
            "id": name,
            "occurred_at": f"2026-03-{chance.randrange(1, 29):02}T09:14:{chance.randrange(60):02}Z",
            "touchpoint": chance.choice(["post_purchase", "delivery", "support_call", "store"]),
            "survey": {"id": "bench", "type": "transactional"},
            "metric": "nps",
            "score": chance.randrange(11),
        },
        separators=(",", ":"),
    ).encode()


IMPORTS: dict[str, Callable[[random.Random, str], bytes]] = {"answers with words": body, "scores alone": score}


async def imports(port: int, key: str, content: bytes) -> tuple[float, bool]:
    """Seconds until all lines are in, and whether they were accepted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    writer.write(
        f"POST /v1/feedback/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: "
        f"application/x-ndjson\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    )
    for first in range(0, len(content), 2**18):
        writer.write(content[first : first + 2**18])
        await writer.drain()
    answer = await reader.readuntil(b"}")
    writer.close()
    return time.perf_counter() - began, b"202" in answer[:16]


def bulk_lines(bulk: dict[str, list[Import]], bare: float | None) -> str:
    """What imports took. Machines differ: an event beside a bare request is what can be compared, and what the budget
    says where it was set."""
    lines = []
    for what, some in bulk.items():
        speed = statistics.median(one.events_per_second for one in some)
        a_core = statistics.median(one.events_per_processor_second for one in some)
        beside = f", an event {1e6 / a_core / bare:.2f} × a bare request (budget {BUDGET:.2f} ×)" if bare else ""
        whole = "" if all(one.arrived for one in some) else "  EVENTS ARE MISSING"
        lines.append(
            f"import of {LINES:,} {what} ({some[0].line_bytes:.0f} bytes a line): {speed:,.0f} events/s, "
            f"{a_core:,.0f} events a second of processor time{beside}{whole}\n"
        )
    return "".join(lines)
