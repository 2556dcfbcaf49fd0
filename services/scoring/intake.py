"""From records of `feedback.received.v1` to blocks of rows: the hot path of scoring.

A record is decoded by msgspec into the few fields that scoring reads (0.8 µs, where the whole contract takes 18), and
everything that many records share is checked once, when it is first met, by the contract itself. What the quick way
does not understand goes the whole way: there is one judge of what is poison, `codec.decode`.
"""

from collections.abc import Sequence, Sized
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
    Numbering,
    Origin,
    Question,
    Version,
    hidden_of,
    invited_of,
    is_void,
    said_of,
    unsaid_of,
    version_of,
)
from shared.bus import codec
from shared.bus.port import Record
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.feedback_routed import FeedbackRoutedV1
from shared.contracts.invitation_changed import InvitationChangedV1
from shared.core.clock import rfc3339
from shared.core.errors import BadRecord

_TYPE = FeedbackReceivedV1.event_type
_MOST_REVISION = 2**62
# Distinct origins and answers that are remembered before it begins anew: they are an open list, memory is not.
_MOST_KNOWN = 100_000
_NOBODY = "00000000000000000000000000000000"
# Times as codec.encode writes them: in UTC, with microseconds where they have some. All digits made one:
_DIGITS = str.maketrans("123456789", "000000000")
_TIMES = {"0000-00-00T00:00:00", "0000-00-00T00:00:00.000000"}
_YEAR_ONE = -62_135_596_800_000_000


class _Feedback(msgspec.Struct, gc=False):
    """What scoring reads. Times, survey and ratings stay text: for all that have the same, it is read once."""

    feedback_id: str
    occurred_at: str
    received_at: str
    channel: str
    revision: int = 0
    removed: bool = False
    touchpoint: str | None = None
    department: str | None = None
    product: str | None = None
    segment: str | None = None
    survey: msgspec.Raw = msgspec.Raw(b"null")
    ratings: msgspec.Raw = msgspec.Raw(b"[]")
    customer_id: str | None = None


_decode = msgspec.json.Decoder(_Feedback).decode
_Answers = tuple[tuple[Question, float], ...]


class _Odd(ValueError):
    """Something that the quick way does not vouch for."""


# A version, the numbers that the intake has given its origin and its answers, and where it came from. A plain tuple,
# because one with names takes as long to make as all its parts to find.
_Row = tuple[_Feedback, int, int, Record]


class Intake:
    """Reads records. Remembers what it has met, so a consumer keeps one."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._origins: Numbering[Origin] = Numbering()
        self._answers: Numbering[_Answers] = Numbering()
        self._origin_of: dict[tuple[bytes | str | None, ...], int] = {}
        self._answers_of: dict[bytes, int] = {}

    def read(self, records: Sequence[Record]) -> list[Block]:
        """The rows of records, a block for each workspace. Raises BadRecord if any of them is poison."""
        known: tuple[Sized, ...] = (self._origins.met, self._answers.met, self._origin_of, self._answers_of)
        if sum(map(len, known)) >= _MOST_KNOWN:
            self._forget()
        versions: dict[str, list[_Row]] = {}
        try:
            self._quick(records, versions)
            return [self._block(workspace, rows) for workspace, rows in versions.items() if rows]
        except _Odd:
            versions = {}
            for record in records:
                self._whole(record, versions)
            return [self._block(workspace, rows) for workspace, rows in versions.items() if rows]

    def _quick(self, records: Sequence[Record], versions: dict[str, list[_Row]]) -> None:
        # Local names and no calls of ours, because it runs for every answer.
        origin_of, answers_of, decode = self._origin_of.get, self._answers_of.get, _decode
        nothing = self._answers.number(())
        before, rows = None, list[_Row]()
        for record in records:
            heading = record.heading
            if heading is None or heading.type != _TYPE:
                self._whole(record, versions)
                continue
            try:
                feedback = decode(record.value)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self._whole(record, versions)
                continue
            origin = origin_of(
                (
                    bytes(feedback.survey),
                    feedback.touchpoint,
                    feedback.department,
                    feedback.product,
                    feedback.segment,
                    feedback.channel,
                )
            )
            answers = answers_of(bytes(feedback.ratings))
            if (
                origin is None
                or answers is None
                or feedback.removed
                or not 0 <= feedback.revision < _MOST_REVISION
                or feedback.occurred_at[-1:] != "Z"
            ):
                self._whole(record, versions)
                continue
            if heading is not before:
                before, rows = heading, versions.setdefault(heading.workspace, [])
            if answers != nothing or feedback.revision:  # else void: see `is_void`
                rows.append((feedback, origin, answers, record))

    def _whole(self, record: Record, versions: dict[str, list[_Row]]) -> None:
        """By the contract itself, which tells what it has in common with records to come."""
        event = codec.decode(record)
        rows = versions.setdefault(event.workspace, [])
        if isinstance(event.data, FeedbackRoutedV1):
            rows += self._rows(said_of(event), record)
            if (hidden := hidden_of(event)) is not None:
                rows += self._rows(hidden, record)
            return
        if isinstance(event.data, InvitationChangedV1):
            rows += self._rows(invited_of(event), record)
            return
        if not isinstance(event.data, FeedbackReceivedV1):
            raise BadRecord(f"{event.type} is not feedback")
        version = version_of(event)
        rows += self._rows(version, record)
        if version.removed:
            rows += self._rows(unsaid_of(version), record)
        else:
            self._learn(record, version)

    def _learn(self, record: Record, version: Version) -> None:
        try:
            feedback = _decode(record.value)
        except msgspec.MsgspecError:
            return
        self._origin_of[_origin_key(feedback)] = self._origins.number(version.origin)
        self._answers_of[bytes(feedback.ratings)] = self._answers.number(version.ratings)

    def _rows(self, version: Version, record: Record) -> list[_Row]:
        if is_void(revision=version.revision, removed=version.removed, ratings=version.ratings):
            return []
        at, person = rfc3339(version.at), version.person.hex if version.person else None
        plain = _Feedback(version.feedback_id.hex, at, at, "", version.revision, version.removed, customer_id=person)
        return [(plain, self._origins.number(version.origin), self._answers.number(version.ratings), record)]

    def _block(self, workspace: str, versions: list[_Row]) -> Block:
        feedbacks, origins, answers, records = zip(*versions, strict=True)
        met, origin = np.unique(np.array(origins), return_inverse=True)
        questions, answered, sizes = self._answered(answers)
        rows = np.empty(len(answered), dtype=ROW)
        for name, column in (_columns(feedbacks) | {"origin": origin}).items():
            rows[name] = np.repeat(column, sizes)
        rows["question"], rows["value"], rows["parts"] = answered.T
        latest = dict(zip(origins, records, strict=True))
        causes = [_cause(latest[number]) for number in met.tolist()]
        return Block(workspace, rows, [self._origins.met[number] for number in met.tolist()], questions, causes)

    def _answered(self, answers: Sequence[int]) -> tuple[list[Question], NDArray[np.float64], NDArray[np.intp]]:
        """What was asked; (number of the question, value, parts) row by row; and the rows of each version."""
        met, which = np.unique(np.array(answers), return_inverse=True)
        several = [self._answers.met[number] for number in met.tolist()]
        questions = list({question: None for one in several for question, _ in one})
        numbers = {question: number for number, question in enumerate(questions)}
        rows = [
            [(numbers[question], value, 0 if place else len(one)) for place, (question, value) in enumerate(one)]
            or [(NOTHING_ASKED, 0.0, 1)]
            for one in several
        ]
        sizes = np.array([len(one) for one in rows])
        starts, wanted = np.cumsum(sizes) - sizes, sizes[which]
        ends = np.cumsum(wanted)
        place = np.arange(ends[-1]) - np.repeat(ends - wanted - starts[which], wanted)
        return questions, np.array([row for one in rows for row in one])[place], wanted


def _origin_key(feedback: _Feedback) -> tuple[bytes | str | None, ...]:
    return (
        bytes(feedback.survey),
        feedback.touchpoint,
        feedback.department,
        feedback.product,
        feedback.segment,
        feedback.channel,
    )


def _columns(feedbacks: Sequence[_Feedback]) -> dict[str, NDArray[Any]]:
    """What a version has once, by the names of a row. Raises _Odd."""
    ids, persons = (
        _halves([one.feedback_id for one in feedbacks]),
        _halves([one.customer_id or _NOBODY for one in feedbacks]),
    )
    occurred, received = (
        _moments([one.occurred_at for one in feedbacks]),
        _moments([one.received_at for one in feedbacks]),
    )
    return {
        "id_high": ids[0],
        "id_low": ids[1],
        "person_high": persons[0],
        "person_low": persons[1],
        "at": np.minimum(occurred, received),
        "revision": np.array([one.revision for one in feedbacks]),
        "removed": np.array([one.removed for one in feedbacks]),
    }


def _moments(times: Sequence[str]) -> NDArray[np.int64]:
    """Microseconds since 1970. Raises _Odd."""
    together = "".join(times)
    several = together[:-1].split("Z")
    if (
        together[-1] != "Z"
        or len(several) != len(times)
        or not set(together[:-1].translate(_DIGITS).split("Z")) <= _TIMES
    ):
        raise _Odd
    try:
        moments = np.array(several, dtype="M8[us]").astype(np.int64)
    except ValueError:  # the 30th of February
        raise _Odd from None
    if moments.min() < _YEAR_ONE:
        raise _Odd
    return moments


def _halves(ids: Sequence[str]) -> NDArray[np.uint64]:
    """Two rows: the higher and the lower eight bytes of each id. Raises _Odd."""
    digits = "".join(ids).replace("-", "")
    if len(digits) != 32 * len(ids):
        raise _Odd
    try:
        return np.frombuffer(bytes.fromhex(digits), dtype=">u8").reshape(-1, 2).T.astype(np.uint64)
    except ValueError:
        raise _Odd from None


def _cause(record: Record) -> Cause:
    attributes = dict(record.headers)
    traceparent = attributes.get("traceparent")
    return Cause(
        UUID(attributes["ce_id"].decode()),
        UUID(attributes["ce_correlationid"].decode()),
        None if traceparent is None else traceparent.decode(),
    )
