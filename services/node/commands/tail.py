"""`closeloop tail`: events as they flow, one readable line each."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import typer

from services.node.commands.running import fail, with_database
from shared.bus.connect import connect, topics_of
from shared.bus.security import security_of
from shared.contracts.assignment_changed import AssignmentChangedV1
from shared.contracts.customer_purchased import CustomerPurchasedV1
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.feedback_routed import FeedbackRoutedV1
from shared.contracts.followup_changed import FollowupChangedV1
from shared.contracts.invitation_changed import InvitationChangedV1
from shared.contracts.score_alerted import ScoreAlertedV1
from shared.contracts.score_updated import ScoreUpdatedV1
from shared.contracts.topics import BY_NAME, TOPICS, Topic
from shared.core.settings import Settings, load
from shared.http.sse import structured
from shared.runtime.feed import Feed

_COLOURS = ("cyan", "magenta", "yellow", "green", "red", "blue")


def tail(
    topic: Annotated[list[str] | None, typer.Option("--topic", "-t", help="Only this topic; may be repeated.")] = None,
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Only this workspace.")] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="From the first event kept, not from now.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Whole events as JSON lines, customer data included.")
    ] = False,
) -> None:
    """Follow events as they flow. Ctrl-C ends it."""
    unknown = sorted(set(topic or ()) - set(BY_NAME))
    if unknown:
        fail(f"no topic {unknown[0]!r}; there are {', '.join(sorted(BY_NAME))}")
    topics = [BY_NAME[name] for name in topic] if topic else list(TOPICS)
    with_database(lambda url: _follow(url, topics, workspace, from_start=from_start, as_json=as_json))


async def _follow(url: str, topics: Sequence[Topic], workspace: str | None, *, from_start: bool, as_json: bool) -> None:
    settings = load(Settings)
    bus_url = settings.bus_url
    bus = connect(bus_url, url, security_of(settings))
    await bus.start()
    await bus.create_topics(topics_of(bus_url))
    feeds = [Feed(bus, topic) for topic in topics]
    tasks = [asyncio.create_task(feed.run()) for feed in feeds]
    tasks += [
        asyncio.create_task(_show(feed.stream("0.0" if from_start else None, _of(workspace)), colour, as_json=as_json))
        for feed, colour in zip(feeds, _COLOURS, strict=False)
    ]
    try:
        await asyncio.gather(*tasks)
    finally:
        for feed in feeds:
            await feed.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bus.stop()


def _of(workspace: str | None) -> Any:
    return lambda event: workspace is None or event.workspace == workspace


async def _show(events: AsyncIterator[tuple[str, Event[Any]]], colour: str, *, as_json: bool) -> None:
    async for _, event in events:
        if as_json:
            typer.echo(json.dumps(structured(event), ensure_ascii=False))
            continue
        noun = event.data.topic.name.removesuffix(".v1")
        head = typer.style(f"{event.time:%H:%M:%S} {noun:20}", fg=colour)
        typer.echo(f"{head} {event.workspace:10} {line(event.data)}")


def line(data: Any) -> str:
    """What a person wants to know of an event, on one line, without what identifies a customer."""
    match data:
        case FeedbackReceivedV1():
            scores = " ".join(f"{rating.metric}={rating.value:g}" for rating in data.ratings)
            state = "removed " if data.removed else f"revision {data.revision} " if data.revision else ""
            return f"{state}{data.kind} {scores} {data.channel} {data.touchpoint or '-'} by {data.connector}"
        case InvitationChangedV1():
            return f"{data.survey.id} {data.status} {data.channel} {data.touchpoint or '-'} by {data.connector}"
        case CustomerPurchasedV1():
            return f"{len(data.products)} products {data.channel} by {data.connector}"
        case FeedbackRoutedV1():
            issues = ",".join(tag.issue for tag in data.issues) or "-"
            flags = " spam" if data.spam else "" if data.actionable else " no answer needed"
            return f"{data.language} {data.sentiment} for {data.department} {issues} {data.urgency}{flags}"
        case AssignmentChangedV1():
            return f"{data.change} → {data.member_id or data.team or 'queue'} {data.priority} (now {data.state})"
        case ScoreUpdatedV1():
            value = "-" if data.value is None else f"{data.value:.1f}"
            note = "" if data.reportable else " (too few to report)"
            return f"{data.series.name()} = {value}, n={data.n}{note}"
        case ScoreAlertedV1():
            return f"{data.kind} {data.state}: {data.series.name()} = {data.value}"
        case FollowupChangedV1():
            why = f": {data.reason}" if data.reason else ""
            return f"{data.play}/{data.step} {data.transport} to {data.audience} {data.state}{why}"
        case _:
            return str(data.event_type)
