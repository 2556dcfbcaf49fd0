"""What every composition root (`app.py`) starts from: connections, and the parts that each service has."""

from collections.abc import Mapping

from fastapi import APIRouter

from shared.bus import codec
from shared.bus.connect import connect, topics_of
from shared.bus.security import security_of
from shared.contracts.topics import Topic
from shared.core.settings import Settings
from shared.db.database import Database
from shared.db.platform import ApiKeys
from shared.db.wakeup import Wakeups
from shared.http.app import Check
from shared.http.authentication import Authenticator
from shared.runtime.component import Component, Service
from shared.runtime.consumer import ConsumerLoop, Subscription
from shared.runtime.feed import Feed
from shared.runtime.housekeeping import Housekeeping
from shared.runtime.outbox import OutboxRelay
from shared.runtime.reaching import Reaching
from shared.runtime.replays import Mend, Replays, menders_of, menders_of_timers
from shared.runtime.timers import TimerHandler, TimerLoop


class Composition:
    """Builds a Service on `schema`. Use it like a builder: `consume`, `fire`, `feed`, `route`, …, then `service()`."""

    def __init__(self, settings: Settings, schema: str, *, pool_size: int = 8, needs_bus: bool = True) -> None:
        """`needs_bus` False: the service starts and works without the bus, which is reached for beside it."""
        url = settings.database_url
        self.database = Database(url, schema, encode=codec.encode, pool_size=pool_size)
        self.wakeups = Wakeups(url, schema)
        self.bus = connect(settings.bus_url, url, security_of(settings))
        self._topics = topics_of(settings.bus_url)
        self.producer = self.bus.producer()
        platform = Database(url, "platform", encode=codec.encode, pool_size=2)
        self.authenticator = Authenticator(ApiKeys(platform))
        self._menders: dict[str, Mend] = {}
        self._consumers: list[Component] = []
        self._service = Service(schema)
        if needs_bus:
            self._service.start += [self.bus.start, self._create_topics, self.producer.start]
        else:  # its producer connects at the first send
            self._service.components.append(Reaching(f"{schema}-bus", [self.bus.start, self._create_topics]))
        self._service.close += [self.bus.stop, platform.stop, self.database.stop, self.producer.stop]
        self._service.checks[f"{schema} database"] = self.database.check

    async def _create_topics(self) -> None:
        await self.bus.create_topics(self._topics)

    def consume(self, subscription: Subscription) -> None:
        """Handle events of a subscription; its dead letters can be replayed."""
        self._consumers.append(ConsumerLoop(self.bus, self.database, subscription))
        self._service.reads[subscription.group] = tuple(topic.name for topic in subscription.topics)
        self._menders |= menders_of(self.database, subscription)

    def fire(self, handlers: Mapping[str, TimerHandler]) -> None:
        """Fire durable timers by kind; once per service."""
        self._consumers.append(TimerLoop(self.database, self.wakeups.on("timer"), handlers))
        self._menders |= menders_of_timers(handlers)

    def feed(self, topic: Topic) -> Feed:
        """A feed of a topic for event streams."""
        feed = Feed(self.bus, topic)
        self._service.feeds.append(feed)
        self._service.reads[feed.group_prefix] = (topic.name,)
        return feed

    def mend(self, menders: Mapping[str, Mend]) -> None:
        """How to replay dead letters of other origins."""
        self._menders |= menders

    def run(self, component: Component) -> None:
        """Run something of the service's own."""
        self._consumers.append(component)

    def route(self, *routers: APIRouter) -> None:
        """Serve routes."""
        self._service.routers += routers

    def check(self, name: str, check: Check) -> None:
        """Add a condition of readiness."""
        self._service.checks[name] = check

    def service(self) -> Service:
        """The service: what others wait for starts first and stops last."""
        self._service.components += [
            OutboxRelay(self.database, self.producer, self.wakeups.on("outbox")),
            Replays(self.database, self.wakeups.on("replay"), self._menders),
            Housekeeping(self.database),
            *self._consumers,
            self.wakeups,
        ]
        return self._service
