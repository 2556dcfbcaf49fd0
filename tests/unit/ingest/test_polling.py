"""How a look at a list goes on, and what the next one knows."""

import time
from typing import Any

import pytest

from services.ingest.sources.base import Wanted
from services.ingest.sources.fetching import Fetched
from services.ingest.sources.polling import DAY_MS, Found, looked
from services.ingest.sources.youtube import YouTube, YouTubeSettings
from shared.core.errors import InvalidInput

SETTINGS = YouTubeSettings(channel_id="UCaaaaaaaaaaaaaaaaaaaaaa", history_days=2, every_seconds=600)
NOW = int(time.time() * 1000)
HOUR = 3_600_000


def look(cursor: dict[str, Any], *found: Found, oldest: int | None = None, page: str | None = None) -> Fetched:
    made = [one.changed_ms for one in found if one.changed_ms is not None]
    return looked(SETTINGS, cursor, found, oldest or min(made, default=None), page, lookback_ms=DAY_MS)


def said(name: str, ago_ms: int) -> Found:
    return Found(name, NOW - ago_ms, {"id": name})


def ids(fetched: Fetched) -> list[str]:
    return [item["id"] for item in fetched.parsed.items]


def test_the_first_look_ends_where_history_does() -> None:
    first = look({}, said("a", HOUR), said("b", 4 * DAY_MS), page="2")
    assert ids(first) == ["a"]
    assert first.following is not None
    assert "page" not in first.following
    assert (first.following["known"], first.after_seconds) == ({"a": NOW - HOUR}, 600)


def test_pages_follow_at_once_and_the_last_one_ends_the_look() -> None:
    first = look({}, said("a", HOUR), page="2")
    assert first.following is not None
    assert (first.following["page"], first.after_seconds) == ("2", 0)
    last = look(dict(first.following), said("b", 2 * HOUR))
    assert ids(last) == ["b"]
    assert last.following == {"after": NOW - HOUR, "known": {"a": NOW - HOUR, "b": NOW - 2 * HOUR}}
    assert ids(look(dict(last.following), said("a", HOUR), said("b", 2 * HOUR))) == []


def test_the_same_page_again_ends_the_look_instead_of_going_round() -> None:
    again = look({"after": NOW - DAY_MS, "known": {}, "fresh": {}, "page": "2"}, said("a", HOUR), page="2")
    assert again.following is not None
    assert "page" not in again.following


def test_what_is_dated_tomorrow_does_not_hide_what_comes_next() -> None:
    ahead = look({}, said("a", -30 * DAY_MS))
    assert ahead.following is not None
    assert ahead.following["after"] <= time.time() * 1000
    assert ids(look(dict(ahead.following), said("a", -30 * DAY_MS), said("b", -1))) == ["b"]


def test_what_appears_late_is_found_and_an_older_one_is_not() -> None:
    assert ids(look({"after": NOW, "known": {}}, said("late", 23 * HOUR), said("old", 25 * HOUR))) == ["late"]


def test_a_quiet_list_keeps_its_cursor() -> None:
    cursor = {"after": NOW - HOUR, "known": {}}
    assert look(cursor).following == cursor


def test_a_cursor_stays_small() -> None:
    following = look({}, *(said(str(number), number) for number in range(5_000))).following
    assert following is not None
    assert len(following["known"]) == 2_000
    assert "0" in following["known"]


def test_a_look_that_begins_anew_does_not_give_again_what_it_gave() -> None:
    first = look({}, said("a", HOUR), page="2")
    assert first.following is not None
    anew = YouTube().restarted(Wanted("new", first.following))
    assert ids(look(dict(anew.detail), said("b", 0), said("a", HOUR))) == ["b"]


def test_a_list_in_which_nothing_has_a_time_is_not_understood() -> None:
    with pytest.raises(InvalidInput):
        look({}, Found("", None, {}))
    assert look({}, Found("", None, {}), said("a", HOUR)).parsed.skipped == {"without id or time": 1}
