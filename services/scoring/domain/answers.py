"""Answers as rows: what is kept of each version, exactly and in little room, so that it can be taken back.

A row is one rating of one version of one feedback. What many answers share stands once in a block of rows: where they
come from (Origin) and what was asked (Question). A version without a rating has one row that says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1, Rating, Survey, SurveyType
from shared.contracts.feedback_routed import NO_WORDS, FeedbackRoutedV1
from shared.contracts.invitation_changed import STATUSES, InvitationChangedV1, InvitationStatus
from shared.contracts.tags import Sentiment
from shared.core.errors import BadRecord

T = TypeVar("T")
# What scores are kept of.
KeptMetric = Literal["nps", "csat", "ces", "rating", "sentiment", "response_rate"]
Rows = NDArray[np.void]
ROW = np.dtype(
    [
        ("id_high", "<u8"),
        ("id_low", "<u8"),
        ("person_high", "<u8"),
        ("person_low", "<u8"),
        ("revision", "<i8"),
        ("at", "<i8"),  # microseconds since 1970
        ("value", "<f8"),
        ("origin", "<u2"),
        ("question", "<u2"),
        ("parts", "u1"),  # rows of this version on its first row, 0 on the others
        ("removed", "u1"),
    ]
)
# The question of a version without ratings.
NOTHING_ASKED = 0xFFFF
# Origins that one block can have, because rows name them in two bytes.
MOST_ORIGINS = 0xFFFF

# Order matters: it is the order of `Origin.values`.
_OF_ORIGIN: tuple[str, ...] = ("touchpoint", "department", "product", "segment", "channel", "wave")
# An answer has one value of the others; a message may raise several issues, each of which is a question of its own.
DIMENSIONS: tuple[str, ...] = (*_OF_ORIGIN, "issue")

# Measures of sentiment: messages whose sentiment is known, and those where it is not.
SENTIMENT, UNHEARD = "sentiment", "sentiment_unknown"
# Measures of invitations: those that arrived, and beside them those that did not and those that were not sent.
RESPONSE, BOUNCED, SUPPRESSED = "response_rate", "invitation_bounced", "invitation_suppressed"
_BECAME: dict[InvitationStatus, tuple[str, float]] = {
    "suppressed": (SUPPRESSED, 0),
    "delivered": (RESPONSE, 0),
    "bounced": (BOUNCED, 0),
    "completed": (RESPONSE, 1),
}
_SOUNDS: dict[Sentiment, float] = {"positive": 1, "neutral": 0, "negative": -1}
# What a message says is an answer beside what it rates, which comes by another topic: it has the id of its feedback
# with these bits turned over.
_BESIDE = 0x5E471D3A9C60B2F8

# Values count to six decimals. Beyond the limit a sum of squares would leave what a float can show.
MICRO = 1_000_000
SCALE_LIMIT = 1e9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Origin(NamedTuple):
    """Where an answer comes from."""

    survey_type: SurveyType
    survey: str | None
    touchpoint: str | None
    department: str | None
    product: str | None
    segment: str | None
    channel: str | None
    wave: str | None

    @property
    def dimensions(self) -> dict[str, str]:
        """The values it has, by the names of dimensions."""
        values = zip(_OF_ORIGIN, self[2:], strict=True)
        return {name: value for name, value in values if value is not None}


class Question(NamedTuple):
    """What was asked, and how its answers become a score."""

    metric: KeptMetric
    formula: str
    scale_min: float
    scale_max: float
    issue: str | None = None

    @property
    def measure(self) -> str:
        """What may be added together: a formula, and for means the scale."""
        return self.formula if self.formula != "mean" else f"mean:{self.scale_min:.12g}:{self.scale_max:.12g}"

    def scored_by(self, formula: str | None) -> "Question":
        """The same question under another formula, where that can score its scale."""
        if formula is None or (formula == "nps" and (self.scale_min, self.scale_max) != (0, 10)):
            return self
        return self._replace(formula=formula)

    def bands(self) -> tuple[float, float]:
        """From which value on an answer is at the top, and up to which at the bottom; infinite where there is none."""
        if self.formula == "nps":
            return 9, 6
        if self.formula == SENTIMENT:
            return 1, -1
        if self.formula == RESPONSE:
            return 1, -np.inf
        return (top_two_from(self.scale_min, self.scale_max) if self.formula == "top_two" else np.inf), -np.inf


class Cause(NamedTuple):
    """The event that a change came with."""

    event_id: UUID
    correlation_id: UUID
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one workspace. `origins` and `questions` are what the rows' numbers mean; `causes` has for each origin
    the last event with it, where that is still of interest."""

    workspace: str
    rows: Rows
    origins: Sequence[Origin]
    questions: Sequence[Question]
    causes: Sequence[Cause | None]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one feedback before it becomes rows."""

    feedback_id: UUID
    person: UUID | None
    revision: int
    removed: bool
    at: datetime
    origin: Origin
    ratings: tuple[tuple[Question, float], ...]


def version_of(event: Event[FeedbackReceivedV1]) -> Version:
    """What an event says. Raises BadRecord for what no rule can score.

    It counts at `occurred_at`, but never later than `received_at`: a clock ahead of ours must not put answers into
    hours to come, and this rule gives the same again at a replay. A rating that no survey asked for (the stars of a
    review) is transactional where it names a touchpoint, else relational.
    """
    data = event.data
    try:
        at = min(data.occurred_at, data.received_at).astimezone(UTC)
    except OverflowError:
        raise BadRecord("occurred_at is outside the calendar") from None
    return Version(
        feedback_id=data.feedback_id,
        person=data.customer_id,
        revision=data.revision,
        removed=data.removed,
        at=at,
        origin=_origin(data, data.survey, data.department),
        ratings=() if data.removed else tuple((question_of(rating), rating.value) for rating in data.ratings),
    )


def said_of(event: Event[FeedbackRoutedV1]) -> Version:
    """What routing understood of a message: an answer about all of it, and one about each issue that it raises.

    Spam and what is about something else count nowhere, and what had no words says nothing.
    """
    data = event.data
    at = min(data.occurred_at, data.received_at or data.occurred_at).astimezone(UTC)
    heard = data.sentiment in _SOUNDS
    asked = Question("sentiment", SENTIMENT, -1, 1) if heard else Question("sentiment", UNHEARD, 0, 0)
    value = _SOUNDS.get(data.sentiment, 0.0)
    issues = sorted({tag.issue for tag in data.issues})
    says_nothing = data.understanding_version == NO_WORDS or _is_beside_the_point(data)
    questions = () if says_nothing else (None, *issues)
    department = data.source_department or (data.department if data.department != "none" else None)
    return Version(
        feedback_id=_beside(data.feedback_id),
        person=data.customer_id,
        revision=data.revision,
        removed=False,
        at=at,
        origin=_origin(data, data.survey, department),
        ratings=tuple((asked._replace(issue=issue), value) for issue in questions),
    )


def hidden_of(event: Event[FeedbackRoutedV1]) -> Version | None:
    """What takes the stars of spam, and of what is about something else, out of scores: as a removal of that revision
    would. Whoever was asked by a survey keeps their answer, whatever they wrote beside it: to leave out those whose
    words one does not like would move the score."""
    data = event.data
    if data.survey is not None or not _is_beside_the_point(data):
        return None
    return replace(said_of(event), feedback_id=data.feedback_id, removed=True)


def _is_beside_the_point(data: FeedbackRoutedV1) -> bool:
    return data.spam or {tag.issue for tag in data.issues} == {"irrelevant"}


def invited_of(event: Event[InvitationChangedV1]) -> Version:
    """What became of an invitation: one that arrived is an answer of its own, at the time of the invitation, and at the
    top once its survey was completed. Its statuses are versions, and the furthest is the highest revision."""
    data = event.data
    formula, value = _BECAME[data.status]
    return Version(
        feedback_id=data.invitation_id,
        person=data.customer_id,
        revision=STATUSES.index(data.status),
        removed=False,
        at=min(data.invited_at, data.received_at).astimezone(UTC),
        origin=_origin(data, data.survey, data.department),
        ratings=((Question("response_rate", formula, 0, 1), value),),
    )


def unsaid_of(version: Version) -> Version:
    """A removal takes back what a message rates, and this what it says."""
    return replace(version, feedback_id=_beside(version.feedback_id))


def _beside(feedback_id: UUID) -> UUID:
    return UUID(int=feedback_id.int ^ _BESIDE)


def _origin(
    data: FeedbackReceivedV1 | FeedbackRoutedV1 | InvitationChangedV1, survey: Survey | None, department: str | None
) -> Origin:
    return Origin(
        survey_type=survey.type if survey else ("transactional" if data.touchpoint else "relational"),
        survey=survey.id if survey else None,
        touchpoint=data.touchpoint,
        department=department,
        product=data.product,
        segment=data.segment,
        channel=data.channel,
        wave=survey.wave if survey else None,
    )


def question_of(rating: Rating) -> Question:
    """What a rating answers. Raises BadRecord where its formula cannot score it."""
    low, high = rating.scale_min, rating.scale_max
    if max(abs(low), abs(high)) > SCALE_LIMIT:
        raise BadRecord(f"{rating.metric}: a scale beyond ±{SCALE_LIMIT:g} cannot be scored")
    if rating.formula == "nps" and (low, high) != (0, 10):
        raise BadRecord(f"{rating.metric}: the formula nps needs the scale 0–10, not {low:g}–{high:g}")
    return Question(rating.metric, rating.formula, low, high)


def is_void(*, revision: int, removed: bool, ratings: Sequence[Any]) -> bool:
    """True where a version adds nothing and no earlier one can exist: nothing to remember."""
    return not ratings and not removed and revision == 0


def top_two_from(low: float, high: float) -> float:
    """The least value that is one of the two best points; on a yes-or-no scale only the best one is."""
    return high - 1 if high - low >= 2 else high


def microseconds(moment: datetime) -> int:
    """Since 1970, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(at: int) -> datetime:
    """Undo `microseconds`."""
    return _EPOCH + at * _MICROSECOND


def ids_of(rows: Rows, low: str = "id_low", high: str = "id_high") -> list[UUID]:
    """The ids of rows; or with other names the persons."""
    pairs = zip(rows[high].tolist(), rows[low].tolist(), strict=True)
    return [UUID(int=high_half << 64 | low_half) for high_half, low_half in pairs]


class Numbering(Generic[T]):
    """Numbers for things, given in the order in which they are met."""

    def __init__(self) -> None:
        self.met: list[T] = []
        self._numbers: dict[T, int] = {}

    def number(self, one: T) -> int:
        """The number of one, a new one if need be."""
        number = self._numbers.setdefault(one, len(self.met))
        if number == len(self.met):
            self.met.append(one)
        return number

    def __contains__(self, one: T) -> bool:
        return one in self._numbers


class Tables:
    """Numbers for the origins and questions of one workspace, over all its blocks."""

    def __init__(self) -> None:
        self.origins: Numbering[Origin] = Numbering()
        self.questions: Numbering[Question] = Numbering()

    def renumbered(self, block: Block) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers here of a block's origins and questions, row by row; −1 for no question."""
        origins = np.array([self.origins.number(one) for one in block.origins], dtype=np.int64)
        questions = np.array([*map(self.questions.number, block.questions), -1], dtype=np.int64)
        asked = block.rows["question"].astype(np.int64)
        asked[asked == NOTHING_ASKED] = len(block.questions)
        return origins[block.rows["origin"]], questions[asked]
