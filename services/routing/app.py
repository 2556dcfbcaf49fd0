"""Composition root of routing: the only place that builds connections."""

from services.routing import handlers
from services.routing.api import actions as action_api
from services.routing.api import assignments as assignment_api
from services.routing.api import teams as team_api
from services.routing.config import RoutingSettings
from services.routing.queue_tick import QueueTick
from services.routing.service.agents import Agents
from services.routing.service.clocks import Clocks
from services.routing.service.crew import Crew, Rosters
from services.routing.service.inbox import Inbox
from services.routing.service.intake import Intake
from services.routing.service.waiting import Rules
from services.routing.team_file import TeamFile
from services.routing.understanding import RulesUnderstander
from shared.contracts.topics import ASSIGNMENT_CHANGED, FEEDBACK_ROUTED
from shared.runtime.component import Service
from shared.runtime.compose import Composition


def build(settings: RoutingSettings) -> Service:
    """The routing service."""
    composition = Composition(settings, "routing")
    database = composition.database
    rosters = Rosters(settings.default_sla())
    rules = Rules(settings.sticky_seconds, settings.relax_after_seconds)
    crew = Crew(database, rosters, rules)
    intake = Intake(RulesUnderstander(), rosters, rules, history_after_seconds=settings.history_after_seconds)
    composition.consume(handlers.subscription(intake))
    composition.fire(handlers.timers(Clocks(rosters)))
    composition.run(QueueTick(crew, settings.queue_tick_seconds))
    file = None
    if settings.teams_file is not None:
        file = TeamFile(crew, settings.teams_file, settings.teams_file_poll_seconds)
        composition.run(file)
    authenticator = composition.authenticator
    composition.route(
        assignment_api.routes(
            Inbox(database),
            authenticator,
            changed=composition.feed(ASSIGNMENT_CHANGED),
            routed=composition.feed(FEEDBACK_ROUTED),
        ),
        action_api.routes(Agents(database, rosters, rules), Inbox(database), authenticator),
        team_api.routes(crew, authenticator, file),
    )
    return composition.service()
