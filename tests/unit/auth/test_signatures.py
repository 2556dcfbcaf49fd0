import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.auth.signatures import STANDARD_WEBHOOKS, Scheme, Signed, sign, verify

SLACK = Scheme(
    header="X-Slack-Signature",
    prefix="v0=",
    signed=("v0:", "{timestamp}", ":", "{body}"),
    timestamp_header="X-Slack-Request-Timestamp",
    tolerance_seconds=300,
)
ZENDESK = Scheme(
    header="X-Zendesk-Webhook-Signature",
    encoding="base64",
    signed=("{timestamp}", "{body}"),
    timestamp_header="X-Zendesk-Webhook-Signature-Timestamp",
)
APPLE = Scheme(header="x-apple-signature", prefix="hmacsha256=")
PLAIN = Scheme(header="x-signature", prefix="sha256=")
BASE64 = Scheme(header="x-signature", encoding="base64")
VECTORS = Path(__file__).parents[4] / "shared" / "payloads" / "VECTORS.json"
# The vector of the Standard Webhooks reference libraries (libraries/python/tests/test_webhooks.py).
STANDARD = {
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "body": '{"test": 2432232314}',
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
NOW = 1614265330.0


def published() -> list[tuple[str, Scheme]]:
    known = {"standard-webhooks": STANDARD_WEBHOOKS, "slack": SLACK, "zendesk": ZENDESK, "appstoreconnect": APPLE}
    return list(known.items()) if VECTORS.is_file() else []


@pytest.mark.parametrize(("vendor", "scheme"), published())
def test_published_vectors_verify(vendor: str, scheme: Scheme) -> None:
    vector = json.loads(VECTORS.read_text(encoding="utf-8"))[vendor]
    headers = {name.lower(): value for name, value in vector.items()}
    message = Signed(vector["body"].encode(), headers)
    now = float(headers.get((scheme.timestamp_header or "").lower(), 0))
    assert verify(scheme, message, [vector["secret"]], now=now)
    assert sign(scheme, message, vector["secret"]) == headers[scheme.header.lower()]
    assert not verify(scheme, Signed(message.body + b" ", headers), [vector["secret"]], now=now)
    assert not verify(scheme, message, [vector["secret"][:-2] + "AA"], now=now)


def standard(**changed: str) -> Signed:
    fields = {**STANDARD, **changed}
    return Signed(fields["body"].encode(), fields)


def test_reference_vector() -> None:
    assert sign(STANDARD_WEBHOOKS, standard(), STANDARD["secret"]) == STANDARD["webhook-signature"]
    assert verify(STANDARD_WEBHOOKS, standard(), [STANDARD["secret"]], now=NOW)


@pytest.mark.parametrize(
    ("seconds", "good"), [(0, True), (299, True), (300, True), (301, False), (-300, True), (-301, False)]
)
def test_stale_timestamps_are_refused(seconds: float, good: bool) -> None:
    assert verify(STANDARD_WEBHOOKS, standard(), [STANDARD["secret"]], now=NOW + seconds) is good


@pytest.mark.parametrize(
    "stamp", ["", "x", "-1", "1e9", "１６１４２６５３３０", "1614265330 ", "9" * 400, "9" * 4000, "1_614_265_330"]
)
def test_malformed_timestamps_are_refused(stamp: str) -> None:
    message = standard(**{"webhook-timestamp": stamp})
    signed = {**message.headers, "webhook-signature": sign(STANDARD_WEBHOOKS, message, STANDARD["secret"])}
    assert not verify(STANDARD_WEBHOOKS, Signed(message.body, signed), [STANDARD["secret"]], now=NOW)


def test_any_of_several_signatures_and_secrets_counts() -> None:
    good = STANDARD["webhook-signature"]
    several = standard(**{"webhook-signature": f"v1a,AAAA v1,AAAA {good}"})
    assert verify(STANDARD_WEBHOOKS, several, ["whsec_AAAA", STANDARD["secret"]], now=NOW)
    assert not verify(STANDARD_WEBHOOKS, several, ["whsec_AAAA"], now=NOW)


def test_at_most_ten_signatures_are_looked_at() -> None:
    good = STANDARD["webhook-signature"]
    tenth = standard(**{"webhook-signature": "v1,AAAA " * 9 + good})
    eleventh = standard(**{"webhook-signature": "v1,AAAA " * 10 + good})
    assert verify(STANDARD_WEBHOOKS, tenth, [STANDARD["secret"]], now=NOW)
    assert not verify(STANDARD_WEBHOOKS, eleventh, [STANDARD["secret"]], now=NOW)


@pytest.mark.parametrize(
    ("scheme", "secret"), [(PLAIN, ""), (STANDARD_WEBHOOKS, "whsec_"), (STANDARD_WEBHOOKS, "whsec_*")]
)
def test_a_useless_secret_signs_and_verifies_nothing(scheme: Scheme, secret: str) -> None:
    with pytest.raises(ValueError, match=r"empty key|not in the form"):
        sign(scheme, standard(), secret)
    empty = base64.b64encode(b"\0" * 32).decode()
    assert not verify(scheme, standard(**{"webhook-signature": f"v1,{empty}"}), [secret], now=NOW)


def test_base64_counts_in_its_one_spelling_and_hex_in_both_cases() -> None:
    body = b"feedback"
    good = sign(BASE64, Signed(body, {}), "secret")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = good[:-2] + alphabet[alphabet.index(good[-2]) ^ 1] + "="
    assert base64.b64decode(twin) == base64.b64decode(good)
    assert verify(BASE64, Signed(body, {"x-signature": good}), ["secret"], now=0)
    assert not verify(BASE64, Signed(body, {"x-signature": twin}), ["secret"], now=0)
    upper = sign(PLAIN, Signed(body, {}), "secret").upper().replace("SHA256", "sha256")
    assert verify(PLAIN, Signed(body, {"x-signature": upper}), ["secret"], now=0)


@given(header=st.text(), stamp=st.text(), identifier=st.text(), secret=st.text(), body=st.binary())
def test_verify_never_raises(header: str, stamp: str, identifier: str, secret: str, body: bytes) -> None:
    headers = {"webhook-signature": f"v1,{header}", "webhook-timestamp": stamp, "webhook-id": identifier}
    for scheme in (STANDARD_WEBHOOKS, SLACK, ZENDESK, PLAIN):
        given_headers = {**headers, scheme.header.lower(): scheme.prefix + header}
        assert verify(scheme, Signed(body, given_headers), [secret], now=NOW) is False
