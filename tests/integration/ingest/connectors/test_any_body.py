"""Whatever is posted to whichever connector: events that every consumer can read, a reason, or nothing; and whatever is
done to what proves a delivery: a refusal. RUNS=400 makes it more than 10,000 bodies and 5,000 mutations."""

import json
import os
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.ingest.sources import CONNECTORS
from services.ingest.sources.proof import Address, proven, with_proof
from shared.auth.signatures import Ed25519, Scheme, Signed
from shared.bus import codec
from tests.integration.ingest.connectors.cases import Given, Lacks, cases_of, raw, with_body
from tests.integration.ingest.connectors.test_connectors import (
    as_record,
    attempted,
    first_proof,
    places,
    replaced,
    secret_of,
)
from tests.unit.ingest.test_decoding import json_values

RUNS = int(os.environ.get("RUNS", "20"))
QUIET = settings(max_examples=RUNS, deadline=None, suppress_health_check=list(HealthCheck))
NAMES = sorted(CONNECTORS)
PROVING = [name for name in NAMES if not isinstance(first_proof(name), Address)]


def bodies_of(name: str) -> list[tuple[Given, Any]]:
    """Deliveries whose bodies are JSON, and those bodies."""
    found = []
    for sent in cases_of(name).all_sent(name).values():
        try:
            found.append((sent, json.loads(raw(sent.body))))
        except ValueError:
            continue
    return found or [(cases_of(name).first_sent(name), {})]


@pytest.mark.parametrize("name", NAMES)
def test_any_body_is_understood_or_refused(name: str) -> None:
    cases, known = cases_of(name), bodies_of(name)

    @QUIET
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        sent, body = data.draw(st.sampled_from(known))
        for _ in range(data.draw(st.integers(1, 4))):
            path = data.draw(st.sampled_from(list(places(body))))
            body = replaced(body, path, data.draw(json_values))
        for event in attempted(name, cases, with_body(sent, json.dumps(body).encode()))[1]:
            assert codec.decode(as_record(event)).data == event.data

    check()


@pytest.mark.parametrize("name", NAMES)
def test_any_bytes_are_understood_or_refused(name: str) -> None:
    cases, sent = cases_of(name), bodies_of(name)[0][0]

    @settings(QUIET, max_examples=max(10, RUNS // 4))
    @given(content=st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0d8 \n1e', max_size=120).map(str.encode))
    def check(content: bytes) -> None:
        for event in attempted(name, cases, with_body(sent, content))[1]:
            assert codec.decode(as_record(event)).data == event.data

    check()


@pytest.mark.parametrize("name", PROVING)
def test_a_mutated_proof_is_no_proof(name: str) -> None:
    form, cases = first_proof(name), cases_of(name)
    if isinstance(form, Ed25519):
        vector = cases.vector
        assert not isinstance(vector, Lacks)
        good, secret, now = vector.message(), vector.secret, vector.now
    else:
        secret, now = secret_of(name), time.time()
        good = with_proof(form, cases.first_sent(name).message(), secret)
    assert proven(form, good, [secret], now=now)
    names = (form.header, getattr(form, "timestamp_header", None), getattr(form, "id_header", None))
    signed = [one.lower() for one in names if one]
    covers_body = isinstance(form, Scheme | Ed25519)

    @QUIET
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        place = data.draw(st.sampled_from([*signed, "body"] if covers_body else signed))
        at, change = data.draw(st.integers(0, 10_000)), data.draw(st.sampled_from(["flip", "cut", "add", "drop"]))
        if place == "body":
            changed = replace(good, body=mutated(good.body, at, change))
        else:
            text = mutated(good.headers[place].encode(), at, change).decode("latin-1")
            changed = replace(good, headers={**good.headers, place: text})
        if same(good, changed, place):
            return
        assert not proven(form, changed, [secret], now=now), (place, at, change)

    check()


def mutated(content: bytes, at: int, change: str) -> bytes:
    at %= max(1, len(content))
    if change == "flip":
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] if content else b"x"
    if change == "cut":
        return content[:at]
    return content[:at] + b"0" + content[at:] if change == "add" else content[:at] + content[at + 1 :]


def same(good: Signed, changed: Signed, place: str) -> bool:
    """What the receiver takes for the same value is no mutation: blanks around it, hex in capitals."""
    if place == "body":
        return good.body == changed.body
    return good.headers[place].strip().lower() == changed.headers[place].strip().lower()
