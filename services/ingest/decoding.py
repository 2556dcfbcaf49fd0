"""The strict decoder at the door (security.md 7, 8): what Postgres or a consumer would choke on is refused here.

The quick path is one C parse and a few counts; only what looks suspicious is walked through, to name the place.
"""

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

from shared.core.errors import Fault, InvalidInput

MAX_DEPTH = 32
MAX_KEYS = 1_000
MAX_STRING_BYTES = 64 * 1024
_MAX_FAULTS = 20
# Below 2**63 an integer survives every language and column on the way.
_MAX_DIGITS = 18
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


class _Suspect(Exception):
    """The quick parse met something to refuse."""


class _Refused:
    """Stands in the parsed tree for something to refuse."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def path_of(location: Sequence[str | int]) -> str:
    """A place in JSON as people write it: `[3].ratings[0].value`; `$` is the whole."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".") or "$"


def invalid(faults: Sequence[Fault]) -> InvalidInput:
    """The error for these faults."""
    return InvalidInput("The input cannot be accepted; nothing was stored. Mend what `faults` names.", faults=faults)


def text_of(body: bytes) -> str:
    """UTF-8 to text. Raises InvalidInput for a byte-order mark and for what is not UTF-8."""
    if body.startswith(_BYTE_ORDER_MARKS):
        raise invalid([Fault("$", "begins with a byte-order mark; send UTF-8 without one")])
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise invalid([Fault("$", f"is not UTF-8 at byte {error.start}")]) from None


def decode_json(body: bytes, *, max_keys: int = MAX_KEYS, long_numbers_as_text: bool = False) -> Any:
    """The value of a JSON text, its strings in Unicode NFC. Raises InvalidInput with the path of each fault.

    Key limits count per element where the text is an array: a bulk of 500 small objects is fine. Vendors send ids of 19
    digits as numbers: `long_numbers_as_text` takes whole numbers of more than 18 digits for text.
    """
    text = text_of(body)
    quick, lenient = (_QUICK_LONG, _LENIENT_LONG) if long_numbers_as_text else (_QUICK, _LENIENT)
    try:
        value = quick.decode(text)
    except _Suspect:
        value = _parsed(lenient, text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error) from None
    else:
        if not _suspicious(text):
            return value
    walk = _Walk(max_keys)
    value = walk.top(value)
    if walk.faults:
        raise invalid(walk.faults)
    return value


def clean_text(text: str) -> str:
    """One string as `decode_json` would give it. Raises ValueError with the reason."""
    if reason := _string_fault(text):
        raise ValueError(reason)
    return unicodedata.normalize("NFC", text)


def _parsed(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error) from None


def _unreadable(error: ValueError | RecursionError) -> InvalidInput:
    if isinstance(error, RecursionError):
        return invalid([Fault("$", f"is nested deeper than {MAX_DEPTH} levels")])
    if isinstance(error, json.JSONDecodeError):
        return invalid([Fault("$", f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})")])
    return invalid([Fault("$", "is not JSON")])


def _suspicious(text: str) -> bool:
    if "\\u" in text or len(text) > MAX_STRING_BYTES // 4 or text.count(":") > MAX_KEYS:
        return True
    if text.count("{") + text.count("[") > MAX_DEPTH:
        return True
    return not text.isascii() and not unicodedata.is_normalized("NFC", text)


class _Walk:
    """Looks at every key and value; collects faults, gives the value back with its strings in NFC."""

    def __init__(self, max_keys: int) -> None:
        self.faults: list[Fault] = []
        self._max_keys = max_keys
        self._location: list[str | int] = []
        self._keys = 0

    def top(self, value: Any) -> Any:
        if not isinstance(value, list):
            return self._value(value)
        return [self._element(index, item, counted_alone=True) for index, item in enumerate(value)]

    def _element(self, index: int, item: Any, *, counted_alone: bool = False) -> Any:
        if counted_alone:
            self._keys = 0
        self._location.append(index)
        result = self._value(item)
        self._location.pop()
        return result

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._string(value)
        if isinstance(value, _Refused):
            self._fault(value.reason)
        elif isinstance(value, dict | list):
            if len(self._location) >= MAX_DEPTH:
                self._fault(f"is nested deeper than {MAX_DEPTH} levels")
            elif isinstance(value, dict):
                return self._object(value)
            else:
                return [self._element(index, item) for index, item in enumerate(value)]
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        before = self._keys
        self._keys += len(value)
        if before <= self._max_keys < self._keys:
            self._fault(f"has more than {self._max_keys} keys")
            return value
        result: dict[str, Any] = {}
        for key, item in value.items():
            self._location.append(_shown(key))
            clean = self._string(key)
            if clean in result:
                self._fault("the key is there twice")
            result[clean] = self._value(item)
            self._location.pop()
        return result

    def _string(self, text: str) -> str:
        if reason := _string_fault(text):
            self._fault(reason)
            return text
        return text if text.isascii() else unicodedata.normalize("NFC", text)

    def _fault(self, reason: str) -> None:
        if len(self.faults) < _MAX_FAULTS:
            self.faults.append(Fault(path_of(self._location), reason))


def _string_fault(text: str) -> str | None:
    if "\x00" in text:
        return "contains U+0000"
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        return "contains a lone surrogate"
    return f"is longer than {MAX_STRING_BYTES // 1024} KiB" if size > MAX_STRING_BYTES else None


def _shown(key: str) -> str:
    """A key as part of a path: it is the sender's text, so it is cut and made printable."""
    return "".join(
        character if character.isprintable() else "�" for character in unicodedata.normalize("NFC", key[:80])
    )


def _suspect(_: str) -> Any:
    raise _Suspect


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Suspect
    return result


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _Suspect
    return number


def _short(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise _Suspect
    return int(text)


def _lenient_unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        result[key] = _Refused("the key is there twice") if key in result else value
    return result


def _lenient_float(text: str) -> float | _Refused:
    number = float(text)
    return _Refused("the number is too large") if number in (float("inf"), float("-inf")) else number


def _lenient_int(text: str) -> int | _Refused:
    if len(text) > _MAX_DIGITS:
        return _Refused(f"a number of more than {_MAX_DIGITS} digits; send it as text")
    return int(text)


def _lenient_constant(name: str) -> _Refused:
    return _Refused(f"{name} is not a JSON number")


def _decoders(short: Any, lenient: Any) -> tuple[json.JSONDecoder, json.JSONDecoder]:
    quick = json.JSONDecoder(
        object_pairs_hook=_unique, parse_float=_finite, parse_int=short, parse_constant=_suspect, strict=True
    )
    slow = json.JSONDecoder(
        object_pairs_hook=_lenient_unique,
        parse_float=_lenient_float,
        parse_int=lenient,
        parse_constant=_lenient_constant,
        strict=True,
    )
    return quick, slow


def _as_text(text: str) -> int | str:
    return text if len(text) > _MAX_DIGITS else int(text)


_QUICK, _LENIENT = _decoders(_short, _lenient_int)
_QUICK_LONG, _LENIENT_LONG = _decoders(_as_text, _as_text)
