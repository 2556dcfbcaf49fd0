"""A real SMTP server that logs every message it accepted."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Accepted:
    """Message-ID and recipient of each message that was answered with 250, in order."""

    port: int = 0
    messages: list[tuple[str, str]] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Log, then accept."""
        message = email.message_from_bytes(envelope.original_content or b"", policy=email.policy.default)
        self.messages.append((str(message["message-id"]), envelope.rcpt_tos[0]))
        return "250 logged"


@asynccontextmanager
async def smtp_server() -> AsyncIterator[Accepted]:
    """The server on a free loopback port, for the length of the block."""
    accepted = Accepted()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(accepted, enable_SMTPUTF8=True, hostname="localhost"), "127.0.0.1", 0
    )
    accepted.port = server.sockets[0].getsockname()[1]
    try:
        yield accepted
    finally:
        server.close()
