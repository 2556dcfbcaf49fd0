"""What a connector is: verify → parse → canonical fields. The rest (ids, validation, publishing) all share."""

import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.ingest.decoding import invalid, path_of
from shared.auth.signatures import Scheme, Signed, verify
from shared.contracts.envelope import Label
from shared.contracts.feedback_received import Formula, Metric, SurveyType
from shared.core.errors import Fault


@dataclass(frozen=True, slots=True)
class Bearer:
    """A secret that the sender repeats in a header, as such or after `Bearer `."""

    header: str = "authorization"


Credential = Scheme | Bearer


def proven(credential: Credential, message: Signed, secrets: Sequence[str], *, now: float) -> bool:
    """True when the sender knows one of `secrets`. Constant in time, never raises."""
    if isinstance(credential, Scheme):
        return verify(credential, message, secrets, now=now)
    presented = message.headers.get(credential.header.lower(), "")
    token = presented[7:] if presented[:7].lower() == "bearer " else presented
    given = token.strip().encode("utf-8", "surrogatepass")
    good = False
    for secret in secrets:
        good |= bool(secret) and hmac.compare_digest(given, secret.encode())
    return good


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one delivery holds: items in the form of FeedbackIn, and what was left out on purpose, counted by reason.

    `handshake` is set for a delivery that only tests the connection.
    """

    items: list[dict[str, Any]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    handshake: bool = False


class Answered(BaseModel):
    """How one question of a vendor becomes a rating."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Metric
    scale_min: float | None = None
    scale_max: float | None = None
    formula: Formula | None = None

    def rating(self, value: Any) -> dict[str, Any]:
        """A rating in the form of FeedbackIn."""
        return {"value": value, **self.model_dump(exclude_none=True)}


class SourceSettings(BaseModel):
    """What an operator says about a source: fixed values that its bodies do not have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: Label | None = Field(default=None, description="How its feedback comes: email, web, forum, …")
    touchpoint: Label | None = None
    department: Label | None = None
    product: Label | None = None
    segment: Label | None = None
    language: str | None = Field(default=None, pattern="^[a-z]{2}$")
    public: bool | None = None
    survey_id: Label | None = None
    survey_type: SurveyType | None = None
    wave: Label | None = None

    def constants(self) -> dict[str, Any]:
        """The fixed values in the form of FeedbackIn, without the survey."""
        names = {"channel", "touchpoint", "department", "product", "segment", "language", "public"}
        return self.model_dump(include=names, exclude_none=True)


class Connector(Protocol):
    """One vendor. Stateless: everything about a source comes in its settings."""

    @property
    def name(self) -> str:
        """Its name in `sources add` and in events."""
        ...

    @property
    def settings(self) -> type[SourceSettings]:
        """The settings that a source of this connector takes."""
        ...

    def credential(self, settings: Any) -> Credential:
        """How its deliveries prove where they come from."""
        ...

    def parse(self, settings: Any, message: Signed) -> Parsed:
        """The items of a verified delivery. Raises InvalidInput for a body that it cannot understand."""
        ...


def configured(connector: Connector, settings: Mapping[str, Any]) -> SourceSettings:
    """Check the settings of a source. Raises InvalidInput with the path of each fault."""
    try:
        return connector.settings.model_validate(settings)
    except ValidationError as error:
        raise invalid(
            [
                Fault(path_of(("settings", *fault["loc"])), fault["msg"].removeprefix("Value error, "))
                for fault in error.errors(include_url=False, include_input=False, include_context=False)
            ]
        ) from None


def place(item: dict[str, Any], path: Sequence[str | int], value: Any) -> None:
    """Set `value` at `path` in nested dicts and lists, making what is missing. Raises ValueError where it clashes."""
    target: Any = item
    for index, step in enumerate(path):
        last = index == len(path) - 1
        filler: Any = value if last else [] if isinstance(path[index + 1], int) else {}
        if isinstance(step, int):
            if not isinstance(target, list) or step > len(target):
                raise ValueError(f"{path_of(path)} does not fit beside the others")
            if step == len(target):
                target.append(filler)
            elif last:
                target[step] = filler
        elif not isinstance(target, dict):
            raise ValueError(f"{path_of(path)} does not fit beside the others")
        elif last or step not in target:
            target[step] = filler
        target = target[step]


def need_object(value: Any, where: str) -> dict[str, Any]:
    """`value` as an object. Raises InvalidInput."""
    if not isinstance(value, dict):
        raise invalid([Fault(where, "must be an object")])
    return value
