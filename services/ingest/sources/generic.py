"""Any system that can post JSON: a field map says where things stand, and one of three ways proves the sender."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from services.ingest.canonical import content_id
from services.ingest.decoding import decode_json, invalid
from services.ingest.sources.base import Connector, Parsed, SourceSettings, place
from services.ingest.sources.mapping import as_field
from services.ingest.sources.paths import EVERY, find, find_all, parse_path
from services.ingest.sources.proof import Bearer, Credential
from services.ingest.sources.revisions import revision_of
from services.ingest.sources.targets import target
from shared.auth.signatures import STANDARD_WEBHOOKS, Scheme, Signed
from shared.core.errors import Fault

MAX_ITEMS = 500


def _path(value: object) -> object:
    return parse_path(value) if isinstance(value, str) else value


def _shown(steps: tuple[str | int, ...]) -> str:
    return "$" + "".join(
        step if step == EVERY else f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps
    )


Path = Annotated[tuple[str | int, ...], BeforeValidator(_path), PlainSerializer(_shown, return_type=str)]
_HEADER = r"^[A-Za-z0-9-]{1,80}$"


class HmacSignature(BaseModel):
    """An HMAC in a header. `signed` lists {id}, {timestamp}, {body} and fixed texts, joined as bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Literal["hmac"]
    header: str = Field(pattern=_HEADER)
    digest: Literal["sha256", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = Field(default="", max_length=40, description="What stands before the signature: `sha256=`.")
    signed: tuple[str, ...] = Field(default=("{body}",), max_length=10)
    timestamp_header: str | None = Field(default=None, pattern=_HEADER)
    id_header: str | None = Field(default=None, pattern=_HEADER)
    tolerance_seconds: int | None = Field(default=None, ge=1, le=3600)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if "{body}" not in self.signed:
            raise ValueError("signed must contain {body}: a signature that leaves the body out proves nothing")
        if "{timestamp}" in self.signed and self.timestamp_header is None:
            raise ValueError("signed has {timestamp}: name its timestamp_header")
        if "{id}" in self.signed and self.id_header is None:
            raise ValueError("signed has {id}: name its id_header")
        if self.tolerance_seconds is not None and "{timestamp}" not in self.signed:
            raise ValueError("tolerance_seconds needs {timestamp} in signed; an unsigned time proves nothing")
        return self


class BearerToken(BaseModel):
    """A secret repeated in a header, for systems that cannot sign."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Literal["bearer"]
    header: str = Field(default="Authorization", pattern=_HEADER)


class StandardWebhooks(BaseModel):
    """https://www.standardwebhooks.com."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Literal["standard-webhooks"] = "standard-webhooks"


class MappedSettings(SourceSettings):
    """Where the fields of the feedback stand in a body that the operator knows and we don't. Without `fields` it is in
    our own form already (that of POST /v1/feedback)."""

    fields: dict[str, Path] = Field(
        default_factory=dict, description='Field of the feedback → path in an item: {"customer.email": "user.mail"}.'
    )
    constants_: dict[str, str | int | float | bool] = Field(
        default_factory=dict, alias="constants", description='Field → fixed value: {"metric": "csat"}.'
    )
    values: dict[str, dict[str, str | int | float | bool]] = Field(
        default_factory=dict, description='Field → {theirs: ours}: {"score": {"happy": 5, "sad": 1}}.'
    )
    only: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description='Path in an item → texts; others are left out: {"event": ["finished"]}.'
    )
    removed: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description='Path in an item → texts that mean it was taken back: {"event": ["deleted"]}.'
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in (*self.fields, *self.constants_, *self.values):
            target(name)
        for text in (*self.only, *self.removed):
            parse_path(text)
        return self


class GenericSettings(MappedSettings):
    """Its items are the body, each element of it, or what stands at `items`."""

    signature: HmacSignature | BearerToken | StandardWebhooks = Field(
        default=StandardWebhooks(), discriminator="scheme", description="How the sender proves itself."
    )
    items: Path | None = Field(
        default=None,
        description="Where the items stand: `data.responses[*]`. Default: the body, or each element of it.",
    )


class Generic(Connector):
    """Any system: its settings say all that there is to know."""

    name: ClassVar[str] = "generic"
    reads: ClassVar[tuple[str, ...]] = ("webhook-id",)
    settings: ClassVar[type[SourceSettings]] = GenericSettings

    def credential(self, settings: GenericSettings) -> Credential:
        """See Connector."""
        signature = settings.signature
        if isinstance(signature, BearerToken):
            return Bearer(signature.header)
        if isinstance(signature, StandardWebhooks):
            return STANDARD_WEBHOOKS
        return Scheme(**signature.model_dump(exclude={"scheme"}))

    def takes_our_form(self, settings: GenericSettings) -> bool:
        """See Connector."""
        return settings == GenericSettings(signature=settings.signature)

    def parse(self, settings: GenericSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = decode_json(message.body)
        found = _items(settings, body)
        if len(found) > MAX_ITEMS:
            raise invalid([Fault("$", f"holds {len(found)} items; at most {MAX_ITEMS} at once")])
        parsed = Parsed()
        delivery = message.headers.get("webhook-id") if settings.signature.scheme == "standard-webhooks" else None
        for index, item in enumerate(found):
            if not passes(settings.only, item):
                parsed.skipped["other event"] += 1
                continue
            if not isinstance(item, dict):
                raise invalid([Fault(f"[{index}]", "must be an object")])
            feedback = mapped(settings, item, item)
            if "id" not in feedback:
                feedback["id"] = f"delivery:{delivery[:150]}#{index}" if delivery else content_id(item)
            parsed.items.append(feedback)
        return parsed


def _items(settings: GenericSettings, body: Any) -> list[Any]:
    if settings.items is not None:
        found = find_all(body, settings.items)
        if not found:
            raise invalid([Fault(_shown(settings.items), "is not in the body")])
        return found
    return body if isinstance(body, list) else [body]


def mapped(settings: MappedSettings, item: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The feedback in `item` by the paths of the settings; where there are none, `ours` is the part of it in our form.
    Raises InvalidInput where fields of the settings clash."""
    feedback: dict[str, Any] = settings.constants() if settings.fields else settings.constants() | ours
    try:
        for name, value in settings.constants_.items():
            place(feedback, target(name), value)
        for name, path in settings.fields.items():
            if (value := find(item, path)) is not None:
                place(feedback, target(name), _translated(settings, name, value))
    except ValueError as error:
        raise invalid([Fault("settings", str(error))]) from None
    if settings.survey_id and "survey" not in feedback:
        feedback["survey"] = settings.survey()
    if settings.removed and passes(settings.removed, item):
        feedback["removed"] = True
    if "revision" in settings.fields and "revision" in feedback:
        feedback["revision"] = revision_of(feedback["revision"])
    return feedback


def _translated(settings: MappedSettings, name: str, value: Any) -> Any:
    table = settings.values.get(name)
    if table is not None:
        return table.get(str(value), value)
    return as_field(target(name), value)


def passes(conditions: dict[str, tuple[str, ...]], item: Any) -> bool:
    """True where every path of an item holds one of its texts."""
    return all(_text(find(item, parse_path(path))) in texts for path, texts in conditions.items())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
