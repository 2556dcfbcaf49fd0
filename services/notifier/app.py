"""Composition root of the notifier."""

from pathlib import Path

from services.notifier.addresses import Addresses
from services.notifier.api import public_routes, routes
from services.notifier.catalogue import FOLDER, Catalogue
from services.notifier.config import NotifierSettings
from services.notifier.decisions import Decider
from services.notifier.delivery import DeliveryWorker
from services.notifier.handlers import GROUP, Handlers
from services.notifier.messages import Composer, Signer
from services.notifier.plans import Planner, PlayShelf
from services.notifier.service import NotifierService
from services.notifier.transports.email import Mailer
from services.notifier.transports.webhook import Slack, Webhook
from shared.contracts.topics import (
    ASSIGNMENT_CHANGED,
    FEEDBACK_RECEIVED,
    FEEDBACK_ROUTED,
    FOLLOWUP_CHANGED,
    SCORE_ALERTED,
)
from shared.http.outbound import OutboundClient
from shared.runtime.component import Service
from shared.runtime.compose import Composition
from shared.runtime.consumer import Subscription

TOPICS = (FEEDBACK_RECEIVED, FEEDBACK_ROUTED, ASSIGNMENT_CHANGED, SCORE_ALERTED)


def build(settings: NotifierSettings) -> Service:
    """The notifier, not started. Raises InvalidInput or SettingsError for templates and plays that are not in order."""
    composition = Composition(settings, "notifier")
    folders: list[Path] = [FOLDER, *([settings.templates_dir] if settings.templates_dir else [])]
    catalogue = Catalogue(*folders)
    shelf = PlayShelf(catalogue, settings.plays_file)
    addresses = Addresses(settings)
    client = OutboundClient(
        allow_private=settings.outbound_allow_private,
        connect_seconds=settings.delivery_connect_seconds,
        total_seconds=settings.delivery_timeout_seconds,
    )
    signer = Signer()
    planner = Planner(
        shelf, addresses, delay_factor=settings.play_delay_factor, default_language=settings.default_language
    )
    worker = DeliveryWorker(
        settings,
        composition.database,
        composition.wakeups.on("followup"),
        Decider(settings, addresses),
        Composer(settings, catalogue, signer),
        {"email": Mailer(settings), "slack": Slack(client), "webhook": Webhook(client)},
    )
    notifier = NotifierService(composition.database, shelf, catalogue, signer, client)
    feed = composition.feed(FOLLOWUP_CHANGED)
    composition.consume(Subscription(group=GROUP, topics=TOPICS, handle=Handlers(planner).handle))
    composition.run(worker)
    composition.run(shelf)
    composition.route(routes(notifier, composition.authenticator, feed), public_routes(notifier))
    service = composition.service()
    service.start.append(notifier.prepare)
    service.close.append(client.close)
    return service
