"""The mail as it goes over the wire, read back by the standard library's strict parser."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import cast
from uuid import UUID

import pytest

from services.notifier.catalogue import FOLDER, Catalogue, render
from services.notifier.config import NotifierSettings
from services.notifier.transports.email import Mailer
from services.notifier.transports.outcome import Outgoing
from tests.unit.notifier.test_catalogue import values

MAILER = Mailer(NotifierSettings(database_url="postgresql://localhost/x", smtp_sender="care@example.com"))
UNSUBSCRIBE = f"https://feedback.example/unsubscribe/acme.{'x' * 90}"


def outgoing(brand: str = "Acme, Inc.", url: str = UNSUBSCRIBE) -> Outgoing:
    catalogue = Catalogue(FOLDER)
    message = render(catalogue.find("detractor-ask-again", "fa"), catalogue.words("fa"), values(), brand=brand)
    return Outgoing(UUID(int=7), "acme", "mina@example.com", message, brand, url, {}, "")


def read_back(sent: bytes) -> EmailMessage:
    return cast(EmailMessage, message_from_bytes(sent, policy=default))


@pytest.mark.parametrize("brand", ["Acme, Inc.", 'Lale "Ev"', "Lale Ev Eşyaları", "شرکت لاله"])
def test_headers_and_both_bodies_survive_the_wire(brand: str) -> None:
    given = outgoing(brand)
    sent = bytes(MAILER.compose(given))
    assert sent.count(b"\n") == sent.count(b"\r\n"), "a bare line feed is against RFC 5321"
    assert sent.isascii()
    assert max(len(line) for line in sent.splitlines()) <= 998
    mail = read_back(sent)
    assert not mail.defects
    [sender] = mail["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (brand, "care@example.com")
    assert mail["Subject"] == given.message.subject
    assert mail["List-Unsubscribe"] == f"<{UNSUBSCRIBE}>"
    plain, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    assert plain.get_content().split() == given.message.as_text().split()
    assert html.get_content().split() == given.message.as_html().split()


def test_encoded_words_of_a_long_name_stay_within_their_limit() -> None:
    sent = bytes(MAILER.compose(outgoing("شرکت نمونه بزرگ برای آزمایش نام‌های بسیار بسیار بلند و باز هم بلندتر")))
    words = [word for line in sent.split(b"\r\n") for word in line.split() if word.startswith(b"=?")]
    assert len(words) > 2
    assert max(map(len, words)) <= 75  # RFC 2047, section 2


@pytest.mark.parametrize("end", ["\r\nBcc: evil@y.com", "\nX: y", "\r"])
def test_no_header_can_be_slipped_in(end: str) -> None:
    for given in (outgoing(f"Acme{end}"), outgoing(url=f"https://feedback.example/{end}")):
        with pytest.raises(ValueError, match="line break"):
            MAILER.compose(given)
