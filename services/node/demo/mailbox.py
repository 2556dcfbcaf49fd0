"""A local SMTP server that delivers to nobody: the demo's mails end here, and can be looked at."""

import asyncio
import email
import email.policy
import socket
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from shared.core.clock import utc_now

_KEPT = 200


@dataclass(frozen=True, slots=True)
class Mail:
    """What arrived: a mail, or a chat message (recipient `slack`)."""

    at: datetime
    recipient: str
    subject: str
    text: str


class Mailbox:
    """A component: an SMTP server on a free loopback port."""

    name = "demo-mailbox"

    def __init__(self) -> None:
        self.received = 0
        self.latest: deque[Mail] = deque(maxlen=_KEPT)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Accept mails until `stop`."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(self, enable_SMTPUTF8=True, hostname="localhost", ident="closeloop demo"), sock=self._listener
        )
        try:
            await self._stopping.wait()
        finally:
            server.close()

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Keep the mail."""
        message: Any = email.message_from_bytes(envelope.original_content or b"", policy=email.policy.default)
        body = message.get_body(("plain", "html"))
        self.keep(", ".join(envelope.rcpt_tos), str(message["subject"]), body.get_content() if body else "")
        return "250 kept"

    def keep(self, recipient: str, subject: str, text: str) -> None:
        """Note a message."""
        self.received += 1
        self.latest.appendleft(Mail(utc_now(), recipient, subject, text))
