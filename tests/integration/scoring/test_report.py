"""The quarterly report says what a recount would: scores, what moved them, what was said and what was done."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.scoring import handlers
from services.scoring.domain.report import Quarter, QuarterReport
from services.scoring.domain.series import SeriesKey
from services.scoring.goals import Goals
from services.scoring.report import Reports
from services.scoring.repository.targets import Target
from services.scoring.service import ScoringService
from shared.contracts.assignment_changed import AssignmentChangedV1, Resolution
from shared.contracts.envelope import Event, started_here
from shared.core.errors import InvalidInput
from shared.core.ids import name_id
from shared.db.database import Database, Reader
from shared.db.unit_of_work import UnitOfWork
from tests.integration.scoring.support import (
    answered,
    deliver,
    made_on,
    publish_all,
    rating,
    recorded,
    scoring,
    understood,
)

NOW = datetime(2026, 8, 20, 9, 30, tzinfo=UTC)
Q3, Q2, LAST_YEAR = (datetime(year, month, 10, tzinfo=UTC) for year, month in ((2026, 7), (2026, 5), (2025, 7)))
Made = tuple[ScoringService, Database, Reports]


async def clock(_: Reader | UnitOfWork) -> datetime:
    return NOW


@pytest.fixture
async def made(database_url: str) -> AsyncIterator[Made]:
    async with scoring(database_url) as (_, database):
        service = ScoringService(database, minimum_n=10, interval_seconds=0, now=clock)
        yield service, database, Reports(database, minimum_n=10, now=clock)


def given(
    name: str, at: datetime, good: int, bad: int, *, department: str = "support", **fields: Any
) -> list[Event[Any]]:
    """Promoters and detractors, a customer each."""
    return [
        answered(
            f"{name}{n}",
            rating("nps", 9 if n < good else 2),
            at=at,
            department=department,
            customer_id=person(name, n),
            **fields,
        )
        for n in range(good + bad)
    ]


def person(name: str, n: int) -> UUID:
    return name_id("customer", name, str(n))


def case(name: str, sequence: int = 1, **fields: Any) -> Event[AssignmentChangedV1]:
    data = AssignmentChangedV1(
        **{
            "assignment_id": name_id("assignment", name),
            "feedback_id": name_id("feedback", "acme", name),
            "sequence": sequence,
            "change": "resolved" if "resolution" in fields else "assigned",
            "state": "resolved" if "resolution" in fields else "assigned",
            "actor": "member-1",
            "channel": "email",
            "department": "support",
            "language": "en",
            "band": "detractor",
            "priority": "urgent",
            "opened_at": Q3,
            "first_response_due_at": Q3 + timedelta(minutes=5),
            **fields,
        }
    )
    return started_here("acme", data, correlation_id=data.feedback_id, event_id=name_id("event", name, str(sequence)))


def resolved(name: str, at: datetime, action: str = "called back", **fields: Any) -> Event[AssignmentChangedV1]:
    return case(name, 2, resolved_at=at, resolution=Resolution(cause="late delivery", action=action), **fields)


async def take(database: Database, service: ScoringService, events: list[Event[Any]]) -> None:
    """As the consumer hands them over: a batch is of one topic."""
    async with database.unit_of_work() as uow:
        await handlers.subscription(service, 100).handle(recorded(events), uow)


async def test_scores_stand_beside_the_quarter_and_the_year_before(made: Made) -> None:
    service, database, reports = made
    log = [*given("now", Q3, 15, 5), *given("before", Q2, 10, 10), *given("year", LAST_YEAR, 6, 4)]
    await deliver(service, database, [*log, *given("other", Q3, 1, 9, department="sales")])
    report = await reports.quarter("acme", "support", None)
    assert (report.quarter, report.start, report.is_over) == ("2026-Q3", datetime(2026, 7, 1, tzinfo=UTC), False)
    assert (report.end, report.as_of) == (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 8, 20, 10, tzinfo=UTC))
    [nps] = report.scores
    assert (nps.metric, nps.score.value, nps.score.n, nps.score.reportable) == ("nps", 50.0, 20, True)
    assert nps.score.previous is not None
    assert (nps.score.previous.value, nps.score.previous.n, nps.score.previous.change) == (0.0, 20, 50.0)
    assert nps.year_before is not None
    assert (nps.year_before.value, nps.year_before.n) == (20.0, 10)
    assert [(week.start, week.n) for week in nps.weeks if week.n] == [(date(2026, 7, 8), 20)]
    assert len(nps.weeks) == 8  # until today
    everything = await reports.quarter("acme", None, None)
    assert everything.scores[0].score.n == 30
    past = await reports.quarter("acme", "support", Quarter(2026, 2))
    assert (past.scores[0].score.n, past.is_over, len(past.scores[0].weeks)) == (20, True, 13)


async def test_what_moved_a_score_by_its_parts(made: Made) -> None:
    service, database, reports = made
    log = [
        *given("a", Q2, 15, 5, touchpoint="store"),
        *given("b", Q2, 15, 5, touchpoint="delivery"),
        *given("c", Q3, 15, 5, touchpoint="store"),
        *given("d", Q3, 5, 15, touchpoint="delivery"),
    ]
    await deliver(service, database, log)
    report = await reports.quarter("acme", "support", None)
    assert report.scores[0].score.previous is not None
    assert report.scores[0].score.previous.change == -50.0
    assert [(one.dimension, one.name, one.points, one.rate) for one in report.movers] == [
        ("touchpoint", "delivery", -50.0, -50.0)
    ]
    # Of all departments, a department is a part too.
    await deliver(service, database, given("e", Q3, 20, 0, department="sales"))
    report = await reports.quarter("acme", None, None)
    assert ("department", "sales") in {(one.dimension, one.name) for one in report.movers}


async def test_the_voice_of_the_customer_by_issue(made: Made) -> None:
    service, database, reports = made
    messages = [answered(f"m{n}", at=Q3, survey_type=None, department="support") for n in range(40)]
    earlier = [answered(f"e{n}", at=Q2, survey_type=None, department="support") for n in range(40)]
    log = [
        understood(e, "negative", "delivery") if n < 30 else understood(e, "unknown") for n, e in enumerate(messages)
    ]
    log += [
        understood(e, "negative", "delivery") if n < 5 else understood(e, "positive") for n, e in enumerate(earlier)
    ]
    await deliver(service, database, log)
    report = await reports.quarter("acme", "support", None)
    assert (report.messages, report.previous_messages) == (40, 40)
    [voice] = report.voice
    assert (voice.issue, voice.n, voice.share, voice.negative, voice.unknown) == ("delivery", 30, 75.0, 30, 0)
    assert (voice.previous_n, voice.change, voice.real) == (5, 62.5, True)
    assert (await reports.quarter("acme", "sales", None)).voice == ()


async def test_what_was_done_and_who_was_recovered(made: Made) -> None:
    service, database, reports = made
    at = Q3 + timedelta(days=2)
    changes = [
        *(case(f"c{n}", customer_id=person("c", n)) for n in range(6)),
        *(
            resolved(
                f"c{n}",
                at,
                "refunded" if n == 0 else "called back",
                customer_id=person("c", n),
                first_response_at=Q3 + timedelta(minutes=n),
                first_response_seconds=60.0 * n,
            )
            for n in range(4)
        ),
        case("c0"),  # comes again, late
        resolved("spam", at, actor="system"),
        resolved("elsewhere", at, department="sales"),
    ]
    await take(database, service, changes)
    again = [
        answered("again0", rating("nps", 9), at=at + timedelta(days=1), customer_id=person("c", 0)),
        answered("again1", rating("nps", 3), at=at + timedelta(days=1), customer_id=person("c", 1)),
        answered("first2", rating("nps", 10), at=at - timedelta(days=1), customer_id=person("c", 2)),
    ]
    await deliver(service, database, again)
    report = await reports.quarter("acme", "support", None)
    cases = report.cases
    assert (cases.opened, cases.resolved, cases.waiting) == (7, 4, 2)
    assert (cases.answered, cases.on_time, cases.first_response_seconds) == (4, 4, 90.0)
    assert [(one.name, one.n) for one in cases.actions] == [("called back", 3), ("refunded", 1)]
    assert [(one.name, one.n) for one in cases.causes] == [("late delivery", 4)]
    recovery = report.recovery
    assert (recovery.closed, recovery.answered, recovery.recovered, recovery.rate) == (4, 2, 1, 25.0)
    assert (await reports.quarter("acme", "support", Quarter(2026, 2))).cases.opened == 0


async def test_the_target_of_the_quarter_and_what_the_manager_says(made: Made) -> None:
    service, database, reports = made
    await deliver(service, database, given("now", Q3, 15, 5))
    key = SeriesKey("acme", "nps", "transactional", (("department", "support"),))
    goals = Goals(database, minimum_n=10, now=clock)
    for due, value in ((date(2026, 9, 30), 60), (date(2026, 12, 31), 70)):
        await goals.put(Target(key, "quarter", due, value))
    report = await reports.quarter("acme", "support", None)
    target = report.scores[0].target
    assert target is not None
    assert (target.value, target.due, target.distance, target.met) == (60, date(2026, 9, 30), -10, False)
    await reports.write_obstacles("acme", "support", Quarter(2026, 3), "Two seats\nwere empty.")
    await reports.write_obstacles("acme", None, Quarter(2026, 3), "All of them")
    written = (await reports.quarter("acme", "support", None)).obstacles
    assert written is not None
    assert written.text == "Two seats\nwere empty."
    await reports.write_obstacles("acme", "support", Quarter(2026, 3), "")
    assert (await reports.quarter("acme", "support", None)).obstacles is None


async def test_of_nothing_there_is_an_empty_report_and_of_the_future_none(made: Made) -> None:
    _, _, reports = made
    report: QuarterReport = await reports.quarter("acme", "support", None)
    assert (report.scores, report.movers, report.voice, report.messages) == ((), (), (), 0)
    assert (report.cases.opened, report.recovery.rate) == (0, None)
    with pytest.raises(InvalidInput, match="nothing to report"):
        await reports.quarter("acme", None, Quarter(2026, 4))


async def test_another_workspace_sees_nothing_of_it(made: Made, database_url: str) -> None:
    service, database, reports = made
    await deliver(service, database, given("now", Q3, 15, 5))
    await take(database, service, [resolved("c", Q3)])
    await reports.write_obstacles("acme", None, Quarter(2026, 3), "ours")
    await publish_all(made_on(database))
    report = await reports.quarter("lale", None, None)
    assert (report.scores, report.cases.resolved, report.obstacles) == ((), 0, None)
