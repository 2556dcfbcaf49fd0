"""Scoring on a real database without a bus, and the same scores by brute force."""

import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

from services.scoring.domain.answers import ids_of
from services.scoring.domain.rules import Rules
from services.scoring.intake import Intake
from services.scoring.repository.blocks import unpack
from services.scoring.service import ScoringService
from shared.bus import codec
from shared.bus.port import PlainRecord, Record
from shared.contracts.envelope import Event, caused_by
from shared.contracts.feedback_received import FeedbackReceivedV1, Rating, Survey
from shared.contracts.feedback_routed import FeedbackRoutedV1, IssueTag
from shared.contracts.invitation_changed import STATUSES, InvitationChangedV1, InvitationStatus
from shared.contracts.tags import Issue, Sentiment
from shared.core.ids import external_event_id, name_id
from shared.db.database import Database, Reader
from shared.db.unit_of_work import UnitOfWork

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
if (NOW + HOUR).day == 1:
    NOW -= HOUR  # the windows of a month turn with a test's next hour, and would be counted with it
METRICS = {
    "nps": (0, 10, "nps"),
    "csat": (1, 5, "top_two"),
    "ces": (1, 7, "mean"),
    "rating": (1, 5, "mean"),
}


Made = tuple[ScoringService, Database]


class Clock:
    """Stands at NOW until a test moves it by `by`, so that no hour turns unless a test says so."""

    def __init__(self) -> None:
        self.by = timedelta()

    async def __call__(self, _: Reader | UnitOfWork) -> datetime:
        return NOW + self.by


@asynccontextmanager
async def scoring(
    url: str, *, interval_seconds: float = 0, minimum_n: int = 30, clock: Clock | None = None
) -> AsyncIterator[tuple[ScoringService, Database]]:
    """The service on its schema, without consumer, timers or publisher: a test calls them itself."""
    database = Database(url, "scoring", encode=codec.encode)
    try:
        yield made_on(database, interval_seconds=interval_seconds, minimum_n=minimum_n, clock=clock), database
    finally:
        await database.stop()


def made_on(
    database: Database, *, interval_seconds: float = 0, minimum_n: int = 30, clock: Clock | None = None
) -> ScoringService:
    """A service that publishes at once, and for which it is NOW."""
    return ScoringService(database, minimum_n=minimum_n, interval_seconds=interval_seconds, now=clock or Clock())


def rating(metric: str, value: float, **fields: Any) -> Rating:
    low, high, formula = METRICS[metric]
    return Rating(
        **{"metric": metric, "value": value, "scale_min": low, "scale_max": high, "formula": formula} | fields
    )


def answered(
    n: int | str,
    *ratings: Rating,
    at: datetime,
    workspace: str = "acme",
    revision: int = 0,
    survey_type: str | None = "transactional",
    wave: str | None = None,
    **fields: Any,
) -> Event[FeedbackReceivedV1]:
    """A feedback event with exactly these ratings and dimensions; without `survey_type` it is a message."""
    data = FeedbackReceivedV1(
        **{
            "feedback_id": name_id("feedback", workspace, str(n)),
            "revision": revision,
            "kind": "message" if survey_type is None else "survey_response",
            "occurred_at": at,
            "received_at": max(at, datetime.now(UTC)),
            "source": "test",
            "connector": "test",
            "channel": "email",
            "survey": None if survey_type is None else Survey(id="s1", type=survey_type, wave=wave),
            "ratings": ratings,
            **fields,
        }
    )
    event_id = external_event_id(workspace, "test", str(n), f"{revision}{'-' if data.removed else ''}")
    return Event(event_id, "closeloop/ingest", data.received_at, workspace, data.feedback_id, None, data)


def understood(
    event: Event[FeedbackReceivedV1], sentiment: Sentiment, *issues: Issue, **fields: Any
) -> Event[FeedbackRoutedV1]:
    """What routing says of a feedback event."""
    data = event.data
    same = ("feedback_id", "revision", "customer_id", "occurred_at", "received_at", "channel", "touchpoint")
    routed = FeedbackRoutedV1(
        **{
            **{name: getattr(data, name) for name in (*same, "product", "segment", "survey")},
            "source_department": data.department,
            "language": "en",
            "language_confidence": 1,
            "sentiment": sentiment,
            "sentiment_score": 0,
            "sentiment_confidence": 1,
            "department": "none",
            "department_confidence": 1,
            "issues": tuple(IssueTag(issue=issue, confidence=1) for issue in issues),
            "urgency": "normal",
            "actionable": False,
            "spam": False,
            "spam_score": 0,
            "understanding_version": "test",
            **fields,
        }
    )
    return caused_by(event, routed, group="routing")


def invited(
    n: int | str, status: InvitationStatus, *, at: datetime, workspace: str = "acme", **fields: Any
) -> Event[InvitationChangedV1]:
    """One status of an invitation."""
    data = InvitationChangedV1(
        **{
            "invitation_id": name_id("invitation", workspace, str(n)),
            "status": status,
            "invited_at": at,
            "received_at": max(at, datetime.now(UTC)),
            "source": "test",
            "connector": "test",
            "channel": "email",
            "survey": Survey(id="s1", type="transactional"),
            **fields,
        }
    )
    event_id = external_event_id(workspace, "test", f"invitation:{n}", status)
    return Event(event_id, "closeloop/ingest", data.received_at, workspace, data.invitation_id, None, data)


def recorded(events: Sequence[Event[Any]]) -> list[Record]:
    """Events as records of a bus."""
    messages = [codec.encode(event) for event in events]
    return [PlainRecord(m.topic, 0, n, m.key, m.value, m.headers) for n, m in enumerate(messages)]


async def deliver(
    service: ScoringService, database: Database, events: Sequence[Event[Any]], *, count: bool = True
) -> None:
    """One batch as the consumer loop hands it over, counted unless `count` is False."""
    async with database.unit_of_work() as uow:
        await service.take(Intake().read(recorded(events)), uow)
    if count:
        await count_all(service)


async def kept(database: Database) -> set[tuple[Any, ...]]:
    """The versions that count, as they are stored: workspace, feedback, revision, removed, value."""
    async with database.reader() as reader:
        found = await reader.all("select * from block where first_row is not null")
    versions = set()
    for row in found:
        rows = unpack(row.workspace, row.head, row.rows).rows
        live = np.delete(np.arange(len(rows)), row.dead)
        names = ["revision", "removed", "value"]
        for feedback_id, version in zip(ids_of(rows[live]), rows[live][names].tolist(), strict=True):
            versions.add((row.workspace, feedback_id, *version))
    return versions


async def count_all(service: ScoringService) -> None:
    """Count what has come; publish what may be published at once."""
    for workspace in await service.waiting():
        while await service.project(workspace):
            pass


async def publish_all(service: ScoringService) -> None:
    """Count and publish until nothing is left that may be published now."""
    while await service.waiting():
        await count_all(service)


async def outbox(database: Database) -> list[Event[Any]]:
    """The events that were published, in order."""
    from shared.db.unit_of_work import load_headers

    async with database.reader() as reader:
        rows = await reader.all("select headers, value from outbox order by id")
    return [codec.decode_parts(load_headers(row.headers), row.value) for row in rows]


async def events_per_second(url: str, events: Sequence[Event[Any]], batch: int = 500) -> float:
    """Speed of the handler alone: claim, answers, sums, marks, committed batch by batch (no bus, no publisher)."""
    async with scoring(url, interval_seconds=1) as (service, database):
        started = time.perf_counter()
        for first in range(0, len(events), batch):
            await deliver(service, database, events[first : first + batch])
        return len(events) / (time.perf_counter() - started)


# Brute force: from the log of all events, with nothing of the service's own code.

SeriesName = tuple[str, str, tuple[tuple[str, str], ...]]
"""metric, survey type, sorted dimensions."""


@dataclass(frozen=True)
class Expected:
    n: int
    value: float | None
    previous_n: int
    previous_value: float | None


def counted(log: Iterable[Event[Any]]) -> list[Event[Any]]:
    """The version of each feedback that counts: the highest revision, a removal over the revision it names. What it
    rates and what it says come apart; a removal takes back both. Of an invitation the furthest status counts."""
    best: dict[tuple[str, UUID, type], tuple[tuple[int, bool], Event[Any]]] = {}
    for event in log:
        if isinstance(event.data, InvitationChangedV1):
            key = (event.workspace, event.data.invitation_id, InvitationChangedV1)
            rank = (STATUSES.index(event.data.status), False)
            if key not in best or best[key][0] < rank:
                best[key] = (rank, event)
            continue
        if isinstance(event.data, FeedbackRoutedV1) and event.data.spam and event.data.survey is None:
            key = (event.workspace, event.data.feedback_id, FeedbackReceivedV1)
            hidden = (event.data.revision, True)
            if key not in best or best[key][0] < hidden:
                best[key] = (hidden, event)
        removed = getattr(event.data, "removed", False)
        for kind in (FeedbackReceivedV1, FeedbackRoutedV1) if removed else (type(event.data),):
            key = (event.workspace, event.data.feedback_id, kind)
            rank = (event.data.revision, removed)
            if key not in best or best[key][0] < rank:
                best[key] = (rank, event)
    return [event for (_, removed), event in best.values() if not removed]


def window_of(name: str, now: datetime, zone: str = "UTC") -> tuple[datetime, datetime, datetime]:
    """(begin of the window before, begin, end) of a window, by the calendar of `zone`."""
    local = now.astimezone(ZoneInfo(zone))
    # The grid of hours stands on the zone's standard time, so hours of Tehran begin at half past by UTC.
    begun = local.replace(minute=0, second=0, microsecond=0)
    end = begun.astimezone(UTC) + HOUR
    if name.endswith("d"):
        days = int(name[:-1])
        return end - timedelta(days=2 * days), end - timedelta(days=days), end
    months = {"month": 1, "quarter": 3}[name]
    first = begun.replace(month=begun.month - (begun.month - 1) % months, day=1, hour=0, fold=0)
    number = first.year * 12 + first.month - 1 - months
    before = first.replace(year=number // 12, month=number % 12 + 1)
    return before.astimezone(UTC), first.astimezone(UTC), end


def brute_force(
    log: Iterable[Event[Any]], now: datetime, window: str, zone: str = "UTC", rules: Rules | None = None
) -> Mapping[SeriesName, Expected]:
    """Every series' value in a window and in the one before it, answer by answer."""
    rules = rules or Rules()
    before, start, end = window_of(window, now, zone)
    current: dict[SeriesName, list[Any]] = defaultdict(list)
    previous: dict[SeriesName, list[Any]] = defaultdict(list)
    events = counted(log)
    for event in events:
        for name, _ in _memberships(event.data, rules):
            current.setdefault(name, [])
    for values, low, high in ((current, start, end), (previous, before, start)):
        inside = [event for event in events if low <= _moment(event) < high]
        for event in inside:
            for name, given in _memberships(event.data, rules):
                if not rules.one_per_person or _is_latest(event, name[0], inside):
                    values[name].append(given)
    shown = {name: _leading(name[0], values, previous[name]) for name, values in current.items()}
    return {
        name: Expected(len(now_shown), _value(now_shown), len(before_shown), _value(before_shown))
        for name, (now_shown, before_shown) in shown.items()
    }


def _moment(event: Event[Any]) -> datetime:
    happened = event.data.invited_at if isinstance(event.data, InvitationChangedV1) else event.data.occurred_at
    moment: datetime = min(happened, event.data.received_at)
    return moment


def _is_latest(event: Event[Any], metric: str, inside: Iterable[Event[Any]]) -> bool:
    """Whether no later answer of the person to this survey says something of the metric."""
    data = event.data
    if metric in ("sentiment", "response_rate") or data.survey is None or data.customer_id is None:
        return True
    place = (_moment(event), data.feedback_id.int)
    return not any(
        isinstance(other.data, FeedbackReceivedV1)
        and other.data.customer_id == data.customer_id
        and other.data.survey is not None
        and other.data.survey.id == data.survey.id
        and other.data.rating(metric)
        and (_moment(other), other.data.feedback_id.int) > place
        for other in inside
    )


def _leading(metric: str, values: list[Any], previous: list[Any]) -> tuple[list[Any], list[Any]]:
    """What is added together of ratings with different formulas or scales: the kind most of them have."""
    if metric == "sentiment":
        known = ([sound for sound in some if sound != "unknown"] for some in (values, previous))
        return next(known), next(known)
    if metric == "response_rate":
        arrived = ([one for one in some if one in ("delivered", "completed")] for some in (values, previous))
        return next(arrived), next(arrived)

    def kind(rating: Rating) -> tuple[bool, str]:
        scale = f":{rating.scale_min:g}:{rating.scale_max:g}" if rating.formula == "mean" else ""
        return rating.formula != METRICS[metric][2], rating.formula + scale

    counts = Counter(map(kind, values or previous))
    leading = min(counts, key=lambda one: (-counts[one], one)) if counts else None
    of_kind = ([one for one in some if kind(one) == leading] for some in (values, previous))
    return next(of_kind), next(of_kind)


def _memberships(
    data: FeedbackReceivedV1 | FeedbackRoutedV1 | InvitationChangedV1, rules: Rules
) -> list[tuple[SeriesName, Any]]:
    said = isinstance(data, FeedbackRoutedV1)
    given = {
        "touchpoint": data.touchpoint,
        "department": data.source_department if said else data.department,
        "product": data.product,
        "segment": data.segment,
        "channel": data.channel,
        "wave": data.survey.wave if data.survey else None,
    }
    kind = data.survey.type if data.survey else "transactional" if data.touchpoint else "relational"
    formulas = rules.formulas.get(data.survey.id, {}) if data.survey else {}
    if isinstance(data, FeedbackRoutedV1):
        issues = [] if data.spam else [{}, *({"issue": tag.issue} for tag in data.issues)]
        return [
            (("sentiment", kind, names), data.sentiment)
            for issue in issues
            for names in _sets(given | issue, rules)
            if not issue or "issue" in dict(names)
        ]
    sets = _sets(given, rules)
    if isinstance(data, InvitationChangedV1):
        return [(("response_rate", kind, names), data.status) for names in sets]
    ratings = [
        rating.model_copy(update={"formula": formulas.get(rating.metric, rating.formula)}) for rating in data.ratings
    ]
    return [((rating.metric, kind, names), rating) for rating in ratings for names in sets]


def _sets(given: Mapping[str, str | None], rules: Rules) -> list[tuple[tuple[str, str], ...]]:
    return [
        tuple((name, str(given[name])) for name in names)
        for names in rules.roll_ups
        if all(given.get(name) is not None for name in names)
    ]


def _value(values: list[Any]) -> float | None:
    if not values:
        return None
    n = len(values)
    if values[0] in STATUSES:
        exact = Fraction(100 * values.count("completed"), n)
    elif isinstance(values[0], str):
        exact = Fraction(100 * (values.count("positive") - values.count("negative")), n)
    elif values[0].formula == "nps":
        net = sum(1 for v in values if v.value >= 9) - sum(1 for v in values if v.value <= 6)
        exact = Fraction(100 * net, n)
    elif values[0].formula == "top_two":
        exact = Fraction(100 * sum(1 for v in values if v.value >= v.scale_max - 1), n)
    else:
        exact = Fraction(sum(round(v.value * 10**6) for v in values), n * 10**6)
    return round(float(exact), 4)
