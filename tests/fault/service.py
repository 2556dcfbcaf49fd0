"""A service as it is, plus a ledger: `python -m tests.fault.service scoring`.

Next to each effect of a handler its event is written to `fault_effect`, in the same transaction, without a key that
would hide a repeat; and every move of a consumer's position to `fault_move`. What the services' own tables cannot show,
because they are idempotent besides, is seen there.

FAULT_UNFENCED=routing (or `all`) takes the fence away. FAULT_FOLDER may hold `broken-<group>`: then that group's
handler fails for all.
"""

import os
import runpy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.bus import codec
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.runtime import consumer
from shared.runtime.compose import Composition
from shared.runtime.consumer import Handler, Subscription
from shared.runtime.timers import Timer, TimerHandler
from tests.fault.unfenced import UnfencedPositions

TIMER = "fault"
_AT = "at timestamptz default clock_timestamp()"
_CREATE = (
    "select pg_advisory_xact_lock(hashtext('fault ledger'))",
    f"create table if not exists fault_effect (n bigserial, group_name text, event_id uuid, place text, {_AT})",
    "create index if not exists fault_effect_event on fault_effect (event_id)",
    f"create table if not exists fault_timer (key text, due_at timestamptz, {_AT})",
    f"create table if not exists fault_move (n bigserial, place text, before bigint, after bigint, {_AT})",
    """create or replace function fault_moved() returns trigger language plpgsql as $$ begin
           if new.next_offset <> old.next_offset then
               insert into fault_move (place, before, after) values
                   (new.group_name || '/' || new.topic || '/' || new.partition, old.next_offset, new.next_offset);
           end if;
           return null;
       end $$""",
    """create or replace trigger fault_move after update on consumer_position
       for each row execute function fault_moved()""",
)
_NOTE = """
insert into fault_effect (group_name, event_id, place)
select :group, event_id, place from unnest(cast(:ids as uuid[]), cast(:places as text[])) as effect (event_id, place)"""
_FIRED = """
insert into fault_timer (key, due_at)
select key, cast(due_at as timestamptz)
from unnest(cast(:keys as text[]), cast(:due as text[])) as fired (key, due_at)"""


class Broken(Exception):
    """What the handler raises while it is broken."""


def noted(group: str, handle: Handler, *, raw: bool) -> Handler:
    """The handler, with a line in the ledger per piece of feedback."""
    broken = Path(os.environ["FAULT_FOLDER"]) / f"broken-{group}"

    async def handle_and_note(handed: Sequence[Any], uow: UnitOfWork) -> None:
        if broken.exists():
            raise Broken(group)
        await handle(handed, uow)
        placed = [(codec.decode(one), f"{one.partition}/{one.offset}") if raw else (one, None) for one in handed]
        effects = [(event.id, place) for event, place in placed if isinstance(event.data, FeedbackReceivedV1)]
        if effects:
            ids, places = zip(*effects, strict=True)
            await uow.execute(_NOTE, {"group": group, "ids": list(ids), "places": list(places)})

    return handle_and_note


async def fire(timers: Sequence[Timer], uow: UnitOfWork) -> None:
    """A line per timer that fired."""
    due = [timer.due_at.isoformat() for timer in timers]
    await uow.execute(_FIRED, {"keys": [timer.key for timer in timers], "due": due})


def install(name: str) -> None:
    """Put the ledger between every service and its handlers."""
    consume, fire_others, service = Composition.consume, Composition.fire, Composition.service

    def consume_noted(self: Composition, subscription: Subscription) -> None:
        consume(
            self, replace(subscription, handle=noted(subscription.group, subscription.handle, raw=subscription.raw))
        )

    def fire_ours_too(self: Composition, handlers: dict[str, TimerHandler]) -> None:
        fire_others(self, {**handlers, TIMER: fire})

    def service_with_ledger(self: Composition) -> Any:
        made = service(self)
        made.start.append(lambda: create(self.database))
        return made

    Composition.consume = consume_noted  # type: ignore[method-assign]
    Composition.fire = fire_ours_too  # type: ignore[method-assign,assignment]
    Composition.service = service_with_ledger  # type: ignore[method-assign]
    if os.environ.get("FAULT_UNFENCED") in (name, "all"):
        consumer.Positions = UnfencedPositions  # type: ignore[attr-defined]


async def create(database: Database) -> None:
    """Make the ledger; two replicas start at once."""
    async with database.unit_of_work() as uow:
        for statement in _CREATE:
            await uow.execute(statement)


if __name__ == "__main__":
    name = sys.argv[1]
    install(name)
    sys.argv = [f"services.{name}"]
    runpy.run_module(f"services.{name}", run_name="__main__", alter_sys=True)
