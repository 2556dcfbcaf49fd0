"""What deliveries only name is fetched from the vendor's API, whatever that does meanwhile."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pydantic import SecretStr
from typer.testing import CliRunner

from services.ingest import fetching
from services.ingest.admin import SourceSecret
from services.ingest.cipher import cipher_of
from services.ingest.directory import source_of
from services.ingest.fetching import Fetcher
from services.ingest.sources import CONNECTORS
from services.ingest.sources.proof import with_proof
from services.ingest.sources.samples import sample, sample_answer
from services.node.commands import sources
from shared.core.errors import InvalidInput, NotFound
from shared.http.outbound import OutboundClient
from shared.telemetry.metrics import FETCHES
from tests.integration.ingest.conftest import WORKSPACE, Ingest, signed_headers
from tests.integration.ingest.vendor import Vendor, running_vendor
from tests.support.poll import eventually

TOKEN = "sm-token-0123456789-abcdef"
ANSWER = json.loads(sample_answer("surveymonkey"))
BODY = json.loads(sample("surveymonkey").body)
FIELDS = {"501": {"metric": "nps"}, "502": {"metric": "ces", "scale_min": 1, "scale_max": 7}}


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing wakes it here, where only the commits of a test do."""
    monkeypatch.setattr(fetching, "_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(fetching, "_POLLERS_SECONDS", 0.1)


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with running_vendor() as running:
        running.authorization = ("authorization", f"Bearer {TOKEN}")
        yield running


def settings_of(vendor: Vendor, **changed: Any) -> dict[str, Any]:
    return {"client_id": "lale-client", "api_url": vendor.url, "requests_per_minute": 6000, "fields": FIELDS} | changed


async def survey(ingest: Ingest, vendor: Vendor, name: str = "survey", **changed: Any) -> SourceSecret:
    token = changed.pop("token", TOKEN)
    return await ingest.admin.add(WORKSPACE, name, "surveymonkey", settings_of(vendor, **changed), token=token)


def path(number: str) -> str:
    return f"/v3/surveys/843721/responses/{number}/details"


def answered(vendor: Vendor, *numbers: str) -> None:
    for number in numbers:
        vendor.objects[path(number)] = {**ANSWER, "id": number}


async def deliver(ingest: Ingest, source: SourceSecret, *numbers: str) -> None:
    for number in numbers:
        body = json.dumps({**BODY, "object_id": number}).encode()
        headers = signed_headers(source, body, {"client_id": "lale-client"}, {})
        answer = await ingest.client.post(source.path, content=body, headers=headers)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "parked": 0, "skipped": {}})


async def rows(ingest: Ingest) -> list[Any]:
    async with ingest.database.reader() as reader:
        wait = "extract(epoch from due_at - clock_timestamp())::float8 as seconds"
        return list(await reader.all(f"select *, {wait} from wanted order by object"))


async def pause_of(ingest: Ingest, name: str = "survey") -> float:
    async with ingest.database.reader() as reader:
        seconds: float = await reader.scalar(
            "select extract(epoch from fetch_after - clock_timestamp())::float8 from source where name = :name",
            {"name": name},
        )
        return seconds


async def later(ingest: Ingest, interval: str = "0 s") -> None:
    """All waits are over, and what waits has waited for so long."""
    async with ingest.database.unit_of_work() as uow:
        await uow.execute("update source set fetch_after = 'epoch'")
        await uow.execute(
            "update wanted set due_at = clock_timestamp(), first_due_at = first_due_at - cast(:age as text)::interval",
            {"age": interval},
        )


@asynccontextmanager
async def fetchers(
    ingest: Ingest, folder: Path, number: int = 1, *, total_seconds: float = 5.0, **more: Any
) -> AsyncIterator[list[Fetcher]]:
    """So many processes that fetch, for the time of the block."""
    client = OutboundClient(allow_private=True, total_seconds=total_seconds)
    cipher = cipher_of(SecretStr(""), folder)
    parts = [made(ingest, cipher, client, **more) for _ in range(number)]
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        yield parts
    finally:
        for part in parts:
            await part.stop()
        await asyncio.gather(*tasks)
        await client.close()


def made(ingest: Ingest, cipher: Any, client: OutboundClient, **more: Any) -> Fetcher:
    """A fetcher of another process."""
    own = next(part for part in ingest.service.components if isinstance(part, Fetcher))
    return Fetcher(ingest.database, cipher, client, own._outlet, asyncio.Event(), **more)


async def settled(ingest: Ingest) -> None:
    async def nothing_waits() -> bool:
        return not await rows(ingest)

    await eventually(nothing_waits)


async def attempted(ingest: Ingest, attempts: int = 1) -> Any:
    async def tried() -> Any:
        [row] = await rows(ingest)
        return row if row.attempts == attempts and row.leased_until is None else None

    return await eventually(tried)


def counted(outcome: str) -> float:
    value: float = FETCHES.labels("surveymonkey", outcome)._value.get()
    return value


# The way of a response


async def test_a_delivery_is_durable_before_its_answer_and_becomes_an_event(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    await deliver(ingest, source, "114096", "114096")
    [row] = await rows(ingest)
    assert (row.workspace, row.source, row.object, row.detail) == (WORKSPACE, "survey", "114096", {"survey": "843721"})
    async with fetchers(ingest, tmp_path) as parts:
        [event] = await eventually(ingest.events)
        shown = repr(parts[0].__dict__)
    assert (event.data.connector, event.data.source, event.data.survey.id) == ("surveymonkey", "survey", "843721")
    assert [rating.metric for rating in event.data.ratings] == ["nps", "ces"]
    assert await rows(ingest) == []
    [call] = vendor.calls
    assert (call.method, call.path, call.query) == ("GET", path("114096"), {"simple": "true"})
    listed = await ingest.client.get("/v1/sources", headers=ingest.key("operator"))
    told = caplog.text + "".join(capsys.readouterr()) + shown + listed.text + repr(await ingest.admin.list(WORKSPACE))
    assert "survey" in told
    assert TOKEN not in told


async def test_an_edit_is_a_revision_and_a_deletion_takes_it_back(
    ingest: Ingest, vendor: Vendor, tmp_path: Path
) -> None:
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    async with fetchers(ingest, tmp_path):
        for modified in ("2026-03-10T09:14:52+00:00", "2026-03-10T09:20:00+00:00"):
            vendor.objects[path("114096")]["date_modified"] = modified
            await deliver(ingest, source, "114096")
            await settled(ingest)
        deleted = json.dumps({**BODY, "event_type": "response_deleted", "event_datetime": "2026-03-11T00:00:00Z"})
        headers = signed_headers(source, deleted.encode(), {"client_id": "lale-client"}, {})
        await ingest.client.post(source.path, content=deleted, headers=headers)

        async def three() -> bool:
            return len(await ingest.events()) == 3

        await eventually(three)
    events = sorted((event.data for event in await ingest.events()), key=lambda data: data.revision)
    assert len({data.feedback_id for data in events}) == 1
    assert [data.removed for data in events] == [False, False, True]
    assert len({data.revision for data in events}) == 3


async def test_what_is_wanted_again_while_it_is_fetched_is_fetched_once_more(
    ingest: Ingest, vendor: Vendor, tmp_path: Path
) -> None:
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    vendor.replies = ["hang"]
    await deliver(ingest, source, "114096")
    async with fetchers(ingest, tmp_path, 2):
        await eventually(lambda: vendor.calls)
        async with ingest.database.unit_of_work() as uow:
            await uow.execute('update wanted set detail = \'{"survey": "0"}\'')
        await deliver(ingest, source, "114096")
        await deliver(ingest, source, "114096")
        vendor.objects[path("114096")]["date_modified"] = "2026-03-10T09:20:00+00:00"
        vendor.release.set()
        await settled(ingest)
    assert vendor.paths() == [path("114096")] * 2, "the newest detail wins"
    assert vendor.most_open == 1


async def test_two_at_once_fetch_each_object_once(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    first, second = await survey(ingest, vendor), await survey(ingest, vendor, "other")
    numbers = [str(number) for number in range(15)]
    answered(vendor, *numbers)
    await deliver(ingest, first, *numbers)
    await deliver(ingest, second, *numbers)
    async with fetchers(ingest, tmp_path, 2):
        await settled(ingest)

        async def all_there() -> bool:
            return len(await ingest.records()) == 30

        await eventually(all_there)
    assert sorted(vendor.paths()) == sorted(path(number) for number in numbers * 2)
    assert len({event.id for event in await ingest.events()}) == 30


async def test_the_pace_is_held_over_all_processes(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    source = await survey(ingest, vendor, requests_per_minute=240)
    numbers = [str(number) for number in range(5)]
    answered(vendor, *numbers)
    await deliver(ingest, source, *numbers)
    async with fetchers(ingest, tmp_path, 2):
        await settled(ingest)
    times = [call.at for call in vendor.calls]
    assert len(times) == 5
    assert times[-1] - times[0] >= 4 * 0.25 - 0.1


async def test_a_crash_between_call_and_record_loses_nothing(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    await deliver(ingest, source, "114096")
    reached = asyncio.Event()

    async def frozen(*_: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    client = OutboundClient(allow_private=True)
    crashing = made(ingest, cipher_of(SecretStr(""), tmp_path), client, lease_seconds=0.5)
    with monkeypatch.context() as patched:
        patched.setattr(crashing, "_record", frozen)
        task = asyncio.create_task(crashing.run())
        await asyncio.wait_for(reached.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await client.close()
    [row] = await rows(ingest)
    assert (row.claims, row.attempts) == (1, 0)
    async with fetchers(ingest, tmp_path):
        await settled(ingest)
    assert vendor.paths() == [path("114096")] * 2
    events = await ingest.events()
    assert len(events) == 2
    assert len({event.id for event in events}) == 1


async def test_a_lease_that_was_lost_changes_nothing(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    """Two fetch one object because the first was held up: both publish the same event, and the row goes once."""
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    vendor.replies = ["hang"]
    await deliver(ingest, source, "114096")
    async with fetchers(ingest, tmp_path, lease_seconds=0.3):
        await settled(ingest)
        vendor.release.set()

        async def twice() -> bool:
            return len(await ingest.records()) == 2

        await eventually(twice)
    assert len({event.id for event in await ingest.events()}) == 1
    assert await rows(ingest) == []


# Failures


@pytest.mark.parametrize("reply", [500, 502, 400, 302, "drop", "hang", "cut", b"HTTP"])
async def test_what_fails_is_tried_again_later_and_later(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, reply: Any
) -> None:
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    await deliver(ingest, source, "114096")
    if reply == b"HTTP":
        vendor.objects.clear()
        vendor.objects[path("114096")] = 504
    else:
        vendor.replies = [reply] * 3
    async with fetchers(ingest, tmp_path, total_seconds=0.5):
        for attempt, least in enumerate((4, 8, 16), start=1):
            row = await attempted(ingest, attempt)
            assert least - 1 <= row.seconds <= 1.5 * least
            if attempt < 3:
                await later(ingest)
        answered(vendor, "114096")
        vendor.release.set()
        await later(ingest)
        await eventually(ingest.events)
    assert await rows(ingest) == []
    assert await ingest.letters() == []


def test_waits_double_to_an_hour() -> None:
    waits = [fetching.retry_seconds(attempts) for attempts in (0, 1, 2, 9, 10, 40, 10_000)]
    most = (5, 10, 20, 2560, 3600, 3600, 3600)
    assert all(0.8 * one <= wait <= 1.2 * one for wait, one in zip(waits, most, strict=True))
    assert len({fetching.retry_seconds(3) for _ in range(20)}) > 1


async def test_nobody_there_is_a_failure_too(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    source = await survey(ingest, vendor, api_url="http://127.0.0.1:9")
    await deliver(ingest, source, "114096")
    async with fetchers(ingest, tmp_path):
        row = await attempted(ingest)
    assert 3 <= row.seconds <= 6.5
    assert vendor.calls == []


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        ((429, {"retry-after": "30"}), 30),
        ((503, {"retry-after": "90"}), 90),
        (429, 5),
        ((429, {"retry-after": "9999999"}), 3600),
    ],
)
async def test_a_vendor_that_is_busy_is_left_alone_with_everything(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, reply: Any, seconds: float
) -> None:
    busy, other = await survey(ingest, vendor), await survey(ingest, vendor, "other")
    answered(vendor, "1", "2", "3")
    vendor.replies = [reply]
    async with fetchers(ingest, tmp_path):
        await deliver(ingest, busy, "1")
        await attempted(ingest)
        await deliver(ingest, busy, "2")
        await deliver(ingest, other, "3")
        await eventually(lambda: path("3") in vendor.paths())
        assert vendor.paths() == [path("1"), path("3")]
        assert seconds - 5 <= await pause_of(ingest) <= seconds
        await later(ingest)
        await settled(ingest)
    assert sorted(vendor.paths()) == [path("1"), path("1"), path("2"), path("3")]


async def test_a_refusal_is_told_once_and_a_new_token_ends_it_at_once(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = await survey(ingest, vendor, token="an-old-token")
    answered(vendor, "1", "2")
    await deliver(ingest, source, "1", "2")
    refused = counted("refused")
    async with fetchers(ingest, tmp_path):
        await eventually(lambda: counted("refused") > refused)
        assert 3590 <= await pause_of(ingest) <= 3600

        async def again_and_again() -> bool:
            await later(ingest)
            return counted("refused") >= refused + 4

        await eventually(again_and_again)
        assert await ingest.events() == []
        await ingest.admin.set_token(WORKSPACE, "survey", f" {TOKEN}\n")
        await settled(ingest)

        async def both() -> bool:
            return len(await ingest.records()) == 2

        await eventually(both)
    told = caplog.text + "".join(capsys.readouterr())
    assert told.count("fetch_refused") == 1
    assert "closeloop sources token survey" in told
    assert TOKEN not in told
    assert "an-old-token" not in told


async def test_without_a_token_nothing_is_asked(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    source = await survey(ingest, vendor, token=None)
    await deliver(ingest, source, "1")
    async with fetchers(ingest, tmp_path):
        await attempted(ingest)
    assert vendor.calls == []
    assert await pause_of(ingest) > 3590


async def test_the_wall_stands_before_the_address(ingest: Ingest, vendor: Vendor) -> None:
    """The service's own fetcher may not call this machine: nobody has allowed it."""
    source = await survey(ingest, vendor)
    await deliver(ingest, source, "1")
    own = next(part for part in ingest.service.components if part.name == "ingest-fetcher")
    task = asyncio.create_task(own.run())
    await attempted(ingest)
    await own.stop()
    await task
    assert vendor.calls == []


@pytest.mark.parametrize("status", [404, 410])
async def test_what_is_gone_is_dropped_and_counted(ingest: Ingest, vendor: Vendor, tmp_path: Path, status: int) -> None:
    source = await survey(ingest, vendor)
    vendor.objects[path("1")] = status
    gone = counted("gone")
    await deliver(ingest, source, "1")
    async with fetchers(ingest, tmp_path):
        await settled(ingest)
    assert counted("gone") == gone + 1
    assert (await ingest.letters(), await ingest.events()) == ([], [])


async def test_after_two_days_it_is_a_dead_letter_that_can_be_replayed(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, running_replays: Callable[[], Awaitable[None]]
) -> None:
    source = await survey(ingest, vendor)
    answered(vendor, "1")
    vendor.replies = [500, 500]
    await deliver(ingest, source, "1")
    async with fetchers(ingest, tmp_path):
        await attempted(ingest)
        await later(ingest, "47 hours")
        await attempted(ingest, 2)
        vendor.replies = [500]
        await later(ingest, "2 hours")
        await settled(ingest)
    [letter] = await ingest.letters()
    assert (letter.origin, letter.workspace, letter.attempts) == ("sources/surveymonkey", WORKSPACE, 3)
    assert json.loads(bytes(letter.value)) == {"object": "1", "detail": {"survey": "843721"}}
    assert "500" in letter.error
    async with ingest.database.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")
    await running_replays()
    assert (await ingest.letters())[0].state == "replayed"
    [row] = await rows(ingest)
    assert (row.object, row.detail, row.attempts) == ("1", {"survey": "843721"}, 0)


@pytest.mark.parametrize(
    "garbage", [b"<html>", b"[]", b'{"response_status": "completed"}', b"[" * 100_000, b"x" * 2**21]
)
async def test_an_answer_that_is_not_understood_is_kept(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, garbage: bytes
) -> None:
    source = await survey(ingest, vendor)
    vendor.replies = [garbage]
    await deliver(ingest, source, "1")
    async with fetchers(ingest, tmp_path):
        await settled(ingest)
    [letter] = await ingest.letters()
    assert (letter.origin, bytes(letter.value)) == ("sources/surveymonkey", garbage[: fetching.ANSWER_LIMIT_BYTES])
    assert TOKEN not in json.dumps(letter.headers)
    assert len(vendor.calls) == 1


async def test_a_scale_set_later_mends_what_was_fetched(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, running_replays: Callable[[], Awaitable[None]]
) -> None:
    source = await survey(ingest, vendor, fields={})
    answered(vendor, "114096")
    await deliver(ingest, source, "114096")
    async with fetchers(ingest, tmp_path):
        await settled(ingest)
    [letter] = await ingest.letters()
    assert "without a scale" in letter.error
    await ingest.admin.configure(WORKSPACE, "survey", settings_of(vendor))
    async with ingest.database.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")
    await running_replays()
    assert (await ingest.letters())[0].state == "replayed"
    [event] = await ingest.events()
    assert event.data.ratings[0].metric == "nps"
    assert len(vendor.calls) == 1


async def test_a_source_that_is_off_is_not_fetched_from(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    source, other = await survey(ingest, vendor), await survey(ingest, vendor, "other")
    answered(vendor, "1", "2")
    await deliver(ingest, source, "1")
    await ingest.admin.disable(WORKSPACE, "survey")
    async with fetchers(ingest, tmp_path):
        await deliver(ingest, other, "2")
        await eventually(ingest.events)
        assert vendor.paths() == [path("2")]
        await ingest.admin.enable(WORKSPACE, "survey")
        await settled(ingest)
    assert vendor.paths() == [path("2"), path("1")]


# The token


async def test_tokens_are_checked_and_sealed(ingest: Ingest, vendor: Vendor) -> None:
    await survey(ingest, vendor)
    async with ingest.database.reader() as reader:
        stored = await reader.scalar("select token from source")
    assert TOKEN.encode() not in bytes(stored)
    for bad in ("", "  ", "two words", "line\nbreak", "ünïcode", "x" * 20_000):
        with pytest.raises(InvalidInput) as refused:
            await ingest.admin.set_token(WORKSPACE, "survey", bad)
        assert not bad.strip() or bad not in str(refused.value.faults)
    with pytest.raises(NotFound):
        await ingest.admin.set_token(WORKSPACE, "nobody", TOKEN)
    with pytest.raises(InvalidInput):
        await ingest.admin.add(WORKSPACE, "chat", "slack", {}, token=TOKEN)


# Pollers


def app_store_page(*reviews: tuple[str, str, int], cursor: str = "") -> dict[str, Any]:
    data = [
        {"id": name, "attributes": {"rating": stars, "body": "Late.", "createdDate": made}}
        for name, made, stars in reviews
    ]
    return {"data": data, "links": {"next": f"https://elsewhere.example/?cursor={cursor}"} if cursor else {}}


def p8() -> tuple[str, ec.EllipticCurvePublicKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return pem.decode(), key.public_key()


def unpacked(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Header, claims, what is signed, signature."""
    head, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    return json.loads(head), json.loads(claims), token.rpartition(".")[0].encode(), signature


APP = "/v1/apps/1234567890/customerReviews"
APP_SETTINGS = {
    "app_id": "1234567890",
    "issuer_id": "57246542-96fe-1a63-e053-0824d011072a",
    "key_id": "2X9R4HXF34",
    "requests_per_minute": 6000,
    "history_days": 3650,
}


async def reviews(ingest: Ingest, vendor: Vendor, pem: str) -> None:
    vendor.authorization = None
    await ingest.admin.add(WORKSPACE, "app", "app_store", {**APP_SETTINGS, "api_url": vendor.url}, token=pem)


async def looked(ingest: Ingest) -> Any:
    """The poller's row after a whole look."""

    async def whole() -> Any:
        [row] = await rows(ingest)
        return row if "page" not in row.detail and row.detail and row.leased_until is None else None

    return await eventually(whole)


async def test_reviews_of_the_app_store_come_page_by_page_and_edits_are_revisions(
    ingest: Ingest, vendor: Vendor, tmp_path: Path
) -> None:
    pem, public = p8()
    vendor.objects[APP] = lambda call: (
        app_store_page(("2", "2026-03-10T09:00:00Z", 5), cursor="AAE.1")
        if "cursor" not in call.query
        else app_store_page(("1", "2026-03-09T09:00:00Z", 2))
    )
    await reviews(ingest, vendor, pem)
    async with fetchers(ingest, tmp_path, 2):
        row = await looked(ingest)
        assert 880 < row.seconds <= 900
        assert [call.query.get("cursor") for call in vendor.calls] == [None, "AAE.1"]
    vendor.objects[APP] = app_store_page(
        ("3", "2026-03-10T10:00:00Z", 4), ("1", "2026-03-10T09:30:00Z", 3), ("2", "2026-03-10T09:00:00Z", 5)
    )
    await later(ingest)
    async with fetchers(ingest, tmp_path):  # another process goes on where the first was

        async def four() -> bool:
            return len(await ingest.records()) == 4

        await eventually(four)
        await looked(ingest)
    events = [event.data for event in await ingest.events()]
    assert sorted((data.ratings[0].value, data.ratings[0].scale_max) for data in events) == [
        (2, 5),
        (3, 5),
        (4, 5),
        (5, 5),
    ]
    by_feedback = {
        data.feedback_id: [one.revision for one in events if one.feedback_id == data.feedback_id] for data in events
    }
    assert sorted(map(len, by_feedback.values())) == [1, 1, 2]
    scheme, _, token = vendor.calls[0].headers["authorization"].partition(" ")
    head, claims, signed, signature = unpacked(token)
    assert (scheme, head["alg"], head["kid"], claims["aud"]) == ("Bearer", "ES256", "2X9R4HXF34", "appstoreconnect-v1")
    assert 0 < claims["exp"] - claims["iat"] <= 1200
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))


async def test_a_poller_has_one_row_as_long_as_its_source_is_on(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    vendor.objects[APP] = app_store_page(("1", "2026-03-09T09:00:00Z", 2))
    await reviews(ingest, vendor, p8()[0])
    async with fetchers(ingest, tmp_path, 3):
        await looked(ingest)
        assert len(vendor.calls) == 1
        await ingest.admin.disable(WORKSPACE, "app")
        await settled(ingest)
        await ingest.admin.enable(WORKSPACE, "app")
        await looked(ingest)
        async with ingest.database.unit_of_work() as uow:
            await uow.execute("delete from source")
        assert await rows(ingest) == []
    assert len(vendor.calls) == 2
    assert len({event.id for event in await ingest.events()}) == 1


async def test_a_poller_never_gives_up_and_keeps_one_of_its_unreadable_answers(
    ingest: Ingest, vendor: Vendor, tmp_path: Path
) -> None:
    await reviews(ingest, vendor, p8()[0])
    vendor.replies = [500, b"<html>", b"<html>", 404]
    async with fetchers(ingest, tmp_path):
        for attempts in (1, 2, 3, 4):
            await attempted(ingest, attempts)
            await later(ingest, "100 hours")
        vendor.objects[APP] = app_store_page(("1", "2026-03-09T09:00:00Z", 2))
        await later(ingest)
        await looked(ingest)
        await eventually(ingest.events)
    [letter] = await ingest.letters()
    assert (letter.origin, bytes(letter.value)) == ("sources/app_store", b"<html>")


async def test_one_bad_review_does_not_hold_up_the_others(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, running_replays: Callable[[], Awaitable[None]]
) -> None:
    await reviews(ingest, vendor, p8()[0])
    vendor.objects[APP] = app_store_page(("2", "2026-03-10T09:00:00Z", 9), ("1", "2026-03-09T09:00:00Z", 2))
    async with fetchers(ingest, tmp_path):
        await looked(ingest)
        await later(ingest)
        await eventually(lambda: len(vendor.calls) == 2)
        await looked(ingest)
    [letter] = await ingest.letters()
    assert "[0].ratings[0].value" in letter.error
    assert len(await ingest.records()) == 1
    async with ingest.database.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")
    await running_replays()
    assert (await ingest.letters())[0].attempts == 2, "it is as bad as it was"


async def test_google_play_takes_a_token_for_the_service_account_once(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
    account = json.dumps(
        {"client_email": "reader@lale.iam.example", "private_key": pem, "token_uri": "https://evil.example"}
    )
    vendor.authorization = ("authorization", "Bearer short-lived-1")
    vendor.objects["/token"] = lambda _: {"access_token": "short-lived-1", "expires_in": 3600}
    said = {"text": "Late.", "starRating": 2, "lastModified": {"seconds": "1773134092"}}
    listed = "/androidpublisher/v3/applications/com.lale.home/reviews"
    vendor.objects[listed] = {"reviews": [{"reviewId": "1", "comments": [{"userComment": said}]}]}
    settings = {"package_name": "com.lale.home", "api_url": vendor.url, "token_url": f"{vendor.url}/token"}
    settings |= {"requests_per_minute": 6000, "history_days": 3650}  # type: ignore[dict-item]
    await ingest.admin.add(WORKSPACE, "play", "google_play", settings, token=account)
    async with fetchers(ingest, tmp_path):
        await looked(ingest)
        await later(ingest)
        await eventually(lambda: vendor.paths().count(listed) == 2)
        await looked(ingest)
        assert vendor.paths() == ["/token", listed, listed]
        vendor.authorization = ("authorization", "Bearer short-lived-2")
        vendor.objects["/token"] = lambda _: {"access_token": "short-lived-2", "expires_in": 3600}
        await later(ingest)
        await attempted(ingest)
        await later(ingest)
        await eventually(lambda: vendor.paths().count("/token") == 2)
        await looked(ingest)
    assert len(await ingest.records()) == 1
    form = dict(parse_qsl(vendor.calls[0].body.decode()))
    head, claims, signed, signature = unpacked(form["assertion"])
    assert (form["grant_type"], head["alg"]) == ("urn:ietf:params:oauth:grant-type:jwt-bearer", "RS256")
    assert (claims["iss"], claims["aud"]) == ("reader@lale.iam.example", f"{vendor.url}/token")
    key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    assert "short-lived" not in caplog.text
    assert "PRIVATE KEY" not in caplog.text


async def test_comments_of_a_channel_with_replies_of_others(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    vendor.authorization = ("x-goog-api-key", "AIza-0123456789")
    vendor.objects["/youtube/v3/commentThreads"] = sample_answer("youtube")
    settings = {"channel_id": "UCaaaaaaaaaaaaaaaaaaaaaa", "api_url": vendor.url, "requests_per_minute": 6000}
    await ingest.admin.add(WORKSPACE, "tube", "youtube", {**settings, "history_days": 3650}, token="AIza-0123456789")
    async with fetchers(ingest, tmp_path):
        await looked(ingest)

        async def both() -> bool:
            return len(await ingest.records()) == 2

        await eventually(both)
        vendor.replies = [400]
        await later(ingest)
        await attempted(ingest)
        await later(ingest)
        await looked(ingest)
    assert sorted(str(event.data.sensitive.handle) for event in await ingest.events()) == ["@mert", "@nora"]
    assert all("key" not in call.query for call in vendor.calls)


@pytest.mark.parametrize("connector", ["app_store", "google_play"])
async def test_keys_in_the_wrong_form_are_refused_when_they_are_given(ingest: Ingest, connector: str) -> None:
    settings = APP_SETTINGS if connector == "app_store" else {"package_name": "com.lale.home"}
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    other = rsa_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
    for bad in ("x", "{}", "[]", "[" * 9000, '{"client_email": 1, "private_key": 2}', other):
        with pytest.raises(InvalidInput):
            await ingest.admin.add(WORKSPACE, "reviews", connector, settings, token=bad)


# Other deliveries of ids, and the command line


@pytest.mark.parametrize(
    ("connector", "settings", "target", "header"),
    [
        (
            "qualtrics",
            {"fields": {"QID2": {"metric": "ces"}}},
            "/API/v3/surveys/SV_22VlHYNeldrrrkp/responses/R_1l9mcVuXubb4aGm",
            ("x-api-token", "vendor-token"),
        ),
        ("hubspot", {}, "/crm/v3/objects/feedback_submissions/9101", ("authorization", "Bearer vendor-token")),
    ],
)
async def test_other_vendors_of_ids(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, connector: str, settings: dict[str, Any], target: str, header: Any
) -> None:
    vendor.authorization = header
    vendor.objects[target] = sample_answer(connector)
    options = {**settings, "api_url": vendor.url, "requests_per_minute": 6000}
    source = await ingest.admin.add(WORKSPACE, "survey", connector, options, token="vendor-token")
    message = replace(sample(connector), url=f"http://ingest{source.path}")
    signed = with_proof(CONNECTORS[connector].credential(None), message, source.secret)
    answer = await ingest.client.post(source.path, content=message.body, headers=dict(signed.headers))
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    async with fetchers(ingest, tmp_path):
        [event] = await eventually(ingest.events)
    assert event.data.ratings[0].metric == "nps"
    assert vendor.paths() == [target]


async def test_a_head_is_answered(ingest: Ingest, vendor: Vendor) -> None:
    source = await survey(ingest, vendor)
    assert (await ingest.client.head(source.path)).status_code == 200
    assert (await ingest.client.get(source.path)).status_code == 401


async def test_the_command_line_takes_a_token_from_standard_input_and_never_shows_it(
    ingest: Ingest, vendor: Vendor, tmp_path: Path
) -> None:
    settings = tmp_path / "survey.yaml"
    settings.write_text(json.dumps(settings_of(vendor)))
    environment = {"DATABASE_URL": ingest.url, "DATA_DIR": str(tmp_path)}

    async def command(*arguments: str, given: str) -> str:
        run = partial(CliRunner().invoke, sources.app, [*arguments, "-w", WORKSPACE], input=given, env=environment)
        result = await asyncio.to_thread(run)
        assert result.exit_code == 0, result.output
        return result.output

    said = await command("add", "surveymonkey", "survey", "--settings", str(settings), "--token", given="first-token\n")
    said += await command("token", "survey", given=TOKEN + "\n")
    said += await command("list", given="")
    assert "first-token" not in said
    assert TOKEN not in said
    async with ingest.database.reader() as reader:
        row = await reader.first("select * from source")
    assert row is not None
    assert source_of(row, cipher_of(SecretStr(""), tmp_path)).token == TOKEN


async def test_a_mention_on_instagram_is_fetched(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    vendor.authorization = ("authorization", "Bearer page-token")
    said = {"id": "17887", "text": "@lale late again", "timestamp": "2026-03-10T09:14:52+0000", "username": "nora"}
    vendor.objects["/17841"] = {"mentioned_comment": said, "id": "17841"}
    options = {"api_url": vendor.url, "requests_per_minute": 6000}
    source = await ingest.admin.add(WORKSPACE, "social", "meta", options, token="page-token")
    change = {"field": "mentions", "value": {"comment_id": "17887", "media_id": "17976"}}
    body = json.dumps({"object": "instagram", "entry": [{"id": "17841", "time": 1773134093, "changes": [change]}]})
    answer = await ingest.deliver(source, body.encode())
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    async with fetchers(ingest, tmp_path):
        [event] = await eventually(ingest.events)
    assert (event.data.channel, event.data.sensitive.text) == ("instagram", "@lale late again")
    [call] = vendor.calls
    assert call.query == {"fields": "mentioned_comment.comment_id(17887){id,text,timestamp,username}"}


async def test_a_refusal_of_the_old_token_does_not_hold_up_the_new_one(
    ingest: Ingest, vendor: Vendor, tmp_path: Path
) -> None:
    source = await survey(ingest, vendor, token="an-old-token")
    answered(vendor, "1")
    vendor.replies = ["hang"]
    await deliver(ingest, source, "1")
    async with fetchers(ingest, tmp_path):
        await eventually(lambda: vendor.calls)
        await ingest.admin.set_token(WORKSPACE, "survey", TOKEN)
        vendor.release.set()  # 401, as it came with the old one
        await settled(ingest)
    assert len(vendor.calls) == 2


async def test_a_delivery_wakes_the_fetcher_of_the_service(
    ingest: Ingest, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_IDLE_SECONDS", 60.0)
    source = await survey(ingest, vendor)
    answered(vendor, "1")
    parts = {part.name: part for part in ingest.service.components}
    own = parts["ingest-fetcher"]
    own._client = OutboundClient(allow_private=True)  # type: ignore[attr-defined]
    running = [own, parts["ingest-outbox"], parts["ingest-wakeups"]]
    tasks = [asyncio.create_task(part.run()) for part in running]
    await eventually(lambda: own._pollers_at > 0)  # type: ignore[attr-defined]
    await deliver(ingest, source, "1")
    [event] = await eventually(ingest.events)
    assert event.data.connector == "surveymonkey"
    for part in running:
        await part.stop()
    await asyncio.gather(*tasks)
