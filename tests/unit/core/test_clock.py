"""One spelling of a time leaves our APIs."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from shared.core.clock import rfc3339, utc_now


def test_now_is_aware_and_in_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 3, 10, 9, 14, 53, tzinfo=UTC), "2026-03-10T09:14:53Z"),
        (datetime(2026, 3, 10, 9, 14, 53, 218_000, tzinfo=UTC), "2026-03-10T09:14:53.218000Z"),
        (datetime(2026, 3, 10, 1, 30, tzinfo=timezone(timedelta(hours=3, minutes=30))), "2026-03-09T22:00:00Z"),
    ],
)
def test_rfc3339(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text
    assert datetime.fromisoformat(text) == moment


def test_a_time_without_a_zone_is_a_bug_at_the_caller() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        rfc3339(datetime(2026, 3, 10))  # noqa: DTZ001  the bug in question
