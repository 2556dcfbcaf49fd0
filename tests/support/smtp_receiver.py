"""A real mail server on loopback that keeps every message it accepted, and can be told to misbehave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.smtp import SMTP


@dataclass(frozen=True)
class Accepted:
    """One accepted message: envelope as given, content as parsed."""

    sender: str
    recipients: list[str]
    mail: EmailMessage

    def part(self, kind: str) -> str:
        body = self.mail.get_body((kind,))
        assert body is not None
        return cast(str, body.get_content())


@dataclass
class MailReceiver:
    """`answers` are given to RCPT (`rcpt`) and DATA (`data`) one by one, then all is accepted. `drop_after_data` keeps
    the message and closes the connection without a word; `drop_at_rcpt` closes before."""

    port: int = 0
    accepted: list[Accepted] = field(default_factory=list)
    rcpt: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    drop_after_data: bool = False
    drop_at_rcpt: int = 0
    connections: int = 0

    def to(self, recipient: str) -> list[Accepted]:
        return [one for one in self.accepted if recipient in one.recipients]

    async def handle_EHLO(  # noqa: N802 - the library's name
        self, server: SMTP, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.drop_at_rcpt:
            self.drop_at_rcpt -= 1
            server.transport.abort()
            return "421 gone"
        if self.rcpt:
            return self.rcpt.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.data:
            return self.data.pop(0)
        mail = cast(EmailMessage, message_from_bytes(envelope.content, policy=default))
        self.accepted.append(Accepted(envelope.mail_from, list(envelope.rcpt_tos), mail))
        if self.drop_after_data:
            server.transport.abort()
        return "250 OK"


@asynccontextmanager
async def mail_receiver() -> AsyncIterator[MailReceiver]:
    """A server for the time of the block."""
    receiver = MailReceiver()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(receiver, loop=loop, hostname="receiver.test"), "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()
