import json
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.ingest.decoding import MAX_STRING_BYTES, decode_json, path_of
from shared.core.errors import InvalidInput

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**50), 2**50)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


def faults(body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        decode_json(body)
    assert caught.value.status == 422
    return [(fault.path, fault.reason) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("body", "path", "reason"),
    [
        (b"", "$", "not JSON"),
        (b"{", "$", "not JSON"),
        (b'{"a": NaN}', "a", "NaN"),
        (b'[{"a": [1, Infinity]}]', "[0].a[1]", "Infinity"),
        (b'{"a": -Infinity}', "a", "-Infinity"),
        (b'{"a": {"b": 1e999}}', "a.b", "too large"),
        (b'{"a": "\\ud800"}', "a", "lone surrogate"),
        (b'{"a": "x\\udc00y"}', "a", "lone surrogate"),
        (b'{"a": "\xed\xa0\x80"}', "$", "not UTF-8"),
        (b'{"\\ud800": 1}', "\ufffd", "lone surrogate"),
        (b'{"a": "\\u0000"}', "a", "U+0000"),
        (b'{"a": "\x00"}', "$", "not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "$", "byte-order mark"),
        ('{"a": 1}'.encode("utf-16"), "$", "byte-order mark"),
        (b'{"a": 1, "a": 2}', "a", "twice"),
        (b'[{"x": {"a": 1, "b": 2, "a": 2}}]', "[0].x.a", "twice"),
        ('{"\u00e9": 1, "e\u0301": 2}'.encode(), "\u00e9", "twice"),
        (b'{"a": ' + b"9" * 19 + b"}", "a", "digits"),
        (b'{"a": ' + b"9" * 9999 + b"}", "a", "digits"),
        (b"[" * 33 + b"]" * 33, path_of([0] * 32), "deeper than 32"),
        (b"[" * 100_000, "$", "deeper than 32"),
        (b'{"a":' * 100_000, "$", "deeper than 32"),
        (json.dumps({"a": "x" * (MAX_STRING_BYTES + 1)}).encode(), "a", "64 KiB"),
        (json.dumps({"a": "ş" * (MAX_STRING_BYTES // 2 + 1)}, ensure_ascii=False).encode(), "a", "64 KiB"),
        (json.dumps({str(n): n for n in range(1001)}).encode(), "$", "1000 keys"),
        (json.dumps([{}, {"a": {str(n): n for n in range(1000)}}]).encode(), "[1].a", "1000 keys"),
    ],
)
def test_refuses_with_the_path(body: bytes, path: str, reason: str) -> None:
    found = faults(body)
    assert [where for where, _ in found] == [path]
    assert reason in found[0][1]


def test_names_every_place_up_to_a_limit() -> None:
    found = faults(b'{"a": NaN, "b": ["\\u0000"], "c": 1e999}')
    assert [path for path, _ in found] == ["a", "b[0]", "c"]
    assert len(faults(b"[" + b",".join([b"NaN"] * 500) + b"]")) == 20


def test_limits_themselves_are_allowed() -> None:
    deep: Any = 1
    for _ in range(32):
        deep = [deep]
    for value in (deep, {"a": "x" * MAX_STRING_BYTES}, {str(n): n for n in range(1000)}, 999_999_999_999_999_999):
        assert decode_json(json.dumps(value).encode()) == value


def test_keys_count_per_element_of_a_bulk() -> None:
    bulk = [{str(n): n for n in range(20)} for _ in range(500)]
    assert decode_json(json.dumps(bulk).encode()) == bulk


def normal(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, dict):
        return {normal(key): normal(item) for key, item in value.items()}
    return value


@given(json_values, st.booleans())
@example({"e\u0301": "e\u0301"}, True)
@example({"e\u0301": "e\u0301"}, False)
@example(["\U0001f600", "نمی\u200cرسد"], True)
def test_good_json_comes_through_in_nfc(value: Any, ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii)
    decoded, refused = outcome(text.encode())
    assert all("U+0000" in reason or "twice" in reason for reason in refused)
    assert refused or decoded == normal(value)


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:0123456789eE+-.truefalsn\\u d8', max_size=80).map(str.encode))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    decoded, refused = outcome(body)
    assert refused or json.dumps(decoded, allow_nan=False, ensure_ascii=False).encode()


def outcome(body: bytes) -> tuple[Any, list[str]]:
    try:
        return decode_json(body), []
    except InvalidInput as error:
        return None, [fault.reason for fault in error.faults]


def test_long_numbers_of_vendors_are_text_to_the_last_digit() -> None:
    body = b'{"id": 1924465506158878979, "small": 12, "text": "1924465506158878979"}'
    assert decode_json(body, long_numbers_as_text=True) == {
        "id": "1924465506158878979",
        "small": 12,
        "text": "1924465506158878979",
    }
    with pytest.raises(InvalidInput):
        decode_json(body)
