"""How messages sound, over all of them and by the issue that they raise."""

import pytest

from services.scoring.service import ScoreFilter
from shared.contracts.score_updated import ScoreUpdatedV1, Sentiments
from shared.contracts.tags import Sentiment
from shared.db.database import Database
from tests.integration.scoring.support import NOW, Made, answered, deliver, outbox, publish_all, rating, understood

BY_ISSUE = ScoreFilter(metric="sentiment", windows=("7d",), by=("issue",))
SOUNDS: tuple[Sentiment, ...] = ("positive", "positive", "negative", "neutral", "unknown")


async def latest(database: Database) -> dict[str, ScoreUpdatedV1]:
    return {event.data.key(): event.data for event in await outbox(database)}


async def test_the_unknown_stand_beside_the_score(made: Made) -> None:
    service, database = made
    messages = [answered(n, at=NOW, survey_type=None) for n in range(len(SOUNDS))]
    await deliver(service, database, [understood(e, sound) for e, sound in zip(messages, SOUNDS, strict=True)])
    await publish_all(service)
    score = (await latest(database))["sentiment|relational|7d|"]
    assert (score.value, score.n, score.formula, score.promoters) == (25.0, 4, "nps", None)
    assert score.sentiments == Sentiments(positive=2, neutral=1, negative=1, unknown=1)
    assert score.interval is not None
    # Understood better in a later revision: what was unknown is known now.
    better = answered(4, at=NOW, survey_type=None, revision=1)
    await deliver(service, database, [understood(better, "negative")])
    await publish_all(service)
    score = (await latest(database))["sentiment|relational|7d|"]
    assert (score.value, score.n) == (0.0, 5)
    assert score.sentiments == Sentiments(positive=2, neutral=1, negative=2, unknown=0)


async def test_an_issue_is_a_dimension_of_sentiment_and_of_nothing_else(made: Made) -> None:
    service, database = made
    event = answered(1, rating("nps", 2), at=NOW, department="support")
    await deliver(service, database, [event, understood(event, "negative", "delivery", "price")])
    page = await service.page("acme", BY_ISSUE, None, 10)
    assert [(dict(item.key.dimensions), item.score.value, item.score.n) for item in page.items] == [
        ({"issue": "delivery"}, -100.0, 1),
        ({"issue": "price"}, -100.0, 1),
    ]
    nps = await service.page("acme", ScoreFilter(metric="nps", by=("issue",)), None, 10)
    assert nps.items == []
    whole = await service.page("acme", ScoreFilter(metric="sentiment", windows=("7d",), by=()), None, 10)
    assert [item.score.n for item in whole.items] == [1]


@pytest.mark.parametrize("first", ["rated", "said"])
@pytest.mark.parametrize("why", ["spam", "irrelevant"])
async def test_stars_of_spam_and_of_what_is_about_something_else_are_kept_out(made: Made, first: str, why: str) -> None:
    service, database = made
    review = answered(1, rating("rating", 1), at=NOW, survey_type=None)
    asked = answered(2, rating("rating", 5), at=NOW, survey_type="relational")
    judged = [understood(one, "negative", "irrelevant", spam=why == "spam") for one in (review, asked)]
    for batch in ([review, asked], judged) if first == "rated" else (judged, [review, asked]):
        await deliver(service, database, batch)
    stars = ScoreFilter(metric="rating", windows=("7d",), by=())
    (score,) = [item.score for item in (await service.page("acme", stars, None, 10)).items]
    assert (score.n, score.value) == (1, 5.0), "an invited answer counts, whatever is written beside it"
    # Written anew it counts again, until it is understood.
    await deliver(service, database, [answered(1, rating("rating", 3), at=NOW, survey_type=None, revision=1)])
    (score,) = [item.score for item in (await service.page("acme", stars, None, 10)).items]
    assert (score.n, score.value) == (2, 4.0)


@pytest.mark.parametrize("first", ["said", "removed"])
async def test_a_removal_takes_back_what_was_rated_and_what_was_said(made: Made, first: str) -> None:
    service, database = made
    event = answered(1, rating("nps", 2), at=NOW)
    both, removal = [event, understood(event, "negative", "price")], [answered(1, at=NOW, removed=True)]
    for batch in (both, removal) if first == "said" else (removal, both):
        await deliver(service, database, batch)
    page = await service.page("acme", ScoreFilter(), None, 200)
    assert {item.score.n for item in page.items} <= {0}
    nothing = Sentiments(positive=0, neutral=0, negative=0, unknown=0)
    assert all(item.score.sentiments in (None, nothing) for item in page.items)
