"""Plays, conditions, retry arithmetic: pure values and functions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

from shared.contracts.feedback_received import Band
from shared.contracts.followup_changed import Audience, FollowupState, Transport
from shared.contracts.tags import SENTIMENTS, URGENCIES
from shared.core.ids import name_id

Trigger = Literal[
    "feedback_received",
    "feedback_routed",
    "assigned",
    "answered",
    "resolved",
    "reopened",
    "at_risk",
    "breached",
    "score_alerted",
]
Asks = Literal["nothing", "feedback", "referral", "testimonial", "public_review"]
TRIGGERS: tuple[str, ...] = get_args(Trigger)
AUDIENCES: tuple[str, ...] = get_args(Audience)
TRANSPORTS: tuple[str, ...] = get_args(Transport)
STATES: tuple[str, ...] = get_args(FollowupState)
BANDS: tuple[str, ...] = get_args(Band)
ASKS: tuple[str, ...] = get_args(Asks)

# Facts that are looked up when a step is due, in the words of a play file.
FACTS: tuple[str, ...] = (
    "answered",
    "resolved",
    "reopened",
    "has_case",
    "newer_feedback",
    "recovered",
    "no_email",
    "unsubscribed",
)
# Fields a condition may compare, with their closed list of values where there is one.
FIELDS: dict[str, tuple[str, ...] | None] = {
    "band": BANDS,
    "sentiment": SENTIMENTS,
    "urgency": URGENCIES,
    "priority": ("urgent", "high", "normal", "low"),
    "kind": ("survey_response", "message"),
    "alert": ("drop", "rise", "target_lost", "silence"),
    "alert_state": ("raised", "ended"),
    "touchpoint": None,
    "department": None,
    "channel": None,
    "product": None,
    "segment": None,
    "language": None,
    "survey": None,
    "team": None,
}
# A step that asks for a public review must not depend on any of these (Google's policy, FTC guidance: review gating).
GATES = frozenset({"band", "sentiment", "recovered", "alert", "alert_state"})

# Seconds before each attempt, as published; attempts end with the list (delivery.md "Outbound").
RETRY_SECONDS: tuple[float, ...] = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
JITTER = 0.2
DAY_SECONDS = 86_400
DEFAULT_MAX_AGE_SECONDS = 3 * DAY_SECONDS
MAX_DELAY_SECONDS = 366 * DAY_SECONDS
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": DAY_SECONDS, "w": 7 * DAY_SECONDS}
_DURATION = re.compile(r"([0-9]{1,9}) ?([smhdw])")
_COMPARISON = re.compile(r"([a-z_]+) (is not|is|in) (.+)")


class Malformed(ValueError):
    """A piece of a play that does not fit the language; the text says what would."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One test: a fact, or a field against values; `negated` turns it around."""

    name: str
    values: tuple[str, ...] = ()
    negated: bool = False

    def holds(self, facts: Mapping[str, object]) -> bool:
        """Whether it is true of `facts` (fact or field name → value)."""
        found = facts.get(self.name)
        true = bool(found) if not self.values else found is not None and str(found).casefold() in self.values
        return true is not self.negated

    def __str__(self) -> str:
        if not self.values:
            return f"not {self.name}" if self.negated else self.name
        if len(self.values) == 1:
            return f"{self.name} is {'not ' if self.negated else ''}{self.values[0]}"
        return f"{self.name} in [{', '.join(self.values)}]"


@dataclass(frozen=True, slots=True)
class Step:
    """One message of a play: `after_seconds` from the trigger; `transports` in order of preference."""

    id: str
    after_seconds: float
    audience: str
    transports: tuple[str, ...]
    template: str
    when: tuple[Condition, ...] = ()
    unless: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Play:
    """When `trigger` happens and all of `when` hold, plan the steps. Older triggers than `max_age_seconds` start
    nothing: an import of last month's answers must not send a single mail."""

    id: str
    trigger: str
    steps: tuple[Step, ...]
    when: tuple[Condition, ...] = ()
    max_age_seconds: float = DEFAULT_MAX_AGE_SECONDS


@dataclass(frozen=True, slots=True)
class Playbook:
    """The plays of a workspace in one version: a number, or what the shipped or configured file is called."""

    version: str
    plays: tuple[Play, ...]

    def started_by(self, trigger: str, facts: Mapping[str, object]) -> list[Play]:
        """Plays that begin with this trigger."""
        return [play for play in self.plays if play.trigger == trigger and all(test.holds(facts) for test in play.when)]


@dataclass(frozen=True, slots=True)
class Occasion:
    """Something that happened and may start plays. `occurrence` tells repeats apart that deserve a message each."""

    workspace: str
    trigger: str
    event_id: UUID
    correlation_id: UUID
    traceparent: str | None
    happened_at: datetime
    feedback_id: UUID
    assignment_id: UUID | None = None
    customer_id: UUID | None = None
    band: str | None = None
    language: str | None = None
    member_email: str | None = None
    occurrence: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


def followup_id(occasion: Occasion, play: str, step: str) -> UUID:
    """One message per feedback, play and step, whatever is delivered twice."""
    return name_id("followup", occasion.workspace, str(occasion.feedback_id), play, step, occasion.occurrence)


def change_id(followup: UUID, change: int) -> UUID:
    """Id of the event of a follow-up's n-th change."""
    return name_id("followup-change", str(followup), str(change))


def parse_seconds(text: str) -> float:
    """`0s`, `90s`, `5m`, `2h`, `3d`, `1w` in seconds. Raises Malformed."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise Malformed(f"{text[:40]!r} is not a duration; write a number and a unit: 0s, 5m, 2h, 3d, 1w")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > MAX_DELAY_SECONDS:
        raise Malformed(f"{text[:40]!r} is longer than a year")
    return seconds


def parse_condition(text: str) -> Condition:
    """One condition in the closed language. Raises Malformed, which lists what may stand there."""
    text = " ".join(text.split())
    comparison = _COMPARISON.fullmatch(text)
    if comparison is None:
        negated = text.startswith("not ")
        name = text.removeprefix("not ")
        if name not in FACTS:
            raise Malformed(
                f"{text[:60]!r} is not a condition; use one of {', '.join(FACTS)}, `not` before it, "
                "or `<field> is <value>`, `<field> in [a, b]`"
            )
        return Condition(name, negated=negated)
    name, operator, operand = comparison.groups()
    if name not in FIELDS:
        raise Malformed(f"{name[:40]!r} is not a field; fields are {', '.join(FIELDS)}")
    values = _operand(operator, operand)
    allowed = FIELDS[name]
    for value in values:
        if allowed is not None and value not in allowed:
            raise Malformed(f"{name} is never {value[:40]!r}; it is one of {', '.join(allowed)}")
    return Condition(name, values, negated=operator == "is not")


def _operand(operator: str, operand: str) -> tuple[str, ...]:
    listed = operand.startswith("[") and operand.endswith("]")
    if (operator == "in") is not listed:
        raise Malformed("write `<field> is <value>` for one value, `<field> in [a, b]` for several")
    parts = operand[1:-1].split(",") if listed else [operand]
    values = tuple(part.strip().casefold() for part in parts)
    if not all(values) or len(values) > 50:
        raise Malformed("a condition compares with 1 to 50 values, none of them empty")
    return values


def blocker(when: Sequence[Condition], unless: Sequence[Condition], facts: Mapping[str, object]) -> str | None:
    """Why a step that is due must not be sent, in the play's words, or None."""
    for test in unless:
        if test.holds(facts):
            return f"unless {test}"
    for test in when:
        if not test.holds(facts):
            return f"when {test}: not so"
    return None


def gated(play: Play, step: Step) -> Condition | None:
    """The condition that makes a step depend on how content somebody is, or None."""
    return next((test for test in (*play.when, *step.when, *step.unless) if test.name in GATES), None)


def retry_seconds(
    tries: int, *, schedule: Sequence[float], random: float, retry_after: float | None = None
) -> float | None:
    """Seconds until the attempt after `tries` attempts, None when the schedule has ended.

    `random` in [0, 1) spreads it by ± 20 %; a Retry-After counts between one and two times the planned delay.
    """
    if tries >= len(schedule):
        return None
    planned = schedule[tries]
    jittered = planned * (1 - JITTER + 2 * JITTER * random)
    if retry_after is None:
        return jittered
    return max(jittered, min(max(retry_after, planned), 2 * planned))


def times(count: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
