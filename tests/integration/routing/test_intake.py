from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.event import listens_for, remove

from services.routing.service.intake import NO_WORDS
from shared.contracts.examples import examples
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.topics import ASSIGNMENT_CHANGED, FEEDBACK_ROUTED
from shared.core.ids import name_id
from tests.integration.routing.support import COMPLAINTS, World, answer, by_feedback, message, running
from tests.support.poll import eventually


async def test_feedback_in_three_languages_is_tagged_and_given_to_who_speaks_it(database_url: str) -> None:
    async with running(database_url) as world:
        await world.teams()
        events = {language: message(language, text) for language, text in COMPLAINTS.items()}
        await world.publish(*events.values())
        routed = {event.data.feedback_id: event for event in await world.routed(3)}
        changes = by_feedback(await world.changes(3))
        for language, event in events.items():
            tags = routed[event.data.feedback_id]
            assert (tags.data.language, tags.data.sentiment, tags.causation_id) == (language, "negative", event.id)
            (change,) = changes[event.data.feedback_id]
            assert change.assignment_id == tags.data.assignment_id
            assert (change.change, change.state, change.team) == ("assigned", "assigned", "care")
            assert change.first_response_due_at
        assert changes[events["tr"].data.feedback_id][0].member_id == "deniz"
        assert changes[events["fa"].data.feedback_id][0].member_id == "farah"
        shown = await world.call("GET", f"/v1/feedback/{events['tr'].data.feedback_id}/tags")
        assert [tags["language"] for tags in shown.json()] == ["tr"]


async def test_only_what_needs_an_answer_opens_an_assignment(database_url: str) -> None:
    now = datetime.now(UTC)
    cases: list[tuple[Any, bool]] = [
        (answer("d", 2), True),
        (answer("d-thanks", 6, "Thank you, all good!"), True),
        (answer("p", 10), False),
        (answer("p-thanks", 10, "Fantastic service, thank you so much!"), False),
        (answer("m", 8), False),
        (answer("m-complaint", 8, COMPLAINTS["en"]), True),
        (message("thanks", "Thank you so much, lovely shop!"), False),
        (message("history", occurred_at=now - timedelta(days=30), received_at=now), False),
    ]
    async with running(database_url) as world:
        await world.teams()
        await world.publish(*(event for event, _ in cases))
        routed = {event.data.feedback_id: event.data for event in await world.routed(len(cases))}
        opened = {event.data.feedback_id for event, _ in cases if routed[event.data.feedback_id].assignment_id}
        assert opened == {event.data.feedback_id for event, needed in cases if needed}
        changes = by_feedback(await world.changes(len(opened)))
        assert set(changes) == opened
        wordless = routed[cases[0][0].data.feedback_id]
        assert (wordless.language, wordless.sentiment, wordless.understanding_version) == ("und", "unknown", NO_WORDS)


async def test_every_example_goes_through(database_url: str) -> None:
    received = examples(FeedbackReceivedV1)
    async with running(database_url) as world:
        await world.publish(*received)
        kept = {(event.data.feedback_id, event.data.revision) for event in received if not event.data.removed}
        routed = await world.routed(len(kept))
        assert {(event.data.feedback_id, event.data.revision) for event in routed} == kept
        async with world.database.reader() as reader:
            assert await reader.scalar("select count(*) from dead_letter") == 0


async def test_the_same_events_again_change_nothing(database_url: str) -> None:
    events = [message(n) for n in range(3)] + [message(1, "Where is my parcel? Please help.", revision=1)]
    async with running(database_url) as world:
        await world.teams()
        await world.publish(*events)
        await world.routed(4)
        before = await _picture(world, 3)
        # As if the memory of processed ids were older than the log: effects must not repeat even then.
        async with world.database.unit_of_work() as uow:
            await uow.execute("delete from processed_event")
        await world.publish(*events, message("mark"))
        await world.routed(9)
        after = await _picture(world, 4)
        assert {key: after[key] for key in before} == before
        ids = [event.id for event in await world.seen(FEEDBACK_ROUTED)]
        assert len(set(ids)) == 5  # the repeats have the ids they had


async def _picture(world: World, count: int) -> dict[Any, Any]:
    await world.changes(count)
    listed = await world.call("GET", "/v1/assignments", params={"limit": 200})
    volatile = {"first_response_left_seconds"}
    return {item["id"]: {k: v for k, v in item.items() if k not in volatile} for item in listed.json()["items"]}


async def test_a_later_revision_changes_tags_and_a_removal_closes(database_url: str) -> None:
    async with running(database_url) as world:
        await world.teams()
        await world.publish(message(1))
        (opened,) = await world.changes(1)
        await world.publish(message(1, COMPLAINTS["tr"], revision=1))
        await world.routed(2)
        case = await eventually(lambda: _case(world, opened.assignment_id, "tr"))
        assert (case["state"], case["sequence"]) == ("assigned", 1)
        assert case["feedback"]["text"] == COMPLAINTS["tr"]
        assert case["first_response_due_at"] is not None
        await world.publish(message(1, None, revision=2, removed=True, sensitive={}))
        resolved = (await world.changes(2))[-1]
        assert (resolved.change, resolved.actor, resolved.resolution and resolved.resolution.cause) == (
            "resolved",
            "system",
            "removed",
        )
        gone = await world.show(opened.assignment_id)
        assert (gone["feedback"]["removed"], gone["feedback"]["text"]) == (True, None)
        assert gone["feedback"]["customer"]["name"] is None
        async with world.database.reader() as reader:
            assert await reader.scalar("select count(*) from timer") == 0
        await world.publish(message(1, revision=3))
        again = (await world.changes(3))[-1]
        assert (again.change, again.state, again.resolution) == ("reopened", "assigned", None)
        # What was said before the removal comes late: it is history.
        await world.publish(message(1, "Thanks, all is fine now!", revision=1, occurred_at=datetime.now(UTC)))
        await world.publish(message(2))
        await world.changes(4)
        assert (await world.show(opened.assignment_id))["language"] == "en"


async def _case(world: World, identifier: Any, language: str) -> dict[str, Any] | None:
    case = await world.show(identifier)
    return case if case["language"] == language else None


async def test_a_correction_that_needs_no_answer_closes_what_nobody_began(database_url: str) -> None:
    async with running(database_url) as world:
        await world.teams()
        await world.publish(answer(1, 3))
        (opened,) = await world.changes(1)
        assert opened.band == "detractor"
        await world.publish(answer(1, 9, revision=1))
        closed = (await world.changes(2))[-1]
        assert (closed.change, closed.resolution and closed.resolution.cause) == ("resolved", "no_answer_needed")
        assert len(await world.seen(ASSIGNMENT_CHANGED)) == 2


async def test_opened_and_taken_back_in_one_breath(database_url: str) -> None:
    """All revisions in one batch: each change is there, and no clock runs on."""
    gone = message(1, None, revision=2, removed=True, sensitive={})
    async with running(database_url) as world:
        await world.teams()
        await world.publish(message(1), message(1, COMPLAINTS["tr"], revision=1), gone, message(2))
        changes = by_feedback(await world.changes(3))
        assert [change.change for change in changes[gone.data.feedback_id]] == ["assigned", "resolved"]
        assert [change.language for change in changes[gone.data.feedback_id]] == ["en", "tr"]
        async with world.database.reader() as reader:
            assert await reader.scalar("select count(*) from timer") == 1


async def test_batches_of_any_size_are_the_same_statements(database_url: str) -> None:
    """The database prepares a statement once; one that has a parameter for each message is a new one for every size,
    and preparing takes as long as running, with the workspace's lock held."""
    said: set[str] = set()

    @listens_for(Engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.add(statement)

    try:
        async with running(database_url) as world:
            await world.teams()
            before: set[str] = set()
            for size in (2, 3, 4):
                before = set(said)
                await world.publish(
                    *[message(f"{size}-{n}", customer_id=name_id("customer", "acme", str(n))) for n in range(size)]
                )
                await world.routed(sum(range(2, size + 1)))
            assert said - before == set()
    finally:
        remove(Engine, "before_cursor_execute", note)
