"""The shipped plays, end to end: events on a real bus in, mails at a real mail server and calls at a real receiver out."""

import pytest

from tests.integration.notifier.conftest import Notifier, case, feedback
from tests.support.poll import eventually


async def test_a_detractor_gets_an_apology(notifier: Notifier) -> None:
    event = feedback(2)
    await notifier.publish(event)
    row = await notifier.row("sent", feedback_id=event.data.feedback_id)
    assert (row.play, row.step, row.audience, row.transport) == ("detractor-apology", "apology", "customer", "email")
    [accepted] = notifier.mail.to("nora@example.com")
    assert accepted.mail["Subject"] == "We are sorry – and we are on it"
    assert "Nora Whitfield" in accepted.part("plain")
    states = [change.data.state for change in await eventually(lambda: _ended(notifier, row.id))]
    assert states == ["planned", "sending", "sent"]


async def _ended(notifier: Notifier, followup):  # type: ignore[no-untyped-def]
    changes = await notifier.changes(followup)
    return changes if changes and changes[-1].data.state == "sent" else None
