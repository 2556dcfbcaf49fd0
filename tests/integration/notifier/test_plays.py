"""The shipped plays, end to end: events on a real bus in, mail at a real server and calls at a real receiver out."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from shared.auth.keys import Role
from shared.contracts.assignment_changed import AssignmentChangedV1
from shared.contracts.envelope import EventData
from shared.contracts.examples import examples
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.feedback_routed import FeedbackRoutedV1
from shared.contracts.score_alerted import ScoreAlertedV1
from shared.core.clock import utc_now
from shared.core.ids import uuid7
from tests.integration.notifier.conftest import Notifier, case, feedback, running
from tests.support.http_receiver import HttpReceiver
from tests.support.poll import eventually
from tests.support.smtp_receiver import MailReceiver

SLOW_PLAYS = """
version: 1
plays:
  - id: slow
    on: feedback_received
    steps:
      - {id: later, after: 1h, audience: customer, transport: email, template: promoter-thanks, unless: answered}
"""


async def states(notifier: Notifier, followup: UUID, last: str) -> list[str]:
    """The published states of a follow-up, once `last` is among them."""

    async def found() -> Sequence[Any]:
        changes = await notifier.changes(followup)
        return changes if changes and changes[-1].data.state == last else []

    return [change.data.state for change in await eventually(found)]


async def due_now(notifier: Notifier) -> None:
    """As if the delay had passed."""
    await notifier.execute("update followup set due_at = clock_timestamp(), next_at = clock_timestamp()")


async def test_a_detractor_gets_an_apology_and_every_change_is_published_once(notifier: Notifier) -> None:
    event = feedback(2)
    await notifier.publish(event)
    row = await notifier.row("sent", feedback_id=event.data.feedback_id)
    assert (row.play, row.step, row.audience, row.transport) == ("detractor-apology", "apology", "customer", "email")
    [accepted] = notifier.mail.to("nora@example.com")
    assert accepted.mail["Subject"] == "We are sorry – and we are on it"
    assert "Hello Nora Whitfield," in accepted.part("plain")
    assert "within one working day" in accepted.part("plain")
    assert await states(notifier, row.id, "sent") == ["planned", "sending", "sent"]
    published = await notifier.changes(row.id)
    assert {change.workspace for change in published} == {"lale"}
    assert {change.causation_id for change in published} == {event.id}
    assert len({change.id for change in published}) == 3
    assert published[-1].data.sensitive.recipient == "nora@example.com"


async def test_the_promise_names_the_time_when_there_is_one(notifier: Notifier) -> None:
    event = feedback(2)
    assigned = case(event, "assigned", first_response_due_at=utc_now().replace(hour=9, minute=19))
    await notifier.publish(assigned)
    await eventually(lambda: notifier.rows(play="detractor-agent-first"))
    await notifier.publish(event)
    await notifier.row("sent", play="detractor-apology")
    [accepted] = notifier.mail.to("nora@example.com")
    assert "09:19 (UTC)" in accepted.part("plain")


async def test_after_the_fix_a_detractor_is_asked_again(notifier: Notifier) -> None:
    event = feedback(3, language="tr", name="Elif Karaca", email="elif@example.org")
    await notifier.publish(event)
    await notifier.row("sent", play="detractor-apology")
    await notifier.publish(case(event, "resolved", 4, language="tr"))
    row = await notifier.row("sent", play="detractor-after-fix")
    last = notifier.mail.to("elif@example.org")[-1]
    assert last.mail["Subject"] == "Sorununuz gerçekten çözüldü mü?"
    assert f"https://ask.lale.example/?f={event.data.feedback_id}" in last.part("plain")
    assert row.language == "tr"


async def test_a_passive_is_asked_what_should_be_better(notifier: Notifier) -> None:
    await notifier.publish(feedback(8, language="fa", name="سارا کریمی", email="sara@example.ir"))
    await notifier.row("sent", play="passive-improve")
    [accepted] = notifier.mail.to("sara@example.ir")
    assert accepted.mail["Subject"] == "چه چیزی را باید بهتر کنیم؟"
    assert '<html lang="fa" dir="rtl">' in accepted.part("html")
    assert "سارا کریمی گرامی، سلام" in accepted.part("plain")


async def test_a_promoter_is_thanked_and_invited_later(notifier: Notifier) -> None:
    await notifier.publish(feedback(10))
    await notifier.row("sent", step="thanks")
    await notifier.row("sent", step="invite-friend")
    assert [one.mail["Subject"] for one in notifier.mail.accepted] == [
        "Thank you!",
        "Do you know somebody who would like Lale?",
    ]


async def test_no_band_no_mail(notifier: Notifier) -> None:
    unscored, detractor = feedback(None), feedback(1)
    await notifier.publish(unscored, detractor)
    await notifier.row("sent", play="detractor-apology")
    assert await notifier.rows(feedback_id=unscored.data.feedback_id) == []


async def test_at_risk_goes_to_the_agent_and_breached_to_the_manager(notifier: Notifier) -> None:
    event = feedback(2)
    await notifier.publish(case(event, "at_risk", 2, language="en"))
    await notifier.publish(case(event, "breached", 3, language="en"))
    agent = await notifier.row("sent", play="case-at-risk")
    assert (agent.transport, agent.recipient) == ("email", "deniz.aydin@example.com")
    assert "Deniz Aydın" in notifier.mail.to("deniz.aydin@example.com")[0].part("plain")
    manager = await notifier.row("sent", play="case-breached")
    assert manager.transport == "slack"
    [request] = notifier.hook.received
    assert request.json()["blocks"][0]["text"]["text"].startswith("Overdue: case")


async def test_an_alert_goes_to_the_manager(notifier: Notifier) -> None:
    raised = next(e for e in examples(ScoreAlertedV1) if e.data.kind == "drop" and e.data.state == "raised")
    now = utc_now()
    await notifier.publish(replace(raised, data=raised.data.model_copy(update={"as_of": now})))
    await notifier.row("sent", play="score-alert")
    assert raised.data.series.name() in notifier.hook.received[0].json()["text"].replace("&gt;", ">")


async def test_every_example_goes_through(notifier: Notifier) -> None:
    kinds: tuple[type[EventData], ...] = (FeedbackReceivedV1, FeedbackRoutedV1, AssignmentChangedV1, ScoreAlertedV1)
    events = [event for kind in kinds for event in examples(kind)]
    await notifier.publish(*events)

    async def processed() -> bool:
        async with notifier.database.reader() as reader:
            known = await reader.all("select event_id from processed_event where group_name = 'notifier'")
            letters = await reader.scalar("select count(*) from dead_letter")
        assert letters == 0
        return {row.event_id for row in known} == {event.id for event in events}

    await eventually(processed)


async def test_a_repeat_plans_nothing_new(notifier: Notifier) -> None:
    event = feedback(2)
    # The same event, then the same feedback under other event ids: a replayed import, a second delivery.
    await notifier.publish(event, event)
    await notifier.publish(replace(event, id=uuid7()), replace(event, id=uuid7()))
    marker = feedback(10, email="last@example.com")
    await notifier.publish(marker)
    await notifier.row("sent", step="thanks")
    await notifier.row("sent", play="detractor-apology")
    assert len(notifier.mail.to("nora@example.com")) == 1


async def test_conditions_are_looked_at_when_due(database_url: str, mail: MailReceiver, hook: HttpReceiver) -> None:
    async with running(database_url, mail, hook, play_delay_factor=1.0) as notifier:
        async with notifier.client(Role.MANAGER) as client:
            assert (await client.put("/v1/plays", content=SLOW_PLAYS)).status_code == 200
        event, other = feedback(9), feedback(9, email="other@example.com")
        await notifier.publish(event, other)
        planned = await notifier.row("planned", feedback_id=event.data.feedback_id)
        assert timedelta(minutes=59) < planned.due_at - utc_now() < timedelta(minutes=61)
        await notifier.publish(case(event, "answered", 3))
        await eventually(lambda: _answered(notifier))
        await due_now(notifier)
        await notifier.execute("select pg_notify('notifier_followup', '')")
        row = await notifier.row("cancelled", feedback_id=event.data.feedback_id)
        assert row.reason == "unless answered"
        assert await states(notifier, row.id, "cancelled") == ["planned", "cancelled"]
        await notifier.row("sent", feedback_id=other.data.feedback_id)
        assert mail.to("nora@example.com") == []


async def _answered(notifier: Notifier) -> Any:
    async with notifier.database.reader() as reader:
        return await reader.scalar("select first_response_at from assignment")


async def test_a_correction_cancels_what_was_planned_and_starts_what_fits(
    database_url: str, mail: MailReceiver, hook: HttpReceiver
) -> None:
    async with running(database_url, mail, hook, play_delay_factor=1.0) as notifier:
        event = feedback(2)
        await notifier.publish(event)
        await notifier.row("planned", play="detractor-apology")
        corrected = feedback(10, customer=event.data.customer_id, feedback_id=event.data.feedback_id, revision=1)
        await notifier.publish(corrected)
        row = await notifier.row("cancelled", play="detractor-apology")
        assert row.reason == "the feedback was corrected: it is promoter now"
        await notifier.row("planned", step="thanks")
        removed = replace(
            corrected, id=uuid7(), data=corrected.data.model_copy(update={"revision": 2, "removed": True})
        )
        await notifier.publish(removed)
        assert (await notifier.row("cancelled", step="thanks")).reason == "the feedback was taken back"
        assert mail.accepted == []


async def test_history_starts_nothing(notifier: Notifier) -> None:
    old = feedback(2, occurred_at=utc_now() - timedelta(days=30))
    await notifier.publish(old, feedback(10, email="new@example.com"))
    await notifier.row("sent", step="thanks")
    assert await notifier.rows(feedback_id=old.data.feedback_id) == []


async def test_spam_gets_no_answer(notifier: Notifier) -> None:
    event = feedback(2)
    spam = next(e for e in examples(FeedbackRoutedV1) if e.data.spam)
    data = spam.data.model_copy(update={"feedback_id": event.data.feedback_id, "customer_id": event.data.customer_id})
    await notifier.publish(replace(spam, workspace="lale", data=data))
    await eventually(lambda: _understood(notifier))
    await notifier.publish(event)
    assert (await notifier.row("cancelled", play="detractor-apology")).reason == "the feedback is spam"


async def _understood(notifier: Notifier) -> Any:
    async with notifier.database.reader() as reader:
        return await reader.scalar("select count(*) from understanding")


async def test_without_an_address_it_is_suppressed(notifier: Notifier) -> None:
    await notifier.publish(feedback(2, email=None))
    row = await notifier.row("suppressed", play="detractor-apology")
    assert row.reason == "no e-mail address of the customer is known"
    assert await states(notifier, row.id, "suppressed") == ["planned", "suppressed"]


async def test_an_address_of_another_answer_of_the_same_person_is_used(notifier: Notifier) -> None:
    known = feedback(None, email="nora@example.com")
    await notifier.publish(known)
    await notifier.publish(feedback(2, customer=known.data.customer_id, email=None, language="en"))
    await notifier.row("sent", play="detractor-apology")
    assert len(notifier.mail.to("nora@example.com")) == 1


async def test_the_governor_counts_messages_to_a_person(
    database_url: str, mail: MailReceiver, hook: HttpReceiver
) -> None:
    async with running(database_url, mail, hook, contact_limit=2) as notifier:
        for _ in range(4):
            # Other customers by their id, one person by the address.
            await notifier.publish(feedback(2, email="Nora@Example.com"))

        async def settled() -> bool:
            rows = await notifier.rows(play="detractor-apology")
            return sorted(row.state for row in rows) == ["sent", "sent", "suppressed", "suppressed"]

        await eventually(settled)
        refused = await notifier.rows(state="suppressed")
        assert {row.reason for row in refused} == {"contact governor: 2 of 2 messages in 30 days"}
        assert len(mail.to("nora@example.com")) == 2


async def test_a_changed_plays_file_is_taken_and_a_bad_one_is_not(
    database_url: str, mail: MailReceiver, hook: HttpReceiver, tmp_path: Path
) -> None:
    file = tmp_path / "plays.yaml"
    file.write_text(SLOW_PLAYS, encoding="utf-8")
    async with (
        running(database_url, mail, hook, plays_file=file, play_delay_factor=1.0) as notifier,
        notifier.client(Role.MANAGER) as client,
    ):
        first = (await client.get("/v1/plays")).json()
        assert first["version"].startswith("file-")
        assert [play["id"] for play in first["plays"]] == ["slow"]
        file.write_text(SLOW_PLAYS.replace("id: slow", "id: slower"), encoding="utf-8")

        async def changed() -> bool:
            return [play["id"] for play in (await client.get("/v1/plays")).json()["plays"]] == ["slower"]

        await eventually(changed)
