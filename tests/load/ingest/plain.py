"""What a good tutorial would give: FastAPI, a pydantic body, `send_and_wait` of aiokafka. The same job as ours: verify
the signature over the raw body, check the fields, publish an event with ids that repeat, then answer 202."""

import hashlib
import hmac
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

SECRET = os.environ["BENCH_SECRET"].encode()
SPACE = uuid.UUID("5f1c0a8e-7d0c-5f0e-9a54-3a1d6c1d7b55")


class Survey(BaseModel):
    id: str = Field(min_length=1, max_length=80)
    type: str


class Customer(BaseModel):
    id: str | None = None
    email: str | None = None


class Feedback(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=200)
    kind: str
    occurred_at: datetime
    channel: str
    touchpoint: str
    department: str
    product: str
    survey: Survey
    metric: str
    score: float = Field(ge=0, le=10)
    customer: Customer
    text: str = Field(max_length=65_536)
    language: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["BENCH_KAFKA"], acks="all", enable_idempotence=True, linger_ms=2
    )
    await producer.start()
    app.state.producer = producer
    yield
    await producer.stop()


app = FastAPI(lifespan=lifespan)


@app.post("/v1/sources/{key}", status_code=202)
async def take(key: str, request: Request) -> dict[str, Any]:
    body = await request.body()
    expected = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, request.headers.get("x-signature", "")):
        raise HTTPException(401)
    feedback = Feedback.model_validate_json(body)
    feedback_id = uuid.uuid5(SPACE, f"feedback/{feedback.id}")
    customer_id = uuid.uuid5(SPACE, f"customer/{feedback.customer.id}")
    event = {
        **feedback.model_dump(mode="json"),
        "feedback_id": str(feedback_id),
        "customer_id": str(customer_id),
        "received_at": datetime.now(UTC).isoformat(),
    }
    headers = [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", str(uuid.uuid5(SPACE, f"event/{feedback.id}/0")).encode()),
        ("ce_type", b"dev.closeloop.feedback.received.v1"),
        ("ce_source", b"bench"),
        ("ce_time", event["received_at"].encode()),
        ("ce_workspace", b"bench"),
        ("ce_correlationid", str(feedback_id).encode()),
    ]
    value = Event(**event).model_dump_json().encode()
    await app.state.producer.send_and_wait(
        "feedback.received.v1", value, key=f"bench/{customer_id}".encode(), headers=headers
    )
    return {"accepted": 1}


class Event(BaseModel):
    model_config = ConfigDict(extra="allow")
