"""Sources over HTTP: added, tried, changed, rotated, switched off; each role and each wrong input."""

import json
from typing import Any

import httpx
import pytest

from services.ingest.endpoints import TEST_HEADER
from services.ingest.sources import CONNECTORS
from services.ingest.sources.proof import with_proof
from services.ingest.sources.samples import sample
from shared.auth.signatures import Signed
from tests.integration.ingest.conftest import Ingest
from tests.integration.ingest.connectors.cases import cases_of

PUBLIC_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"  # RFC 8032, test 1


async def call(ingest: Ingest, method: str, path: str, body: Any = None, role: str = "operator") -> httpx.Response:
    content = None if body is None else json.dumps(body).encode()
    headers = {**ingest.key(role), "content-type": "application/json"}
    return await ingest.client.request(method, path, content=content, headers=headers)


async def add(ingest: Ingest, connector: str, name: str = "vendor", **more: Any) -> dict[str, Any]:
    answer = await call(ingest, "POST", "/v1/sources", {"name": name, "connector": connector, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_source_from_its_making_to_its_end(ingest: Ingest) -> None:
    made = await add(ingest, "slack", "com/munity", settings={"own_users": ["U1"]})
    assert made["path"].startswith("/v1/sources/")
    listed = (await call(ingest, "GET", "/v1/sources")).json()["sources"]
    assert [(one["name"], one["active_secrets"], one["settings"]) for one in listed] == [
        ("com/munity", 1, {"own_users": ["U1"]})
    ]
    assert made["secret"] not in json.dumps(listed)
    message = sample("slack")

    async def deliver(secret: str) -> int:
        signed = with_proof(CONNECTORS["slack"].proof, message, secret)
        answer = await ingest.client.post(made["path"], content=signed.body, headers=dict(signed.headers))
        return answer.status_code

    assert await deliver(made["secret"]) == 200
    rotated = (await call(ingest, "POST", "/v1/sources/com/munity/rotate", {})).json()
    assert [await deliver(secret) for secret in (made["secret"], rotated["secret"])] == [200, 200]
    assert (await call(ingest, "POST", "/v1/sources/com/munity/retire")).json() == {"retired": 1}
    assert await deliver(rotated["secret"]) == 200
    changed = await call(ingest, "PUT", "/v1/sources/com/munity/settings", {"settings": {"touchpoint": "chat"}})
    assert changed.json()["settings"] == {"touchpoint": "chat"}
    assert (await call(ingest, "POST", "/v1/sources/com/munity/disable")).status_code == 204
    assert (await call(ingest, "POST", "/v1/sources/com/munity/test")).status_code == 409
    assert (await call(ingest, "POST", "/v1/sources/com/munity/enable")).status_code == 204
    assert (await call(ingest, "POST", "/v1/sources/com/munity/test")).status_code == 200


@pytest.mark.parametrize("connector", sorted(CONNECTORS))
async def test_every_connector_can_be_tried_and_nothing_is_published(shared_ingest: Ingest, connector: str) -> None:
    ingest, before = shared_ingest, await shared_ingest.count()
    vendor_signs = connector == "discord"
    more: dict[str, Any] = {"settings": dict(cases_of(connector).settings)}
    more |= {"secret": PUBLIC_KEY} if vendor_signs else {}
    await add(ingest, connector, f"try-{connector}", **more)
    answer = await call(ingest, "POST", f"/v1/sources/try-{connector}/test")
    if vendor_signs:
        assert answer.status_code == 409
        assert "only the vendor" in answer.json()["detail"]
        return
    assert answer.status_code == 200, answer.text
    rehearsed = answer.json()
    assert rehearsed["events"] or rehearsed["faults"] or rehearsed["skipped"] or connector in FETCHING
    assert await ingest.count() == before
    assert await ingest.letters() == []


FETCHING = {"surveymonkey", "qualtrics", "hubspot", "app_store", "google_play", "youtube"}


async def test_the_test_header_needs_the_signature_like_any_delivery(ingest: Ingest) -> None:
    made = await add(ingest, "delighted")
    message = sample("delighted")
    signed = with_proof(CONNECTORS["delighted"].proof, message, made["secret"])
    answer = await ingest.client.post(made["path"], content=signed.body, headers={**signed.headers, TEST_HEADER: "1"})
    assert answer.status_code == 200
    (event,) = answer.json()["events"]
    assert (event["type"], event["ratings"][0]["value"]) == ("dev.closeloop.feedback.received.v1", 6.0)
    unsigned = await ingest.client.post(made["path"], content=signed.body, headers={TEST_HEADER: "1"})
    assert unsigned.status_code == 401
    assert await ingest.count() == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/sources", {"name": "x", "connector": "nobody"}, 422),
        ("POST", "/v1/sources", {"name": "x", "connector": "slack", "settings": {"own": 1}}, 422),
        ("POST", "/v1/sources", {"name": "x", "connector": "slack", "secret": "short"}, 422),
        ("POST", "/v1/sources", {"name": "x", "connector": "discord"}, 422),
        ("POST", "/v1/sources", {"name": "x"}, 422),
        ("POST", "/v1/sources", {"name": "api", "connector": "slack"}, 422),
        ("POST", "/v1/sources/nobody/rotate", {}, 404),
        ("POST", "/v1/sources/nobody/retire", None, 404),
        ("POST", "/v1/sources/nobody/token", {"token": "x" * 20}, 404),
        ("POST", "/v1/sources/nobody/disable", None, 404),
        ("POST", "/v1/sources/nobody/enable", None, 404),
        ("POST", "/v1/sources/nobody/test", None, 404),
        ("PUT", "/v1/sources/nobody/settings", {"settings": {}}, 404),
    ],
)
async def test_what_is_wrong_is_told(shared_ingest: Ingest, method: str, path: str, body: Any, status: int) -> None:
    answer = await call(shared_ingest, method, path, body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    for role in ("channel", "manager", "agent"):
        assert (await call(shared_ingest, method, path, body, role=role)).status_code == 403


async def test_a_token_is_sealed_and_never_shown(ingest: Ingest) -> None:
    secret = {"token": "sm-token-0123456789"}
    made = await add(ingest, "surveymonkey", settings={"client_id": "c"}, **secret)
    assert (await call(ingest, "POST", "/v1/sources/vendor/token", {"token": "sm-token-9876543210"})).status_code == 204
    listed = (await call(ingest, "GET", "/v1/sources")).text
    assert "sm-token" not in json.dumps(made) + listed
    await add(ingest, "slack", "no-api")
    refused = await call(ingest, "POST", "/v1/sources/no-api/token", secret)
    assert (refused.status_code, refused.json()["faults"][0]["path"]) == (422, "token")


async def test_a_name_is_taken_once(ingest: Ingest) -> None:
    await add(ingest, "slack")
    again = await call(ingest, "POST", "/v1/sources", {"name": "vendor", "connector": "tally"})
    assert again.status_code == 409


async def test_handshakes_reach_the_vendor_over_http(ingest: Ingest) -> None:
    meta, x, events = [await add(ingest, name, name) for name in ("meta", "x", "cloudevents")]
    key = meta["path"].rpartition("/")[2]
    asked = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": key}
    answer = await ingest.client.get(meta["path"], params=asked)
    assert (answer.status_code, answer.content) == (200, b"1158201444")
    wrong = await ingest.client.get(meta["path"], params={**asked, "hub.verify_token": "x"})
    assert wrong.status_code == 401
    crc = await ingest.client.get(x["path"], params={"crc_token": "abc"})
    assert crc.json()["response_token"].startswith("sha256=")
    allowed = await ingest.client.options(
        events["path"], headers={"WebHook-Request-Origin": "eventemitter.example.com"}
    )
    assert (allowed.status_code, allowed.headers["webhook-allowed-origin"]) == (200, "eventemitter.example.com")
    for method in ("GET", "HEAD", "OPTIONS"):
        assert (await ingest.client.request(method, "/v1/sources/unknown")).status_code == 401


async def test_a_connector_that_breaks_keeps_what_it_was_given(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await add(ingest, "slack")

    def broken(settings: Any, message: Signed) -> Any:
        raise TypeError("unhashable type")

    monkeypatch.setattr(CONNECTORS["slack"], "parse", broken)
    signed = with_proof(CONNECTORS["slack"].proof, sample("slack"), made["secret"])
    answer = await ingest.client.post(made["path"], content=signed.body, headers=dict(signed.headers))
    assert answer.json() == {"accepted": 0, "parked": 1, "skipped": {}}
    (letter,) = await ingest.letters()
    assert bytes(letter.value) == signed.body
    assert "the connector slack failed on it" in str(letter)
