"""The composition root of scoring."""

from services.scoring import handlers
from services.scoring.analysis import Analysis
from services.scoring.api import alerts, analysis, export, reports, rules, scores, targets
from services.scoring.config import ScoringSettings
from services.scoring.goals import Goals
from services.scoring.projector import Projector
from services.scoring.report import Reports
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
    composition.consume(handlers.subscription(service, settings.score_batch))
    lease = Lease(composition.database, "projector", owner_name())
    composition.run(Projector(service, lease, composition.wakeups.on("block")))
    authenticator = composition.authenticator
    composition.route(
        scores.routes(service, authenticator, composition.feed(SCORE_UPDATED)),
        rules.routes(service, authenticator),
        alerts.routes(service, authenticator),
        analysis.routes(Analysis(composition.database, minimum_n=settings.score_minimum_n), authenticator),
        targets.routes(Goals(composition.database, minimum_n=settings.score_minimum_n), authenticator),
        export.routes(service, authenticator),
        reports.routes(Reports(composition.database, minimum_n=settings.score_minimum_n), authenticator),
    )
    return composition.service()
