"""How much of everything a run does."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Profile:
    """`rate` events a second for `seconds` per promise, `repeats` of each crash point, `outage_seconds` of P4, P10,
    P11; a pause between faults lies in `pause_seconds`."""

    name: str
    rate: float
    seconds: float
    repeats: int
    outage_seconds: float
    timers: int
    pause_seconds: tuple[float, float] = (5.0, 8.0)

    def of(self, rate: float | None, seconds: float | None) -> "Profile":
        """With what the caller chose instead; SECONDS is the length of the load and of an outage."""
        chosen = replace(self, rate=rate or self.rate)
        return replace(chosen, seconds=seconds, outage_seconds=seconds) if seconds else chosen

    @property
    def extra_seconds(self) -> float:
        """How much longer a promise may take than at the CI profile."""
        ci = PROFILES["ci"]
        return 3 * max(0.0, self.seconds - ci.seconds) + 4 * max(0.0, self.outage_seconds - ci.outage_seconds)


PROFILES = {
    # Nominal is 200 events a second. Three brokers, PostgreSQL, nine services, the proxies and the load on two cores
    # keep up with this many while a part of them is always down.
    "ci": Profile("ci", rate=30, seconds=60, repeats=1, outage_seconds=30, timers=400),
    "rel": Profile("rel", rate=2000, seconds=600, repeats=50, outage_seconds=600, timers=10_000),
    "soak": Profile("soak", rate=100, seconds=3600, repeats=5, outage_seconds=60, timers=1000, pause_seconds=(20, 60)),
}
