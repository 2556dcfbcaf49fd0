"""What happens to a message on its way: refusals, lost connections, dead workers, slow endpoints."""

import asyncio
from typing import Any
from uuid import UUID

from shared.auth.keys import Role
from shared.auth.signatures import STANDARD_WEBHOOKS, Signed, verify
from shared.contracts.envelope import Event
from tests.integration.notifier.conftest import Notifier, case, feedback, running
from tests.support.http_receiver import HttpReceiver, http_receiver
from tests.support.poll import eventually
from tests.support.smtp_receiver import MailReceiver

DELIVERY = "notifier-delivery"
WEBHOOK_PLAYS = """
version: 1
plays:
  - id: hook
    on: breached
    steps:
      - {id: tell, after: 0s, audience: manager, transport: webhook, template: manager-breach}
  - id: mail
    on: feedback_received
    when: band is promoter
    steps:
      - {id: thanks, after: 0s, audience: customer, transport: email, template: promoter-thanks}
"""


def breached(sequence: int = 3) -> Event[Any]:
    return case(feedback(2), "breached", sequence)


async def with_webhook(notifier: Notifier, url: str) -> str:
    """Send breaches to `url` by webhook; the secret."""
    async with notifier.client(Role.ADMIN) as client:
        assert (await client.put("/v1/plays", content=WEBHOOK_PLAYS)).status_code == 200
        answer = await client.put("/v1/destinations/manager/webhook", json={"address": url})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["secret"])


async def lease_over(notifier: Notifier, followup: UUID) -> None:
    """As if the lease of a row had ended."""
    await notifier.execute(
        "update followup set lease_until = clock_timestamp() - interval '1 s' where id = :id", id=followup
    )
    await notifier.execute("select pg_notify('notifier_followup', '')")


async def test_mail_refused_for_now_is_tried_again_with_the_same_message_id(notifier: Notifier) -> None:
    notifier.mail.rcpt = ["451 try later"]
    notifier.mail.data = ["452 no space"]
    await notifier.publish(feedback(2))
    row = await notifier.row("sent", play="detractor-apology")
    assert row.attempts == 3
    [accepted] = notifier.mail.accepted
    assert accepted.mail["Message-ID"] == f"<{row.id}@lale.example>"
    ledger = [(a.outcome, a.status, a.detail) for a in await notifier.attempts(row.id)]
    assert ledger[0] == (
        "refused",
        451,
        "the mail server refused it for now (451); attempt 2 follows",
    )
    assert ledger[2][:2] == ("ok", 250)


async def test_mail_refused_for_good_fails_and_gives_its_contact_back(notifier: Notifier) -> None:
    notifier.mail.rcpt = ["550 no such person"]
    await notifier.publish(feedback(2))
    row = await notifier.row("failed", play="detractor-apology")
    assert row.reason == "the mail server refused it for good (550)"
    assert (row.attempts, row.contacted_at, row.next_at) == (1, None, None)


async def test_a_connection_lost_before_data_is_tried_again(notifier: Notifier) -> None:
    notifier.mail.drop_at_rcpt = 1
    await notifier.publish(feedback(2))
    row = await notifier.row("sent", play="detractor-apology")
    assert [a.outcome for a in await notifier.attempts(row.id)] == ["not sent", "ok"]
    assert len(notifier.mail.accepted) == 1


async def test_mail_accepted_and_then_no_word_is_unknown_and_not_repeated(notifier: Notifier) -> None:
    notifier.mail.drop_after_data = True
    await notifier.publish(feedback(2))
    row = await notifier.row("unknown", play="detractor-apology")
    assert row.reason == "the connection to the mail server was lost after DATA: it may have been sent"
    assert row.next_at is None
    notifier.mail.drop_after_data = False
    await notifier.publish(feedback(10, email="marker@example.com"))
    await notifier.row("sent", step="thanks")
    assert len(notifier.mail.to("nora@example.com")) == 1
    # An operator may send it again: the same Message-ID, so that the other side can tell.
    async with notifier.client(Role.OPERATOR) as client:
        assert (await client.post(f"/v1/followups/{row.id}/resend")).status_code == 202
    again = await notifier.row("sent", play="detractor-apology")
    assert again.attempts == 2
    first, second = notifier.mail.to("nora@example.com")
    assert first.mail["Message-ID"] == second.mail["Message-ID"]


async def test_no_mail_server_fails_after_the_schedule(
    database_url: str, mail: MailReceiver, hook: HttpReceiver
) -> None:
    async with http_receiver() as gone:
        port = gone.port
    async with running(database_url, mail, hook, smtp_port=port) as notifier:
        await notifier.publish(feedback(2))
        row = await notifier.row("failed", play="detractor-apology")
        assert row.reason == "the mail server cannot be reached (tried 4 times)"
        assert len(await notifier.attempts(row.id)) == 4


async def test_a_worker_killed_after_the_claim_leaves_unknown_and_nothing_is_sent(
    database_url: str, mail: MailReceiver, hook: HttpReceiver
) -> None:
    async with running(database_url, mail, hook) as notifier:
        notifier.mail.data = []
        worker = next(part for part in notifier.service.components if part.name == DELIVERY)
        gate = asyncio.Event()

        async def frozen(*_: Any) -> Any:
            await gate.wait()

        worker._call = frozen  # type: ignore[attr-defined,method-assign]
        await notifier.publish(feedback(2))
        row = await notifier.row("sending", play="detractor-apology")
        assert row.lease_until is not None
        for call in list(worker._calls):  # type: ignore[attr-defined]
            call.cancel()  # SIGKILL, as seen from the database: no outcome is ever recorded
        gate.set()
    async with running(database_url, mail, hook) as notifier:
        await lease_over(notifier, row.id)
        found = await notifier.row("unknown", play="detractor-apology")
        assert found.reason == "the worker ended during the call: it may have been sent"
        assert [a.outcome for a in await notifier.attempts(row.id)] == ["unknown"]
        await notifier.publish(feedback(10, email="marker@example.com"))
        await notifier.row("sent", step="thanks")
        assert mail.to("nora@example.com") == []
        states = [change.data.state for change in await notifier.changes(row.id)]
        assert states == ["planned", "sending", "unknown"]


async def test_what_was_planned_survives_a_restart(database_url: str, mail: MailReceiver, hook: HttpReceiver) -> None:
    async with running(database_url, mail, hook, play_delay_factor=1.0) as notifier:
        await notifier.publish(feedback(2))
        await notifier.row("planned", play="detractor-apology")
    async with running(database_url, mail, hook, play_delay_factor=1.0) as notifier:
        await notifier.execute("update followup set next_at = clock_timestamp() + interval '0.5 s'")
        await notifier.row("sent", play="detractor-apology")
        assert len(mail.accepted) == 1


async def test_a_late_answer_mends_unknown_but_not_a_second_attempt(notifier: Notifier) -> None:
    notifier.hook.answers = ["hang"]
    await notifier.publish(breached())
    row = await notifier.row("sending", play="case-breached")
    await eventually(lambda: notifier.hook.open)
    await lease_over(notifier, row.id)
    await notifier.row("unknown", play="case-breached")
    notifier.hook.release.set()
    assert (await notifier.row("sent", play="case-breached")).attempts == 1


async def test_webhook_retries_carry_the_same_id_and_a_good_signature(notifier: Notifier) -> None:
    secret = await with_webhook(notifier, notifier.hook.url())
    notifier.hook.answers = [500, 302, "drop"]
    await notifier.publish(breached())
    row = await notifier.row("sent", play="hook")
    assert [(a.outcome, a.status) for a in await notifier.attempts(row.id)] == [
        ("refused", 500),
        ("refused", 302),
        ("unknown", None),
        ("ok", 200),
    ]
    assert {request.headers["webhook-id"] for request in notifier.hook.received} == {f"msg_{row.id}"}
    for request in notifier.hook.received:
        stamp = float(request.headers["webhook-timestamp"])
        assert verify(STANDARD_WEBHOOKS, Signed(request.body, request.headers), [secret], now=stamp)
        assert request.json()["data"]["play"] == "hook"
    assert notifier.hook.received[0].headers["host"] == f"127.0.0.1:{notifier.hook.port}"


async def test_a_webhook_that_never_works_fails_and_says_how_often(notifier: Notifier) -> None:
    await with_webhook(notifier, notifier.hook.url())
    notifier.hook.answers = [500] * 4
    await notifier.publish(breached())
    assert (await notifier.row("failed", play="hook")).reason == "HTTP 500 (tried 4 times)"


async def test_410_disables_the_endpoint_until_it_is_set_again(notifier: Notifier) -> None:
    await with_webhook(notifier, notifier.hook.url())
    notifier.hook.answers = [410]
    first = breached()
    await notifier.publish(first)
    gone = await notifier.row("failed", feedback_id=first.data.feedback_id)
    assert (gone.attempts, gone.reason) == (1, "HTTP 410: the endpoint is gone, and disabled")
    second = breached()
    await notifier.publish(second)
    refused = await notifier.row("suppressed", feedback_id=second.data.feedback_id)
    assert refused.reason.startswith("the endpoint is disabled: HTTP 410")
    assert len(notifier.hook.received) == 1
    await with_webhook(notifier, notifier.hook.url())
    third = breached()
    await notifier.publish(third)
    await notifier.row("sent", feedback_id=third.data.feedback_id)


async def test_slack_without_an_answer_waits_for_an_operator(notifier: Notifier) -> None:
    notifier.hook.answers = ["drop"]
    await notifier.publish(breached())
    row = await notifier.row("unknown", play="case-breached")
    assert (row.transport, row.next_at, row.attempts) == ("slack", None, 1)
    async with notifier.client(Role.OPERATOR) as client:
        answer = await client.post(f"/v1/followups/{row.id}/resend")
        assert answer.status_code == 202
        assert answer.json()["reason"] == "sent again by Mira"
        await notifier.row("sent", play="case-breached")
        assert (await client.post(f"/v1/followups/{row.id}/resend")).status_code == 409


async def test_a_slow_endpoint_holds_up_no_other_and_gets_three_calls_at_most(notifier: Notifier) -> None:
    await with_webhook(notifier, notifier.hook.url())
    notifier.hook.answers = ["hang"] * 40
    await notifier.publish(*[breached() for _ in range(25)])
    await eventually(lambda: notifier.hook.open == 3)
    await notifier.publish(feedback(10))
    await notifier.row("sent", step="thanks")
    assert notifier.hook.most_open == 3
    notifier.hook.answers.clear()
    notifier.hook.release.set()

    async def all_sent() -> bool:
        return {row.state for row in await notifier.rows(play="hook")} == {"sent"}

    await eventually(all_sent)


async def test_without_the_setting_loopback_is_never_called(
    database_url: str, mail: MailReceiver, hook: HttpReceiver
) -> None:
    async with running(database_url, mail, hook, outbound_allow_private=False) as notifier:
        await notifier.publish(breached())
        row = await notifier.row("failed", play="case-breached")
        assert "must be an https URL on port 443 or 8443 of a public host" in row.reason
        assert (row.attempts, hook.connections) == (1, 0)
        async with notifier.client(Role.ADMIN) as client:
            answer = await client.put("/v1/destinations/manager/webhook", json={"address": hook.url()})
            assert answer.status_code == 422


async def test_two_workers_send_each_message_once(database_url: str, mail: MailReceiver, hook: HttpReceiver) -> None:
    async with (
        running(database_url, mail, hook, contact_limit=100) as one,
        running(database_url, mail, hook, contact_limit=100, only={DELIVERY, "notifier-wakeups"}),
    ):
        await one.publish(*[feedback(2, email=f"person{n}@example.com") for n in range(40)])

        async def all_sent() -> bool:
            rows = await one.rows(play="detractor-apology")
            return len(rows) == 40 and {row.state for row in rows} == {"sent"}

        await eventually(all_sent)
        recipients = [accepted.recipients[0] for accepted in mail.accepted]
        assert len(recipients) == len(set(recipients)) == 40


async def test_an_address_that_is_not_one_plain_address_is_never_used(notifier: Notifier) -> None:
    for address in ("a@x.com, evil@y.com", "a@x.com\r\nBcc: evil@y.com", "<a@x.com>", "a b@x.com", '"a"@x.com'):
        event = feedback(2, email=address, name="X\r\nBcc: evil@y.com")
        await notifier.publish(event)
        await notifier.row("suppressed", feedback_id=event.data.feedback_id)
    assert notifier.mail.connections == 0
