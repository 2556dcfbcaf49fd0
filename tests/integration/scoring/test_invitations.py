"""Response rates: of the invitations that arrived, how many were answered."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations

import pytest

from services.scoring.domain.rules import Rules
from services.scoring.service import ListedScore, ScoreFilter, ScoringService
from shared.contracts.invitation_changed import STATUSES, InvitationStatus
from shared.contracts.score_updated import Invitations, ScoreUpdatedV1
from tests.integration.scoring.support import NOW, Made, count_all, deliver, invited, outbox, publish_all

WHOLE = ScoreFilter(metric="response_rate", windows=("7d",), by=())
DAY = timedelta(days=1)


async def rates(service: ScoringService, wanted: ScoreFilter = WHOLE) -> Sequence[ListedScore]:
    return (await service.page("acme", wanted, None, 10)).items


async def test_bounced_and_suppressed_invitations_are_counted_apart(made: Made) -> None:
    service, database = made
    became: tuple[InvitationStatus, ...] = ("delivered",) * 5 + ("completed",) * 3 + ("bounced",) * 2 + ("suppressed",)
    await deliver(service, database, [invited(n, status, at=NOW - DAY) for n, status in enumerate(became)])
    await publish_all(service)
    published = [event.data for event in await outbox(database) if isinstance(event.data, ScoreUpdatedV1)]
    score = next(data for data in published if data.series.name() == "response_rate|transactional|7d|")
    assert (score.value, score.n, score.formula) == (37.5, 8, "top_two")
    assert score.invitations == Invitations(delivered=8, completed=3, bounced=2, suppressed=1)
    assert score.interval is not None
    assert score.interval.method == "adjusted_wald"
    assert (score.promoters, score.sentiments) == (None, None)


@pytest.mark.parametrize("order", list(permutations(STATUSES)), ids="-".join)
async def test_the_furthest_status_counts_in_whatever_order_they_come(
    made: Made, order: tuple[InvitationStatus, ...]
) -> None:
    service, database = made
    for status in order:
        await deliver(service, database, [invited(1, status, at=NOW)])
    (item,) = await rates(service)
    assert item.score.invitations == Invitations(delivered=1, completed=1, bounced=0, suppressed=0)


async def test_an_answer_counts_where_its_invitation_does_and_repeats_count_once(made: Made) -> None:
    service, database = made
    before = [invited(n, "delivered", at=NOW - 10 * DAY, channel="sms") for n in range(4)]
    await deliver(service, database, [*before, invited(9, "delivered", at=NOW, channel="email")])
    # Answered today: it belongs to the week of its invitation.
    await deliver(service, database, [invited(0, "completed", at=NOW - 10 * DAY, channel="sms")] * 2)
    (now,) = await rates(service)
    assert (now.score.n, now.score.value) == (1, 0.0)
    assert now.score.previous is not None
    assert (now.score.previous.n, now.score.previous.value) == (4, 25.0)
    by_channel = ScoreFilter(metric="response_rate", windows=("30d",), by=("channel",))
    assert {item.key.dimensions[0][1]: item.score.value for item in await rates(service, by_channel)} == {
        "sms": 25.0,
        "email": 0.0,
    }


async def test_a_recent_rate_is_never_told_to_have_changed_for_real(made: Made) -> None:
    """Nearly all of a week's answers are still to come: a test would find a drop every day."""
    service, database = made
    answered = [invited(f"old-{n}", "completed", at=NOW - 10 * DAY) for n in range(300)]
    await deliver(service, database, answered + [invited(n, "delivered", at=NOW) for n in range(300)])
    (item,) = await rates(service)
    assert item.score.previous is not None
    assert (item.score.value, item.score.previous.value, item.score.previous.p_value) == (0.0, 100.0, None)
    assert await service.alerts("acme", only_active=True, before=None, limit=10) == []


async def test_one_per_person_leaves_invitations_alone(made: Made) -> None:
    service, database = made
    await service.change_rules("acme", Rules(one_per_person=True))
    await count_all(service)
    customer = invited(0, "delivered", at=NOW).data.invitation_id
    several = [invited(n, "delivered", at=NOW, customer_id=customer) for n in range(3)]
    await deliver(service, database, [*several, invited(3, "completed", at=NOW, customer_id=customer)])
    (item,) = await rates(service)
    assert (item.score.n, item.score.value) == (4, 25.0)
