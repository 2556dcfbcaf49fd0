"""Where a message goes: the customer's mail, the agent's, or what a workspace or the settings name."""

import re
from collections.abc import Mapping, Sequence
from email.headerregistry import Address
from typing import Any
from urllib.parse import urlsplit

from services.notifier.config import NotifierSettings

# Stricter than RFC 5322 on purpose: one plain address, no quoting, no comments, no lists, no controls.
_EMAIL = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII)
_EMAIL_LIMIT = 254


def plain_email(text: str | None) -> str | None:
    """`text` in lower case if it is exactly one plain address, else None: nothing else may reach a header."""
    candidate = (text or "").strip().lower()
    if len(candidate) > _EMAIL_LIMIT or not _EMAIL.fullmatch(candidate):
        return None
    try:
        return candidate if Address(addr_spec=candidate).addr_spec == candidate else None
    except (ValueError, IndexError):
        return None


class Addresses:
    """Finds recipients; what a workspace set wins over the settings of the process."""

    def __init__(self, settings: NotifierSettings) -> None:
        self._defaults = {
            ("agent", "slack"): settings.agent_slack_url,
            ("agent", "webhook"): settings.agent_webhook_url,
            ("manager", "slack"): settings.manager_slack_url,
            ("manager", "webhook"): settings.manager_webhook_url,
            ("manager", "email"): settings.manager_email,
        }

    def of_staff(self, audience: str, transport: str, destination: str | None, member_email: str | None) -> str | None:
        """The address for an agent or a manager, or None."""
        if (audience, transport) == ("agent", "email") and (own := plain_email(member_email)):
            return own
        return destination or self._defaults.get((audience, transport)) or None

    def choose(
        self,
        workspace: str,
        audience: str,
        transports: Sequence[str],
        destinations: Mapping[tuple[str, str, str], Any],
        *,
        member_email: str | None,
    ) -> tuple[str, str | None]:
        """The first transport that has an address, with it; the last with None where none has."""
        if audience == "customer":
            return "email", None
        for transport in transports:
            row = destinations.get((workspace, audience, transport))
            address = self.of_staff(audience, transport, row.address if row else None, member_email)
            if address:
                return transport, address
        return transports[-1], None

    def endpoint(self, workspace: str, transport: str, recipient: str | None) -> str:
        """What shares a limit of calls in flight: a host, or the mail server for one workspace."""
        if transport == "email":
            return f"email/{workspace}"
        return f"{transport}/{urlsplit(recipient or '').netloc or workspace}"
