"""The promises of the delivery design, one module each: what is done to the cluster, and what must be true then."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.fault.checkers import Findings
from tests.fault.promises import (
    bounded,
    broker_away,
    database_away,
    durable,
    followups,
    order,
    poison,
    shutdown,
    timers,
    workers_away,
)
from tests.fault.promises.profile import PROFILES, Profile
from tests.fault.world import World

__all__ = ["PROFILES", "PROMISES", "Profile", "Promise"]


@dataclass(frozen=True)
class Promise:
    """`bound_seconds` is for the CI profile, without what the profile adds."""

    name: str
    title: str
    show: Callable[[World, Profile], Awaitable[Findings]]
    bound_seconds: float


PROMISES = {
    promise.name: promise
    for promise in (
        Promise("P1", "2xx is durable", durable.show, 330),
        Promise("P2", "no follow-up twice", followups.show, 330),
        Promise("P3", "order per customer", order.show, 240),
        Promise("P4", "workers away", workers_away.show, 240),
        Promise("P5", "poison is parked", poison.show, 300),
        Promise("P6", "SIGTERM under load", shutdown.show, 330),
        Promise("P7", "timers fire once", timers.show, 240),
        Promise("P8", "memory is bounded", bounded.show, 240),
        Promise("P10", "broker away", broker_away.show, 300),
        Promise("P11", "database away", database_away.show, 300),
    )
}
