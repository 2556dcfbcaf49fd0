"""The history and the load that writes it: outcomes, order per customer, the file."""

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from uuid import UUID

import pytest

from tests.fault.history import Attempt, History, outcome_of, read, share_ok
from tests.fault.load import Load, Terms
from tests.support.poll import eventually


def attempt(n: int, status: int, *, number: int = 1) -> Attempt:
    return Attempt(UUID(int=n), UUID(int=n), 1, n, number, outcome_of(status), status, 100.0 + n, 0.01, "1")


@pytest.mark.parametrize(
    ("status", "outcome"), [(202, "ok"), (422, "fail"), (429, "fail"), (500, "info"), (503, "info"), (0, "info")]
)
def test_outcomes(status: int, outcome: str) -> None:
    assert outcome_of(status) == outcome


def test_what_was_accepted_refused_or_left_open(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    for one in (attempt(1, 202), attempt(2, 422), attempt(3, 0), attempt(3, 202, number=2), attempt(4, 503)):
        history.note(one)
    history.close()
    assert set(history.accepted) == {UUID(int=1), UUID(int=3)}
    assert history.failed() == {UUID(int=2)}
    assert history.unsure() == {UUID(int=4)}
    assert history.places()[UUID(int=3)] == (1, 3)
    assert [one.event.int for one in history.between(102, 104)] == [2, 3, 3]
    assert share_ok(history.attempts) == 0.5, "two of the four that were not refused"
    assert list(read(history.path)) == history.attempts


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.note(attempt(1, 202))
    history.close()
    with history.path.open("a") as file:
        file.write('{"event": "0000')
    assert [one.event.int for one in read(history.path)] == [1]


class Ingest:
    """Answers 422 to wrong scores, and to the rest what `answers` say, then 202; notes each id with its customer."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.order: dict[str, list[str]] = defaultdict(list)
        self.busy: set[str] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                person = body["customer"]["id"]
                assert person not in self.busy, "a customer did not wait for the last answer"
                self.busy.add(person)
                await asyncio.to_thread(int)  # long enough for another post to come
                self.busy.discard(person)
                status = 422 if body["score"] > 10 else self.answers.pop(0) if self.answers else 202
                if status == 202:
                    self.order[person].append(body["id"])
                if not status:
                    writer.transport.abort()
                    return
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def run_load(history: History, ingest: Ingest, terms: Terms, attempts: int) -> Load:
    server = await asyncio.start_server(ingest.serve, "127.0.0.1", 0)
    async with server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        load = Load([address, address], "key", history, terms)
        running = asyncio.create_task(load.run())
        await eventually(lambda: len(history.attempts) >= attempts, timeout=20)
        load.stop()
        await running
    history.close()
    return load


async def test_a_customer_s_posts_follow_each_other(tmp_path: Path) -> None:
    history, ingest = History(tmp_path / "h"), Ingest()
    ingest.answers = [503, 0, 202, 503, 503] * 4
    load = await run_load(history, ingest, Terms("t", seed=5, rate=1000, customers=7, wrong_share=0.1), 400)
    assert {attempt.outcome for attempt in history.attempts} == {"ok", "fail", "info"}
    assert load.statuses[0] == 4
    for accepted in ingest.order.values():
        numbers = [int(one.rsplit("-", 1)[1]) for one in accepted]
        assert numbers == sorted(set(numbers))
    assert sum(map(len, ingest.order.values())) == len(history.accepted)


async def test_the_same_seed_says_the_same(tmp_path: Path) -> None:
    loads = [Load([], "key", History(tmp_path / str(n)), Terms("t", seed=n // 2, rate=1)) for n in range(4)]
    bodies = [load._body("t-3-4", 3, 4) for load in loads]
    assert bodies[0] == bodies[1]
    assert len({load._body(f"t-3-{n}", 3, n) for load in loads[:1] for n in range(9)}) == 9
    assert bodies[0] != bodies[2] or loads[0]._body("t-3-5", 3, 5) != loads[2]._body("t-3-5", 3, 5)
    for load in loads:
        load.history.close()


async def test_the_rate_is_kept(tmp_path: Path) -> None:
    history, ingest = History(tmp_path / "h"), Ingest()
    began = asyncio.get_running_loop().time()
    await run_load(history, ingest, Terms("t", seed=1, rate=100), 50)
    assert asyncio.get_running_loop().time() - began > 0.4
