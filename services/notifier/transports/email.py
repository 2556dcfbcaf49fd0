"""Mail by SMTP, one recipient a message, at most once: what is lost at or after DATA is unknown and not repeated."""

import asyncio
import contextlib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime

import aiosmtplib

from services.notifier.addresses import plain_email
from services.notifier.config import NotifierSettings
from services.notifier.transports.outcome import Outcome, Outgoing
from shared.core.clock import utc_now
from shared.core.settings import SettingsError

_UNREACHABLE = "the mail server cannot be reached"


class Mailer:
    """Hands messages to the mail server of the settings. Raises SettingsError for a sender that is no address."""

    resends_unknown = False

    def __init__(self, settings: NotifierSettings) -> None:
        self._settings = settings
        sender = plain_email(settings.smtp_sender)
        reply_to = plain_email(settings.smtp_reply_to or settings.smtp_sender)
        if sender is None or reply_to is None:
            raise SettingsError("SMTP_SENDER and SMTP_REPLY_TO: one plain address each, such as care@example.com")
        self._sender = sender
        self._reply_to = reply_to
        # Made once: it reads every certificate of the system, which costs more than a whole conversation.
        self._tls = ssl.create_default_context() if _encrypted(settings) else None

    def compose(self, outgoing: Outgoing) -> EmailMessage:
        """The message. No word of a customer stands in From, Reply-To or any other header but the checked To."""
        if (recipient := plain_email(outgoing.recipient)) is None:
            raise ValueError("not one plain e-mail address")
        mail = EmailMessage(policy=SMTP_POLICY)
        domain = self._sender.partition("@")[2]
        mail["Message-ID"] = f"<{outgoing.id}@{domain}>"
        mail["Date"] = format_datetime(utc_now())
        mail["From"] = Address(display_name=outgoing.brand, addr_spec=self._sender)
        if self._reply_to != self._sender:
            mail["Reply-To"] = Address(addr_spec=self._reply_to)
        mail["To"] = Address(addr_spec=recipient)
        mail["Subject"] = outgoing.message.subject
        mail["Content-Language"] = outgoing.message.language
        mail["Auto-Submitted"] = "auto-generated"
        if outgoing.unsubscribe_url:
            mail["List-Unsubscribe"] = f"<{outgoing.unsubscribe_url}>"
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        mail.set_content(outgoing.message.as_text(), cte="base64")
        mail.add_alternative(outgoing.message.as_html(), subtype="html", cte="base64")
        return mail

    async def send(self, outgoing: Outgoing) -> Outcome:
        """Hand one message over, within the timeouts of the settings."""
        try:
            mail = self.compose(outgoing)
        except ValueError:
            return Outcome("not sent", "the address is not one plain e-mail address", permanent=True)
        conversation = _Conversation(self._settings, self._sender, self._tls)
        budget = self._settings.delivery_connect_seconds + self._settings.delivery_timeout_seconds
        try:
            async with asyncio.timeout(budget):
                return await conversation.hold(str(mail["To"]), bytes(mail))
        except TimeoutError:
            return conversation.lost()


class _Conversation:
    """One connection, one message."""

    def __init__(self, settings: NotifierSettings, sender: str, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._sender = sender
        self._tls = tls
        self._data_begun = False

    def lost(self) -> Outcome:
        """What a lost connection means at this point."""
        if self._data_begun:
            return Outcome("unknown", "the connection to the mail server was lost after DATA: it may have been sent")
        return Outcome("not sent", _UNREACHABLE)

    async def hold(self, recipient: str, message: bytes) -> Outcome:
        """Greet, name sender and recipient, hand over."""
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            timeout=settings.delivery_timeout_seconds,
            use_tls=settings.smtp_tls,
            start_tls=settings.smtp_starttls == "required" and not settings.smtp_tls,
            tls_context=self._tls,
            local_hostname=self._sender.partition("@")[2] or "localhost",
        )
        try:
            await client.connect(timeout=settings.delivery_connect_seconds)
            if settings.smtp_username:
                await client.login(settings.smtp_username, settings.smtp_password.get_secret_value())
            await client.mail(self._sender)
            await client.rcpt(recipient)
            self._data_begun = True
            answer = await client.data(message)
        except aiosmtplib.SMTPResponseException as error:
            return _refused(error.code)
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError, ValueError):
            return self.lost()
        finally:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                client.close()
        return Outcome("ok", status=answer.code)


def _encrypted(settings: NotifierSettings) -> bool:
    return settings.smtp_tls or settings.smtp_starttls == "required"


def _refused(code: int) -> Outcome:
    if code == -1:  # the library's own code for an answer that is no SMTP
        return Outcome("unknown", "the mail server answered something that is not SMTP")
    if 500 <= code < 600:
        return Outcome("refused", f"the mail server refused it for good ({code})", code, permanent=True)
    return Outcome("refused", f"the mail server refused it for now ({code})", code)
