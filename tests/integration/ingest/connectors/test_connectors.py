"""The table: each connector has each case or says why it cannot, and each holds."""

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from services.ingest.sources import CONNECTORS
from services.ingest.sources.base import Parsed, SourceSettings, configured
from services.ingest.sources.fetching import FetchingConnector
from services.ingest.sources.proof import Address, Bearer, proven, with_proof
from shared.auth.signatures import Ed25519, Scheme, Signed
from shared.bus import codec
from shared.bus.port import PlainRecord
from shared.contracts.envelope import Event
from shared.core.errors import BadRecord, Fault, InvalidInput
from tests.integration.ingest.connectors.cases import (
    PAYLOADS,
    Cases,
    Given,
    Lacks,
    Sent,
    cases_of,
    raw,
    read,
    value_at,
    with_body,
)

NAMES = sorted(CONNECTORS)
PAGES = Path(__file__).parents[4] / "docs" / "connectors"
SECRET = "s3cr3t-0123456789-abcdefghijklmnop"
HOSTILE: tuple[Any, ...] = (
    *(None, True, "", " ", "x" * 300, "\u202e\u2066<script>alert(1)</script>", "a\x00b", "💥" * 50, "00", "-1"),
    *(0, -1, 2**53 + 1, 1e300, 0.5, [], [[]], [{}], {}, {"id": {"id": []}}, ["a"] * 40, "2026-13-45T99:99:99Z"),
)
# A part of all variants, spread over all places; RUNS=400 takes all of them.
MOST_VARIANTS = 10 * int(os.environ.get("RUNS", "30"))


def credential_of(name: str, cases: Cases) -> Any:
    connector = CONNECTORS[name]
    return connector.credential(configured(connector, cases.settings))


def first_proof(name: str) -> Any:
    credential = credential_of(name, cases_of(name))
    return credential[0] if isinstance(credential, tuple) else credential


def secret_of(name: str) -> str:
    form = first_proof(name)
    standard = isinstance(form, Scheme) and form.key_form == "whsec"
    return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" if standard else SECRET


def expect(events: list[Event[Any]], sent: Given) -> None:
    found = [
        {path: value_at(event, path) for path in wanted} for event, wanted in zip(events, sent.events, strict=True)
    ]
    assert found == [dict(wanted) for wanted in sent.events]


def test_the_table_has_every_connector_and_each_case_is_there_or_explained() -> None:
    for name in NAMES:
        cases = cases_of(name)
        for what in ("vector", "edit", "delete", "batch", "skips", "handshakes"):
            case = getattr(cases, what)
            assert not isinstance(case, Lacks) or len(case.reason) > 10, (name, what)
        assert cases.first, f"{name}: the sample must give something"


def test_the_index_of_the_pages_is_whole() -> None:
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[(\w+)\]\(\1\.md\)", index, flags=re.MULTILINE)) == NAMES
    assert sorted(page.stem for page in PAGES.glob("*.md")) == sorted(["README", *NAMES])


@pytest.mark.parametrize("name", NAMES)
def test_a_page_tells_what_to_do_at_the_vendor_and_what_is_read(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    wanted = ["## At the vendor", "## What is read", "## What isn't read", "## Unverified"]
    assert [line for line in page.splitlines() if line.startswith("## ")] == wanted
    assert f"closeloop sources add {name} " in page
    for setting in CONNECTORS[name].settings.model_fields.keys() - SourceSettings.model_fields.keys():
        assert f"`{setting.rstrip('_')}`" in page, f"{setting} is not explained"


@pytest.mark.parametrize("name", NAMES)
def test_samples_give_what_they_say(name: str) -> None:
    cases = cases_of(name)
    for what, sent in cases.all_sent(name).items():
        _, events, error = read(name, cases, sent)
        assert error is None, (what, error and error.faults)
        assert events, what
        expect(events, sent)
        for event in events:
            decoded = codec.decode(as_record(event))
            assert decoded.data == event.data, what


def as_record(event: Event[Any]) -> PlainRecord:
    message = codec.encode(event)
    return PlainRecord(message.topic, 0, 0, message.key, message.value, message.headers)


@pytest.mark.parametrize("name", NAMES)
def test_the_vector_is_proven_and_nothing_near_it(name: str) -> None:
    vector = cases_of(name).vector
    credential = credential_of(name, cases_of(name))
    if isinstance(vector, Lacks):
        assert isinstance(credential, Address), f"{name} signs: give a vector"
        return
    message = vector.message()

    def good(given: Signed, *secrets: str, now: float = vector.now) -> bool:
        return proven(credential, given, secrets, now=now)

    assert good(message, vector.secret)
    assert good(message, SECRET, vector.secret), "two active secrets"
    other = vector.secret[:-2] + ("00" if vector.secret[-2:] != "00" else "11")
    assert not good(message, other)
    assert not good(message)
    if isinstance(first_proof(name), Bearer):
        return  # it says nothing about the body
    assert not good(replace(message, body=message.body + b" "), vector.secret)
    for header in message.headers:
        without = {key: text for key, text in message.headers.items() if key != header}
        if header != "content-type":
            assert not good(replace(message, headers=without), vector.secret), f"without {header}"


@pytest.mark.parametrize("name", NAMES)
def test_a_stale_time_is_refused_where_the_vendor_signs_one(name: str) -> None:
    cases, form = cases_of(name), first_proof(name)
    tolerance = getattr(form, "tolerance_seconds", None)
    if tolerance is None:
        assert not (isinstance(form, Scheme) and "{timestamp}" in form.signed), f"{name} signs a time: set a tolerance"
        return
    vector = cases.vector
    assert not isinstance(vector, Lacks)
    for late in (-tolerance - 2, tolerance + 2):
        assert not proven(form, vector.message(), [vector.secret], now=vector.now + late)
    for late in (-tolerance + 1, tolerance - 1):
        assert proven(form, vector.message(), [vector.secret], now=vector.now + late)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_signature_is_refused_and_either_of_two_secrets_does(name: str) -> None:
    cases, form = cases_of(name), first_proof(name)
    if isinstance(form, Address | Ed25519):
        return
    message = cases.first_sent(name).message()
    mine, old = (
        secret_of(name),
        secret_of(name)[::-1] if not secret_of(name).startswith("whsec") else "whsec_" + "A" * 32,
    )
    for secret in (mine, old):
        assert proven(form, with_proof(form, message, secret), [mine, old], now=time.time())
    assert not proven(form, with_proof(form, message, old), [mine], now=time.time())
    assert not proven(form, message, [mine, old], now=time.time())


@pytest.mark.parametrize("name", NAMES)
def test_a_replay_is_the_same_event(name: str) -> None:
    cases = cases_of(name)
    for what, sent in cases.all_sent(name).items():
        once, again = (read(name, cases, sent)[1] for _ in range(2))
        assert [event.id for event in once] == [event.id for event in again], what
        assert len({event.id for event in once}) == len(once), what


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["edit", "delete"])
def test_edits_and_deletes_are_higher_revisions_of_one_feedback(name: str, what: str) -> None:
    cases = cases_of(name)
    pair = getattr(cases, what)
    if isinstance(pair, Lacks):
        return
    (first,), (second,) = (read(name, cases, sent)[1] for sent in pair)
    assert first.data.feedback_id == second.data.feedback_id
    assert first.data.revision < second.data.revision
    assert (first.data.removed, second.data.removed) == (False, what == "delete")


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_gives_several_events(name: str) -> None:
    cases = cases_of(name)
    if not isinstance(cases.batch, Lacks):
        _, events, error = read(name, cases, cases.batch)
        assert error is None
        assert len({event.data.feedback_id for event in events}) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_deliveries_of_ids_say_what_to_fetch(name: str) -> None:
    cases, connector = cases_of(name), CONNECTORS[name]
    assert isinstance(connector, FetchingConnector) or not cases.deliveries
    for what, (sent, wanted) in cases.deliveries.items():
        parsed, events, error = read(name, cases, sent)
        assert (parsed.wanted, events, error) == ([wanted], [], None), what


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_feedback_is_left_out_with_its_reason(name: str) -> None:
    cases = cases_of(name)
    if isinstance(cases.skips, Lacks):
        return
    for reason, sent in cases.skips.items():
        parsed, events, error = read(name, cases, sent)
        assert (dict(parsed.skipped), events, error) == ({reason: 1}, [], None), reason


@pytest.mark.parametrize("name", NAMES)
def test_handshakes_are_answered_to_the_byte(name: str) -> None:
    cases = cases_of(name)
    if isinstance(cases.handshakes, Lacks):
        return
    connector = CONNECTORS[name]
    settings = configured(connector, cases.settings)
    for one in cases.handshakes:
        headers = {key.lower(): text for key, text in one.headers.items()}
        message = Signed(raw(one.body), headers, one.method, "https://in.example.com/v1/sources/key", dict(one.query))
        if one.method == "POST":
            assert connector.parse(settings, message).answer == one.answer
        else:
            assert connector.greet(settings, message, (one.secret or SECRET,), "key") == one.answer


@pytest.mark.parametrize("name", NAMES)
def test_what_it_cannot_read_is_told_and_never_a_crash(name: str) -> None:
    cases = cases_of(name)
    for sent in cases.unreadable:
        parsed, events, faults = attempted(name, cases, sent)
        assert faults or parsed.skipped or parsed.answer or not events


@pytest.mark.parametrize("name", NAMES)
def test_hostile_variants_are_understood_or_refused(name: str) -> None:
    """Every place of every sample with something else in it: an event that every consumer can read, or a reason."""
    cases = cases_of(name)
    accepted = 0
    for variant in variants(name, cases):
        _, events, _ = attempted(name, cases, variant)
        for event in events:
            assert codec.decode(as_record(event)).data == event.data
            accepted += 1
    assert accepted, "some places do not matter, or all of it is refused"


def attempted(name: str, cases: Cases, sent: Given) -> tuple[Parsed, list[Event[Any]], Sequence[Fault]]:
    """What it gives, and what it says is wrong: an error that names no place helps nobody."""
    try:
        parsed, events, error = read(name, cases, sent)
    except InvalidInput as refused:
        parsed, events, error = Parsed(), [], BadRecord(refused.detail, faults=refused.faults)
    faults = error.faults if error else ()
    assert error is None or faults, error
    return parsed, events, faults


def variants(name: str, cases: Cases) -> Iterator[Given]:
    deliveries = (delivery for delivery, _ in cases.deliveries.values())
    every: list[tuple[Given, Any, tuple[Any, ...], Any]] = []
    for sent in (*deliveries, *cases.all_sent(name).values()):
        try:
            body = json.loads(raw(sent.body))
        except ValueError:
            yield from byte_variants(sent)
            continue
        every += [(sent, body, path, hostile) for path in places(body) for hostile in HOSTILE]
    for sent, body, path, hostile in every[:: max(1, len(every) // MOST_VARIANTS)]:
        yield with_body(sent, json.dumps(replaced(body, path, hostile)).encode())


def byte_variants(sent: Given) -> Iterator[Given]:
    body = raw(sent.body)
    step = max(1, len(body) // 200)
    for at in range(0, len(body), step):
        yield with_body(sent, body[:at])
        yield with_body(sent, body[:at] + b"\xff\x00" + body[at + 1 :])
    yield sent


def places(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for step, value in items:
        yield from places(value, (*path, step))


def replaced(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copied = dict(body) if isinstance(body, dict) else list(body)
    copied[path[0]] = replaced(body[path[0]], path[1:], value)
    return copied


def published() -> list[Any]:
    """Real bodies of vendors, where they are at hand: `<connector>-<what>`."""
    files = sorted(PAYLOADS.glob("*.json")) if PAYLOADS.is_dir() else []
    named = [(name, file) for file in files for name in NAMES if file.name.startswith(f"{name}-")]
    return [pytest.param(name, file, id=file.stem) for name, file in named]


@pytest.mark.parametrize(("name", "file"), published())
def test_published_bodies_are_understood_or_left_out(name: str, file: Any) -> None:
    cases = cases_of(name)
    parsed, events, error = read(name, cases, Sent(file.read_bytes()))
    assert error is None, error.faults
    assert events or parsed.skipped or parsed.answer or parsed.wanted
