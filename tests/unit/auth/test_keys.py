"""API keys: their form, what is stored of them, and what never shows."""

import hashlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.auth.keys import Principal, Role, matches, new_key, parse_key


def test_a_new_key_is_found_by_its_id_and_proved_by_its_secret() -> None:
    key = new_key()
    parsed = parse_key(key.text)
    assert parsed is not None
    key_id, secret = parsed
    assert key_id == key.id
    assert matches(secret, key.secret_hash)
    assert key.secret_hash == hashlib.sha256(secret.encode()).hexdigest()


def test_the_secret_has_at_least_256_bits_and_is_never_the_same() -> None:
    assert 43 * math.log2(62) >= 256
    assert len({new_key().text for _ in range(500)}) == 500


def test_nothing_that_shows_a_key_shows_its_secret() -> None:
    key = new_key()
    secret = key.text.rpartition("_")[2]
    assert secret not in repr(key) + str(key) + f"{key}" + key.secret_hash


def test_another_secret_does_not_match() -> None:
    one, other = new_key(), new_key()
    assert not matches(other.text.rpartition("_")[2], one.secret_hash)
    assert not matches("", one.secret_hash)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text + "a",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.upper(),
        lambda text: text.replace("clk_", "sk_"),
        lambda text: text[:-1] + "é",
        lambda text: text[:-1] + "٣",
        lambda text: text[:4] + "\x00" + text[5:],
        lambda text: text * 1000,
    ],
)
def test_what_is_not_a_key_is_not_one(change: object) -> None:
    assert parse_key(change(new_key().text)) is None  # type: ignore[operator]


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    assert parse_key(text) is None


@pytest.mark.parametrize(
    ("held", "asked", "may"),
    [
        ({Role.AGENT}, (Role.AGENT,), True),
        ({Role.AGENT}, (Role.MANAGER, Role.AGENT), True),
        ({Role.AGENT}, (Role.MANAGER,), False),
        ({Role.ADMIN}, (Role.OPERATOR,), True),
        ({Role.ADMIN}, (), True),
        ({Role.CHANNEL}, (), False),
        (set(), (Role.AGENT,), False),
    ],
)
def test_roles(held: set[Role], asked: tuple[Role, ...], may: bool) -> None:
    assert Principal("acme", "id", "name", frozenset(held)).may(*asked) is may
