"""Looks at lists that vendors give newest first, for those that tell nothing: what is new since the last, or changed.

A look reads pages until what is older than the last look, less `lookback`: so far back things may appear late, or
change. Its cursor remembers what it knows of that time, so that a quiet list gives nothing.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from services.ingest.decoding import invalid
from services.ingest.sources.base import Parsed, Wanted, skipped
from services.ingest.sources.fetching import Fetched, FetchingConnector, FetchSettings
from services.ingest.sources.proof import Address
from shared.auth.signatures import Signed
from shared.core.errors import Fault

DAY_MS = 24 * 3600 * 1000
# What a busy list has more of is given again at each look; its events have the same ids.
_MOST_KNOWN = 2_000


class PollSettings(FetchSettings):
    """How often a list is looked at."""

    every_seconds: float = Field(default=900, ge=60, le=86_400, description="Time between two looks.")
    history_days: float = Field(default=30, ge=0, le=3_650, description="How far back the first look goes.")


@dataclass(frozen=True, slots=True)
class Found:
    """One thing of a list: `changed_ms` is when it was last changed, since 1970, None where it does not say so; `item`
    is None for what is left out."""

    id: str
    changed_ms: int | None
    item: dict[str, Any] | None


class Poller(FetchingConnector):
    """A connector without deliveries."""

    polled = "new"
    proof = Address()

    def parse(self, settings: Any, message: Signed) -> Parsed:
        """See Connector: whoever posts here is not the vendor."""
        del settings, message
        return skipped("nothing is posted here")

    def restarted(self, wanted: Wanted) -> Wanted:
        """See FetchingConnector: from the first page on, without what the pages before have given."""
        detail = wanted.detail
        kept = {name: detail[name] for name in ("after", "known") if name in detail}
        return Wanted(wanted.object, {**kept, "known": {**detail.get("known", {}), **detail.get("fresh", {})}})


def looked(
    settings: PollSettings,
    cursor: Mapping[str, Any],
    found: Sequence[Found],
    oldest_ms: int | None,
    next_page: str | None,
    *,
    lookback_ms: int,
) -> Fetched:
    """What a page gives, and how to go on. `oldest_ms` is when the last of the page was made, None for an empty page;
    `next_page` names the next one, None where it is the last. Raises InvalidInput where nothing on it says when it was
    made."""
    if found and all(one.changed_ms is None for one in found):
        raise invalid([Fault("$", "nothing in the list says what it is and when it was made")])
    now = int(time.time() * 1000)
    after: int = cursor.get("after") or now - int(settings.history_days * DAY_MS)
    known: dict[str, int] = cursor.get("known", {})
    fresh: dict[str, int] = dict(cursor.get("fresh", {}))
    parsed = Parsed()
    for one in found:
        if one.changed_ms is None:
            parsed.skipped["without id or time"] += 1
        elif one.changed_ms > after - lookback_ms:
            fresh[one.id] = one.changed_ms
            if one.item is not None and known.get(one.id) != one.changed_ms:
                parsed.items.append(one.item)
    more = next_page is not None and next_page != cursor.get("page") and oldest_ms is not None
    if more and oldest_ms is not None and oldest_ms > after - lookback_ms:
        return Fetched(parsed, {"after": after, "known": known, "fresh": fresh, "page": next_page})
    # A clock that is ahead must not hide what comes next.
    newest = min(now, max([after, *fresh.values()]))
    recent = sorted(
        ((changed, name) for name, changed in fresh.items() if changed > newest - lookback_ms), reverse=True
    )
    following = {"after": newest, "known": {name: changed for changed, name in recent[:_MOST_KNOWN]}}
    return Fetched(parsed, following, settings.every_seconds)
