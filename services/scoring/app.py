"""The composition root of scoring."""

from services.scoring import handlers
from services.scoring.api import routes
from services.scoring.config import ScoringSettings
from services.scoring.publisher import ScorePublisher
from services.scoring.service import ScoringService
from shared.contracts.topics import SCORE_UPDATED
from shared.runtime.component import Service
from shared.runtime.compose import Composition


def build(settings: ScoringSettings) -> Service:
    """Scoring: consumer, hourly tick, publisher, API."""
    composition = Composition(settings, "scoring")
    service = ScoringService(
        composition.database,
        minimum_n=settings.score_minimum_n,
        interval_seconds=settings.score_interval_seconds,
    )
    composition.consume(handlers.subscription(service, settings.score_batch))
    composition.fire(handlers.timers(service))
    composition.run(ScorePublisher(service, composition.wakeups.on("score")))
    composition.route(routes(service, composition.authenticator, composition.feed(SCORE_UPDATED)))
    return composition.service()
