"""From records of `feedback.received.v1` to blocks of rows: the hot path of scoring.

A record is decoded by msgspec into the few fields that scoring reads (0.8 µs, where the whole contract takes 18), and
everything that many records share is checked once, when it is first met, by the contract itself. What the quick way
does not understand goes the whole way: there is one judge of what is poison, `codec.decode`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.scoring.domain.answers import (
    NOTHING_ASKED,
    ROW,
    Block,
    Cause,
    Origin,
    Question,
    Rows,
    Version,
    is_void,
    microseconds,
    said_of,
    unsaid_of,
    version_of,
)
from shared.bus import codec
from shared.bus.port import Record
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.feedback_routed import FeedbackRoutedV1
from shared.core.errors import BadRecord

_TYPE = ("ce_type", FeedbackReceivedV1.event_type.encode())
# Headers that codec.encode writes always, in its order: the type is the fourth, the workspace the seventh.
_LEAST_HEADERS = 8
_MOST_REVISION = 2**62
# So far from 1970 a float of seconds still tells every microsecond.
_EXACT_SECONDS = 4e9
# Distinct origins and questions that are remembered before it begins anew: they are an open list, memory is not.
_MOST_KNOWN = 100_000
_NOBODY = "00000000000000000000000000000000"


class _Survey(msgspec.Struct, gc=False):
    id: str
    type: str
    wave: str | None = None


class _Rating(msgspec.Struct, gc=False):
    metric: str
    value: float
    scale_min: float
    scale_max: float
    formula: str


class _Feedback(msgspec.Struct, gc=False):
    feedback_id: str
    occurred_at: datetime
    received_at: datetime
    channel: str
    revision: int = 0
    removed: bool = False
    touchpoint: str | None = None
    department: str | None = None
    product: str | None = None
    segment: str | None = None
    survey: _Survey | None = None
    ratings: list[_Rating] = []
    customer_id: str | None = None


_decode = msgspec.json.Decoder(_Feedback).decode


class _Odd(ValueError):
    """Something that the quick way does not vouch for."""


class _Draft:
    """Rows of one workspace, as tuples in the order of `_COLUMNS`."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.origins: dict[Origin, int] = {}
        self.questions: dict[Question, int] = {}
        self.causes: dict[int, Record] = {}
        self.exact: dict[int, int] = {}
        """Row → microseconds, where seconds as a float do not do."""


# What a row is made of here; ids and persons are hexadecimal, with or without hyphens.
_COLUMNS = ("id", "person", "revision", "at", "removed", "origin", "question", "value", "parts")


class Intake:
    """Reads records. Remembers what it has met, so a consumer keeps one."""

    def __init__(self) -> None:
        self._origins: dict[tuple[str | None, ...], Origin] = {}
        self._questions: dict[tuple[str, str, float, float], Question] = {}

    def read(self, records: Sequence[Record]) -> list[Block]:
        """The rows of records, a block for each workspace. Raises BadRecord if any of them is poison."""
        drafts: dict[str, _Draft] = {}
        try:
            self._quick(records, drafts)
            return [_block(workspace, draft) for workspace, draft in drafts.items() if draft.rows]
        except _Odd:
            drafts = {}
            for record in records:
                self._whole(record, drafts)
            return [_block(workspace, draft) for workspace, draft in drafts.items() if draft.rows]

    def _quick(self, records: Sequence[Record], drafts: dict[str, _Draft]) -> None:
        # One long loop over local names, because it runs for every answer: each call in it would cost a tenth of it.
        known_origins, known_questions, decode = self._origins, self._questions, _decode
        before, draft = ("", b""), _Draft()
        for record in records:
            headers = record.headers
            if len(headers) < _LEAST_HEADERS or headers[3] != _TYPE:
                self._whole(record, drafts)
                continue
            try:
                feedback = decode(record.value)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self._whole(record, drafts)
                continue
            ratings, survey, revision = feedback.ratings, feedback.survey, feedback.revision
            if not ratings and not revision and not feedback.removed:
                continue  # void: see `is_void`
            origin = known_origins.get(
                (
                    survey.type if survey else None,
                    survey.id if survey else None,
                    feedback.touchpoint,
                    feedback.department,
                    feedback.product,
                    feedback.segment,
                    feedback.channel,
                    survey.wave if survey else None,
                )
            )
            question, value = None, 0.0
            for rating in ratings:
                question = known_questions.get((rating.metric, rating.formula, rating.scale_min, rating.scale_max))
                value = rating.value
            if (
                origin is None
                or (question is None and ratings)
                or len(ratings) > 1
                or feedback.removed
                or not 0 <= revision < _MOST_REVISION
            ):
                self._whole(record, drafts)
                continue
            if headers[6] != before:
                before = headers[6]
                if before[0] != "ce_workspace" or not before[1]:
                    raise _Odd
                draft = drafts.setdefault(before[1].decode(), _Draft())
            occurred, received = feedback.occurred_at, feedback.received_at
            try:
                at = (min(received, occurred)).timestamp()
            except TypeError:  # one has a time zone
                raise _Odd from None
            number = draft.origins.setdefault(origin, len(draft.origins))
            draft.causes[number] = record
            draft.rows.append(
                (
                    feedback.feedback_id,
                    feedback.customer_id or _NOBODY,
                    revision,
                    at,
                    False,
                    number,
                    NOTHING_ASKED if question is None else draft.questions.setdefault(question, len(draft.questions)),
                    value,
                    1,
                )
            )

    def _whole(self, record: Record, drafts: dict[str, _Draft]) -> None:
        """By the contract itself, which tells what it has in common with records to come."""
        event = codec.decode(record)
        data = event.data
        draft = drafts.get(event.workspace) or drafts.setdefault(event.workspace, _Draft())
        if isinstance(data, FeedbackRoutedV1):
            _add(draft, said_of(event), record)
            return
        if not isinstance(data, FeedbackReceivedV1):
            raise BadRecord(f"{event.type} is not feedback")
        version = version_of(event)
        if len(self._origins) + len(self._questions) >= _MOST_KNOWN:
            self._origins.clear()
            self._questions.clear()
        self._origins[_origin_key(data, data.survey)] = version.origin
        for question, _ in version.ratings:
            self._questions[question[:4]] = question
        _add(draft, version, record)
        if data.removed:
            _add(draft, unsaid_of(version), record)


def _add(draft: _Draft, version: Version, record: Record) -> None:
    if is_void(revision=version.revision, removed=version.removed, ratings=version.ratings):
        return
    number = draft.origins.setdefault(version.origin, len(draft.origins))
    draft.causes[number] = record
    person = version.person.hex if version.person else _NOBODY
    head = (version.feedback_id.hex, person, version.revision, 0.0, version.removed, number)
    draft.exact |= dict.fromkeys(
        range(len(draft.rows), len(draft.rows) + max(1, len(version.ratings))), microseconds(version.at)
    )
    for place, (question, value) in enumerate(version.ratings):
        asked = draft.questions.setdefault(question, len(draft.questions))
        draft.rows.append((*head, asked, value, 0 if place else len(version.ratings)))
    if not version.ratings:
        draft.rows.append((*head, NOTHING_ASKED, 0.0, 1))


def _origin_key(feedback: _Feedback | FeedbackReceivedV1, survey: Any) -> tuple[str | None, ...]:
    return (
        survey.type if survey else None,
        survey.id if survey else None,
        feedback.touchpoint,
        feedback.department,
        feedback.product,
        feedback.segment,
        feedback.channel,
        survey.wave if survey else None,
    )


def _block(workspace: str, draft: _Draft) -> Block:
    columns = dict(zip(_COLUMNS, zip(*draft.rows, strict=True), strict=True))
    rows = np.empty(len(draft.rows), dtype=ROW)
    rows["id_high"], rows["id_low"] = _halves(columns.pop("id"))
    rows["person_high"], rows["person_low"] = _halves(columns.pop("person"))
    at = np.array(columns.pop("at"))
    if np.abs(at).max() > _EXACT_SECONDS:
        raise _Odd
    rows["at"] = np.rint(at * 1e6)
    rows["at"][list(draft.exact)] = list(draft.exact.values())
    for name, column in columns.items():
        rows[name] = column
    questions = list(draft.questions)
    _check_scales(rows, questions)
    causes = [_cause(draft.causes[number]) for number in range(len(draft.origins))]
    return Block(workspace, rows, list(draft.origins), questions, causes)


def _halves(ids: Sequence[str]) -> NDArray[np.uint64]:
    """Two rows: the higher and the lower eight bytes of each id. Raises _Odd."""
    digits = "".join(ids).replace("-", "")
    if len(digits) != 32 * len(ids):
        raise _Odd
    try:
        return np.frombuffer(bytes.fromhex(digits), dtype=">u8").reshape(-1, 2).T.astype(np.uint64)
    except ValueError:
        raise _Odd from None


def _check_scales(rows: Rows, questions: Sequence[Question]) -> None:
    """Raise _Odd for a value that its question does not allow."""
    low = np.array([question.scale_min for question in questions] + [0.0])
    high = np.array([question.scale_max for question in questions] + [0.0])
    whole = np.array([question.metric == "nps" for question in questions] + [False])
    asked = np.minimum(rows["question"], len(questions))
    value = rows["value"]
    if not ((low[asked] <= value) & (value <= high[asked]) & (~whole[asked] | (value == np.floor(value)))).all():
        raise _Odd


def _cause(record: Record) -> Cause:
    attributes = dict(record.headers)
    traceparent = attributes.get("traceparent")
    return Cause(
        UUID(attributes["ce_id"].decode()),
        UUID(attributes["ce_correlationid"].decode()),
        None if traceparent is None else traceparent.decode(),
    )
