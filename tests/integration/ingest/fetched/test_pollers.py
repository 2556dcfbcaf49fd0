"""Vendors without webhooks are asked, from where the last answer ended."""

import base64
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from services.ingest.sources.samples import sample_answer
from shared.core.errors import InvalidInput
from tests.integration.ingest.conftest import WORKSPACE, Ingest
from tests.integration.ingest.fetched.support import attempted, fetchers, later, rows, settled
from tests.integration.ingest.vendor import Vendor
from tests.support.poll import eventually


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
