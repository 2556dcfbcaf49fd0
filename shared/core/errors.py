"""The one family of errors that people may read: each says what is wrong and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with an input: where (a JSON path or `line 3: …`) and why."""

    path: str
    reason: str


class CloseloopError(Exception):
    """Base of all errors with a message for people. `status` is the HTTP status it becomes at the edge."""

    status = 500
    title = "Internal error"

    def __init__(self, detail: str, *, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = tuple(faults)


class InvalidInput(CloseloopError):
    """What was sent cannot be accepted; `faults` names every place."""

    status = 422
    title = "Invalid input"


class Unauthenticated(CloseloopError):
    """No key, an unknown key or a wrong signature; says the same for all of them."""

    status = 401
    title = "Not authenticated"


class Forbidden(CloseloopError):
    """The key is good, but not for this."""

    status = 403
    title = "Not allowed"


class NotFound(CloseloopError):
    """It does not exist in this workspace; whether it does in another is nobody's business."""

    status = 404
    title = "Not found"


class Conflict(CloseloopError):
    """The thing is not in the state that the request needs."""

    status = 409
    title = "Conflict"


class TooLarge(CloseloopError):
    """The request is over a limit."""

    status = 413
    title = "Too large"


class TooManyRequests(CloseloopError):
    """The workspace is over its rate; `retry_after_seconds` says when to come back."""

    status = 429
    title = "Too many requests"

    def __init__(self, detail: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(CloseloopError):
    """Something that we depend on is out of reach; nothing was stored, try again."""

    status = 503
    title = "Unavailable"

    def __init__(self, detail: str, *, retry_after_seconds: int = 2) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class BadRecord(CloseloopError):
    """This one event can never be handled: park it as a dead letter and go on. Anything else that a handler raises also
    ends as a dead letter once it stands alone, but this one says why."""

    title = "Bad record"
