"""Ids: what repeats must repeat for ever, what is fresh must sort by time."""

from unittest.mock import patch
from uuid import RFC_4122, UUID

import pytest

from shared.core.ids import caused_event_id, external_event_id, name_id, uuid7

NOW = 1_773_134_093_218  # milliseconds


def test_uuid7_has_version_and_variant() -> None:
    ids = [uuid7() for _ in range(1000)]
    assert {(id_.version, id_.variant) for id_ in ids} == {(7, RFC_4122)}
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("random", [b"\x00" * 10, b"\xff" * 10])
def test_uuid7_starts_with_its_milliseconds_whatever_the_random_part(random: bytes) -> None:
    with (
        patch("shared.core.ids.time.time_ns", return_value=NOW * 1_000_000),
        patch("shared.core.ids.os.urandom", return_value=random),
    ):
        made = uuid7()
    assert made.int >> 80 == NOW
    assert (made.version, made.variant) == (7, RFC_4122)


def test_uuid7_sorts_by_millisecond() -> None:
    ids = []
    for i in range(50):
        with patch("shared.core.ids.time.time_ns", return_value=(NOW + i) * 1_000_000):
            ids.append(uuid7())
    assert ids == sorted(ids)
    assert [str(id_) for id_ in ids] == sorted(map(str, ids))


def test_name_ids_never_change() -> None:
    """Another value here means that every delivery repeated after an upgrade would be counted twice."""
    assert external_event_id("lale", "typeform", "a3f8c1d2", 0) == UUID("1a437b05-486e-57f8-9540-382e2d990ea9")
    assert caused_event_id("routing", UUID(int=7), "dev.closeloop.feedback.routed.v1", 1) == UUID(
        "556ce162-674b-5ef8-b0e1-b94a6b4c089e"
    )


@pytest.mark.parametrize(
    "other",
    [
        external_event_id("acme", "typeform", "1", 0),
        external_event_id("lale", "tally", "1", 0),
        external_event_id("lale", "typeform", "2", 0),
        external_event_id("lale", "typeform", "1", 1),
        external_event_id("lale", "typeform1", "", 0),
        name_id("caused", "lale", "typeform", "1", "0"),
    ],
)
def test_every_part_of_a_name_counts(other: UUID) -> None:
    assert other != external_event_id("lale", "typeform", "1", 0)


def test_a_revision_may_be_a_number_or_its_spelling() -> None:
    assert external_event_id("lale", "s", "1", 7) == external_event_id("lale", "s", "1", "7")
