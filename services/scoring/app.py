"""The composition root of scoring."""

from services.scoring import api_alerts, api_analysis, api_export, api_targets, handlers
from services.scoring.analysis import Analysis
from services.scoring.api import routes
from services.scoring.config import ScoringSettings
from services.scoring.goals import Goals
from services.scoring.projector import Projector
from services.scoring.service import ScoringService
from shared.contracts.topics import SCORE_UPDATED
from shared.runtime.component import Service, owner_name
from shared.runtime.compose import Composition
from shared.runtime.lease import Lease


def build(settings: ScoringSettings) -> Service:
    """Scoring: consumer, projector, API."""
    composition = Composition(settings, "scoring")
    service = ScoringService(
        composition.database,
        minimum_n=settings.score_minimum_n,
        interval_seconds=settings.score_interval_seconds,
    )
    analysis = Analysis(composition.database, minimum_n=settings.score_minimum_n)
    goals = Goals(composition.database, minimum_n=settings.score_minimum_n)
    composition.consume(handlers.subscription(service, settings.score_batch))
    lease = Lease(composition.database, "projector", owner_name())
    composition.run(Projector(service, lease, composition.wakeups.on("block")))
    composition.route(
        routes(service, composition.authenticator, composition.feed(SCORE_UPDATED)),
        api_alerts.routes(service, composition.authenticator),
        api_analysis.routes(analysis, composition.authenticator),
        api_targets.routes(goals, composition.authenticator),
        api_export.routes(service, composition.authenticator),
    )
    return composition.service()
