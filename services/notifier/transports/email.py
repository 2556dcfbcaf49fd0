"""Mail by SMTP, one recipient a message, at most once: what is lost at or after DATA is unknown and not repeated."""

import asyncio
import contextlib
import ssl
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime, formataddr

import aiosmtplib

from services.notifier.addresses import plain_email
from services.notifier.config import NotifierSettings
from services.notifier.transports.outcome import Outcome, Outgoing
from shared.core.clock import utc_now
from shared.core.settings import SettingsError

# The parsing policies of `email` take ten times as long as this one to write the same message.
_POLICY = compat32.clone(linesep="\r\n", max_line_length=0)
_ENCODED_WORD = 75  # RFC 2047, section 2: the longest one
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

    def compose(self, outgoing: Outgoing) -> MIMEMultipart:
        """The message. No word of a customer stands in From, Reply-To or any other header but the checked To. Raises
        ValueError for a recipient that is not one plain address, and for a line break in a header."""
        if (recipient := plain_email(outgoing.recipient)) is None:
            raise ValueError("not one plain e-mail address")
        headers = {
            "Message-ID": f"<{outgoing.id}@{self._sender.partition('@')[2]}>",
            "Date": format_datetime(utc_now()),
            "From": _mailbox(outgoing.brand, self._sender),
            "To": recipient,
            "Subject": _encoded(outgoing.message.subject),
            "Content-Language": _encoded(outgoing.message.language),
            "Auto-Submitted": "auto-generated",
        }
        if self._reply_to != self._sender:
            headers["Reply-To"] = self._reply_to
        if outgoing.unsubscribe_url:
            headers["List-Unsubscribe"] = f"<{_encoded(outgoing.unsubscribe_url)}>"
            headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        mail = MIMEMultipart("alternative", policy=_POLICY)
        for name, value in headers.items():
            mail[name] = value
        for content, subtype in ((outgoing.message.as_text(), "plain"), (outgoing.message.as_html(), "html")):
            mail.attach(MIMEText("\r\n".join(content.splitlines()), subtype, "utf-8", policy=_POLICY))
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


def _encoded(text: str) -> str:
    if text and text.splitlines() != [text]:
        raise ValueError("a line break in a header")
    return text if text.isascii() else Header(text, "utf-8", maxlinelen=_ENCODED_WORD).encode()


def _mailbox(name: str, address: str) -> str:
    encoded = _encoded(name)
    return formataddr((name, address)) if name.isascii() else f"{encoded} <{address}>"


def _refused(code: int) -> Outcome:
    if code == -1:  # the library's own code for an answer that is no SMTP
        return Outcome("unknown", "the mail server answered something that is not SMTP")
    if 500 <= code < 600:
        return Outcome("refused", f"the mail server refused it for good ({code})", code, permanent=True)
    return Outcome("refused", f"the mail server refused it for now ({code})", code)
