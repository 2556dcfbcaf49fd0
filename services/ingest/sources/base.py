"""What a connector is: verify → parse → canonical fields. The rest (ids, validation, publishing) all share."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.ingest.decoding import decode_json, invalid, path_of
from services.ingest.sources.proof import Credential
from shared.auth.signatures import Signed
from shared.contracts.envelope import Label
from shared.contracts.feedback_received import SurveyType
from shared.core.errors import Fault


@dataclass(frozen=True, slots=True)
class Answer:
    """What a vendor wants to hear, byte by byte."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something to fetch: `object` names it within its source, so that it is wanted once; `detail` is what the request
    needs to know, and for a poller its cursor."""

    object: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one delivery holds: items in the form of FeedbackIn, and what was left out on purpose, counted by reason.

    `purchases` are in the form of PurchaseIn. `wanted` is what must be fetched from the vendor's API. `answer` is set
    where the vendor waits for certain bytes: a challenge, or a delivery that only tests the connection.
    """

    items: list[dict[str, Any]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    answer: Answer | None = None
    purchases: list[dict[str, Any]] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)


def skipped(reason: str) -> Parsed:
    """A delivery that is left out."""
    return Parsed(skipped=Counter({reason: 1}))


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

    def survey(self, form: object = None) -> dict[str, Any]:
        """The survey in the form of FeedbackIn; `form` is what the vendor calls it."""
        return {
            "id": self.survey_id or (str(form)[:80] if form else None),
            "type": self.survey_type or "transactional",
            "wave": self.wave,
        }


class Connector:
    """One vendor, as data where possible. Stateless: everything about a source comes in its settings.

    `name` stands in `sources add` and in events, `proof` says how deliveries prove where they come from, `success` is
    the status of the answer to a delivery that was taken. `reads` are the headers that `parse` needs beside
    Content-Type (`ce-` means all that begin so): they are kept with a dead letter. Signatures and tokens are not.
    `busy` is the status for a workspace over its rate.
    """

    name: ClassVar[str]
    settings: ClassVar[type[SourceSettings]] = SourceSettings
    proof: ClassVar[Credential]
    success: ClassVar[int] = 202
    reads: ClassVar[tuple[str, ...]] = ()
    busy: ClassVar[int] = 429

    def credential(self, settings: Any) -> Credential:
        """How deliveries of a source prove where they come from."""
        del settings
        return self.proof

    def takes_our_form(self, settings: Any) -> bool:
        """Whether bodies of a source are in the public form, and nothing is added to them."""
        del settings
        return False

    def greet(self, settings: Any, message: Signed, secrets: Sequence[str], key: str) -> Answer | None:
        """The answer to a GET, HEAD or OPTIONS by which the vendor finds out who is here; None: it has no business
        here. `key` is the last part of the address. Nothing is proven yet."""
        del settings, message, secrets, key
        return None

    def parse(self, settings: Any, message: Signed) -> Parsed:
        """The items of a proven delivery. Raises InvalidInput for a body that it cannot understand."""
        raise NotImplementedError


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


def need_list(value: Any, where: str) -> list[Any]:
    """`value` as an array. Raises InvalidInput."""
    if not isinstance(value, list):
        raise invalid([Fault(where, "must be an array")])
    return value


def json_object(message: Signed) -> dict[str, Any]:
    """The body as an object; ids in long numbers are text. Raises InvalidInput."""
    return need_object(decode_json(message.body, long_numbers_as_text=True), "$")


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in an array; nothing for anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def object_of(value: Any) -> dict[str, Any]:
    """`value` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def word(value: Any) -> str:
    """`value` where it is text, else an empty one; what is not text cannot be looked up."""
    return value if isinstance(value, str) else ""


def need_id(value: Any, where: str) -> str:
    """An id as text, whether it came as text or as a number. Raises InvalidInput."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise invalid([Fault(where, "is missing: it is the id")])
    return str(value)
