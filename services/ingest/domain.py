"""Pure rules of ingest: who a customer is, and ids that repeat with what they name."""

import re
from uuid import UUID

from shared.core.ids import external_event_id, name_id

_NOT_DIGITS = re.compile(r"[^0-9]")


def identity_of(
    *, id: str | None, email: str | None, phone: str | None, handle: str | None, channel: str
) -> str | None:
    """What tells this person from others in a workspace, in one spelling: id, else e-mail, phone, handle on a channel.

    An id that is an e-mail address counts as one, so that a shop and a survey meet on the same person.
    """
    if id is not None:
        return id.casefold() if "@" in id else id
    if email is not None:
        return email.casefold()
    if phone is not None:
        return normal_phone(phone)
    return None if handle is None else f"{channel.casefold()}:{normal_handle(handle)}"


def normal_phone(phone: str) -> str:
    """Digits with a leading +, where it was international (`00…` is the same as `+…`)."""
    digits = _NOT_DIGITS.sub("", phone)
    if phone.lstrip().startswith("+"):
        return f"+{digits}"
    return f"+{digits[2:]}" if digits.startswith("00") else digits


def normal_handle(handle: str) -> str:
    """`@Nora` and `nora` are one."""
    return f"@{handle.lstrip('@').casefold()}"


def customer_id(workspace: str, identity: str) -> UUID:
    """Pseudonym: the same person in a workspace has the same id, and nobody in another one."""
    return name_id("customer", workspace, identity)


def feedback_id(workspace: str, source: str, object_id: str) -> UUID:
    """The same object of the same source is the same feedback, whatever its revision."""
    return name_id("feedback", workspace, source, object_id)


def invitation_id(workspace: str, source: str, object_id: str) -> UUID:
    """The same invitation of the same source, whatever became of it."""
    return name_id("invitation", workspace, source, object_id)


def invitation_event_id(workspace: str, source: str, object_id: str, status: str) -> UUID:
    """The same status of the same invitation is the same event."""
    return external_event_id(workspace, source, f"invitation:{object_id}", status)


def purchase_id(workspace: str, source: str, object_id: str) -> UUID:
    """The same order of the same source is the same purchase."""
    return name_id("purchase", workspace, source, object_id)


def purchase_event_id(workspace: str, source: str, object_id: str) -> UUID:
    """An order is paid once."""
    return external_event_id(workspace, source, f"purchase:{object_id}", "paid")


def event_id(workspace: str, source: str, object_id: str, revision: int) -> UUID:
    """The same revision of the same object is the same event: a repeat is dropped by every consumer."""
    return external_event_id(workspace, source, object_id, revision)
