from tests.integration.routing.support import COMPLAINTS, by_feedback, message, running


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
