"""`closeloop import` against a real ingest on a real socket: every format, every way in which it can be broken off."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typer.testing import CliRunner

from services.cli import app
from services.ingest.history.transfer import Progress, progress_path
from shared.contracts.envelope import Event
from tests.integration.ingest.conftest import Ingest, running_ingest
from tests.integration.ingest.wire import served
from tests.support.poll import eventually

ROWS_A_PART = 5_000


class Gate:
    """In front of the app: what the next imports meet, one word each. Afterwards all pass."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner
        self.words: list[str] = []
        self.imports = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/v1/feedback/import":
            await self._inner(scope, receive, send)
            return
        self.imports += 1
        word = self.words.pop(0) if self.words else "pass"
        if word == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
        elif word == "away":
            await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"0")]})
            await send({"type": "http.response.body", "body": b"{}"})
        elif word == "cut":  # it takes the part, and the answer gets lost
            await self._inner(scope, receive, _nowhere)
            await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"9")]})
            raise ConnectionAbortedError
        else:
            await self._inner(scope, receive, send)


async def _nowhere(message: Message) -> None:
    del message


@dataclass
class Running:
    """The command's other side."""

    ingest: Ingest
    gate: Gate
    environment: dict[str, str]

    async def run(self, *words: str, yes: bool = True) -> Result:
        """The command, in a thread of its own."""
        arguments = ["import", *words, *(["--yes"] if yes else [])]
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=self.environment)

    async def events(self) -> list[Event[Any]]:
        """What is on the bus, each event once, as consumers count it."""
        return list({event.id: event for event in await self.ingest.events()}.values())


@asynccontextmanager
async def at_work(url: str, folder: Path) -> AsyncIterator[Running]:
    async with running_ingest(url, folder) as ingest:
        gate = Gate(ingest.door)
        async with served(replace(ingest, door=gate)) as port:  # type: ignore[arg-type]
            environment = {"CLOSELOOP_URL": f"http://127.0.0.1:{port}", "CLOSELOOP_KEY": ingest.keys["operator"]}
            yield Running(ingest, gate, environment)


@pytest.fixture
async def running(database_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with at_work(database_url, tmp_path / "data") as one:
        yield one


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def numbered(count: int, *, start: int = 0) -> str:
    """A CSV without ids; every hundredth row is the same."""
    rows = (f"2024-03-{1 + n % 28:02} 10:00,{n % 11},words {n if n % 100 else 0}" for n in range(start, start + count))
    return "Date,NPS,Comment\n" + "\n".join(rows) + "\n"


TURKISH = """Yanıt No;Tarih;Ad Soyad;E-posta;Tavsiye puanı;Yorum;Departman
Y-1;10.03.2024 14:05;Elif Tuna;elif@example.com;9;Çok hızlı kargo, teşekkürler;Lojistik
Y-2;11.03.2024 09:00;Mert Işık;mert@example.com;3;"Kimse
aramadı";Destek
"""
PERSIAN = """شناسه پاسخ,تاریخ,نام و نام خانوادگی,ایمیل,چقدر ما را به دوستان خود توصیه می‌کنید؟,نظر
A-1,۱۴۰۲/۱۲/۲۰ ۱۰:۱۵,سارا نادری,sara@example.com,۱۰,خیلی خوب بود
A-2,۱۴۰۲/۱۲/۲۱,بابک راد,babak@example.com,۲,دیر رسید
"""
SURVEYMONKEY = """Respondent ID,Collector ID,Start Date,End Date,IP Address,Email Address,First Name,Last Name,Custom Data 1,How likely is it that you would recommend Lale to a friend?,What could we do better?,How easy was it?,Which did you use?,
,,,,,,,,,Response,Open-Ended Response,Response,Web,App
118000001,44,01/13/2024 10:00:01 AM,01/13/2024 10:02:00 AM,192.0.2.4,nora@example.com,Nora,Whitfield,,10 - Extremely likely,Ship it in less plastic please,6,Web,
118000002,44,02/03/2024 10:00:01 PM,02/03/2024 10:02:00 PM,192.0.2.5,,,,,Not at all likely - 0,The site logged me out three times,2,,App
"""  # noqa: E501
TYPEFORM = """#,How likely are you to recommend us?,Why is that?,How satisfied were you with delivery?,order_customer,Response Type,Start Date (UTC),Stage Date (UTC),Submit Date (UTC),Network ID,Tags
tok1aaaaaaaaaaaa,9,Because it simply worked for me,5,C-1,completed,2024-05-03 18:01:00,,2024-05-03 18:02:00,abc,
tok2aaaaaaaaaaaa,4,Nobody answered my two mails,2,C-2,completed,2024-05-04 18:01:00,,2024-05-04 18:02:00,abd,
"""  # noqa: E501
DELIGHTED = """Score,Comment,Survey Type,Person ID,Name,Email,Phone Number,Response ID,Created At,Permalink
10,Great,nps,77,Nora Whitfield,nora@example.com,,9001,2024-05-03 18:02:00,https://delighted.example/r/1
2,,nps,78,,ali@example.com,,9002,2024-05-04 18:02:00,https://delighted.example/r/2
"""


def told(event: Event[Any]) -> tuple[str, str | None, str | None, list[tuple[str, float]], str | None]:
    """What matters of an event: day and time, name, e-mail, ratings, text."""
    data = event.data
    ratings = [(rating.metric, rating.value) for rating in data.ratings]
    words = data.sensitive
    return f"{data.occurred_at:%Y-%m-%d %H:%M}", words.name, words.email, ratings, words.text


CASES: dict[str, tuple[str, bytes, list[Any]]] = {
    "turkish.csv": ("windows-1254", TURKISH.encode("windows-1254"), [
        ("2024-03-10 14:05", "Elif Tuna", "elif@example.com", [("nps", 9)], "Çok hızlı kargo, teşekkürler"),
        ("2024-03-11 09:00", "Mert Işık", "mert@example.com", [("nps", 3)], "Kimse\naramadı"),
    ]),
    "spreadsheet.csv": ("utf-16-le", TURKISH.replace(";", "\t").replace("\n", "\r\n").encode("utf-16"), [
        ("2024-03-10 14:05", "Elif Tuna", "elif@example.com", [("nps", 9)], "Çok hızlı kargo, teşekkürler"),
        ("2024-03-11 09:00", "Mert Işık", "mert@example.com", [("nps", 3)], "Kimse\r\naramadı"),
    ]),
    "persian.csv": ("utf-8", PERSIAN.encode("utf-8-sig"), [
        ("2024-03-10 10:15", "سارا نادری", "sara@example.com", [("nps", 10)], "خیلی خوب بود"),
        ("2024-03-11 00:00", "بابک راد", "babak@example.com", [("nps", 2)], "دیر رسید"),
    ]),
    "surveymonkey.csv": ("surveymonkey", SURVEYMONKEY.encode(), [
        ("2024-01-13 10:02", "Nora Whitfield", "nora@example.com", [("nps", 10), ("ces", 6)],
         "Ship it in less plastic please"),
        ("2024-02-03 22:02", None, None, [("nps", 0), ("ces", 2)], "The site logged me out three times"),
    ]),
    "typeform.csv": ("typeform", TYPEFORM.encode(), [
        ("2024-05-03 18:02", None, None, [("nps", 9), ("csat", 5)], "Because it simply worked for me"),
        ("2024-05-04 18:02", None, None, [("nps", 4), ("csat", 2)], "Nobody answered my two mails"),
    ]),
    "delighted.csv": ("delighted", DELIGHTED.encode(), [
        ("2024-05-03 18:02", "Nora Whitfield", "nora@example.com", [("nps", 10)], "Great"),
        ("2024-05-04 18:02", None, "ali@example.com", [("nps", 2)], None),
    ]),
    "lines.ndjson": ("ndjson", (b'{"key": "k-1", "at": "2024-05-03T18:02:00Z", "person": {"email": "a@example.com"}, '
                     b'"nps": 9, "comment": "quick"}\n{"key": "k-2", "at": "2024-05-04T18:02:00Z", "nps": 1}\n'), [
        ("2024-05-03 18:02", None, "a@example.com", [("nps", 9)], "quick"),
        ("2024-05-04 18:02", None, None, [("nps", 1)], None),
    ]),
    "ours.ndjson": ("ndjson", (b'{"id": "o-1", "occurred_at": "2024-05-03T18:02:00Z", "ratings": [{"metric": "csat", '
                    b'"value": 4}], "customer": {"name": "Nora"}}\n'), [
        ("2024-05-03 18:02", "Nora", None, [("csat", 4)], None),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_every_format(running: Running, tmp_path: Path, name: str) -> None:
    shown, content, expected = CASES[name]
    more = {"typeform.csv": ["--map", "order_customer=customer.id"], "lines.ndjson": ["--map", "key=id"]}
    result = await running.run(str(file(tmp_path, name, content)), *more.get(name, ()))
    assert result.exit_code == 0, result.output
    assert shown in result.output.splitlines()[0]
    assert "COLUMN" in result.output.splitlines()[1]
    events = sorted(await running.events(), key=lambda event: event.data.occurred_at)
    assert [told(event) for event in events] == expected
    again = await running.run(str(tmp_path / name), *more.get(name, ()))
    assert again.exit_code == 0
    assert "sent before" in again.output
    assert await running.ingest.count() == len(expected)


async def test_nothing_is_sent_before_it_is_clear(running: Running, tmp_path: Path) -> None:
    path = file(tmp_path, "unclear.csv", "Tarih,Puan\n2024-03-10,9\n")
    unclear = await running.run(str(path))
    assert (unclear.exit_code, running.gate.imports) == (1, 0)
    assert '--map "Puan=nps"' in unclear.output
    unasked = await running.run(str(path), "--map", "Puan=nps", yes=False)
    assert unasked.exit_code == 1
    assert "add --yes" in unasked.output
    dry = await running.run(str(path), "--map", "Puan=nps", "--dry-run", yes=False)
    assert (dry.exit_code, running.gate.imports) == (0, 0)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data", "unclear.csv"]
    all_refused = await running.run(str(path), "--map", "Puan=nps", "--set", "survey.type=sometimes")
    assert all_refused.exit_code == 1
    assert "survey.type" in all_refused.output
    assert running.gate.imports == 0


async def test_a_saved_mapping_is_used_again(running: Running, tmp_path: Path) -> None:
    first = file(tmp_path, "a.csv", "ID,Tarih,Puan,Bayi\n1,10.03.2024,9,Kadıköy\n")
    saved = tmp_path / "m.yaml"
    said = [
        "--map",
        "Puan=csat 1-10",
        "--map",
        "Bayi=segment",
        "--set",
        "touchpoint=store",
        "--zone",
        "Europe/Istanbul",
    ]
    assert (await running.run(str(first), *said, "--save-mapping", str(saved))).exit_code == 0
    assert yaml.safe_load(saved.read_text(encoding="utf-8")) == {
        "columns": {"ID": "id", "Tarih": "occurred_at", "Puan": "csat 1-10", "Bayi": "segment"},
        "set": {"survey.id": "a", "survey.type": "transactional", "touchpoint": "store"},
        "dates": "dmy",
        "zone": "Europe/Istanbul",
        "id_prefix": "a:",
    }
    second = file(tmp_path, "b.csv", "ID,Tarih,Puan,Bayi\n2,10/03/2024,10,Moda\n")
    assert (await running.run(str(second), "--mapping", str(saved))).exit_code == 0
    data = [event.data for event in await running.events()]
    assert sorted((one.segment, one.touchpoint, one.ratings[0].scale_max) for one in data) == [
        ("Kadıköy", "store", 10),
        ("Moda", "store", 10),
    ]
    assert {f"{one.occurred_at:%d %H}" for one in data} == {"09 21"}
    other = file(tmp_path, "c.csv", "ID,Tarih,Puan\n2,10/03/2024,10\n")
    misfit = await running.run(str(other), "--mapping", str(saved))
    assert (misfit.exit_code, "no such column" in misfit.output) == (1, True)


async def test_a_kill_in_the_middle_doubles_and_loses_nothing(running: Running, tmp_path: Path) -> None:
    count = 2 * ROWS_A_PART + 100
    path = file(tmp_path, "long.csv", numbered(count))
    running.gate.words = ["pass", "hang"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "import", str(path), "--yes", env=running.environment
    )
    await eventually(lambda: running.gate.imports == 2, timeout=60)
    process.kill()
    await process.wait()
    progress = Progress.model_validate_json(progress_path(path).read_bytes())
    assert (progress.accepted, progress.line, progress.done) == (ROWS_A_PART, ROWS_A_PART + 1, False)
    resumed = await running.run(str(path))
    assert resumed.exit_code == 0, resumed.output
    assert "Going on behind line 5,001" in resumed.output
    assert f"{count:,} accepted" in resumed.output
    assert await running.ingest.count() == count, "the parts before the kill were not sent again"
    assert len(await running.events()) == count, "rows that say the same are answers of their own"


async def test_ctrl_c_ends_in_a_line(running: Running, tmp_path: Path) -> None:
    path = file(tmp_path, "short.csv", numbered(10))
    running.gate.words = ["hang"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "import", str(path), "--yes",
        env=running.environment, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await eventually(lambda: running.gate.imports == 1, timeout=60)
    process.send_signal(signal.SIGINT)
    _, said = await process.communicate()
    assert (process.returncode, said) == (1, b"closeloop: stopped; the same command goes on from here\n")


async def test_an_answer_that_gets_lost_costs_one_part(running: Running, tmp_path: Path) -> None:
    path = file(tmp_path, "long.csv", numbered(2 * ROWS_A_PART))
    running.gate.words = ["cut"]
    result = await running.run(str(path))
    assert result.exit_code == 0, result.output
    assert "out of reach" in result.output
    assert await running.ingest.count() == 3 * ROWS_A_PART
    assert len(await running.events()) == 2 * ROWS_A_PART


async def test_a_server_that_is_away_is_waited_for_but_not_forever(running: Running, tmp_path: Path) -> None:
    path = file(tmp_path, "short.csv", numbered(10))
    running.gate.words = ["away", "away"]
    result = await running.run(str(path))
    assert (result.exit_code, running.gate.imports) == (0, 3)
    assert "answers 503" in result.output
    nowhere = await running.run(str(path), "--url", "http://127.0.0.1:1", "--restart", "--patience", "0.1")
    assert nowhere.exit_code == 1
    assert "run the same command again" in nowhere.output
    strange = await running.run(str(path), "--url", "here", "--restart")
    assert (strange.exit_code, "no address" in strange.output) == (1, True)


async def test_keys_that_may_not(running: Running, tmp_path: Path) -> None:
    path = str(file(tmp_path, "short.csv", numbered(1)))
    for key, reason in (("", "no key"), ("nonsense", "401"), (running.ingest.keys["channel"], "role operator")):
        result = await running.run(path, "--key", key)
        assert (result.exit_code, reason in result.output) == (1, True), result.output


async def test_refused_rows_are_mended_and_imported_alone(running: Running, tmp_path: Path) -> None:
    bad = {7: "2024-03-01,11,no score", 250: "2024-03-01,9", 251: ",9,when", 300: '2024-03-01,9,"open', 301: "x,5,when"}
    lines = [bad.get(number, f"2024-03-01,{number % 11},words {number}") for number in range(2, 402)]
    path = file(tmp_path, "answers.csv", "Date,NPS,Comment\n" + "\n".join(lines) + "\n")
    result = await running.run(str(path))
    assert result.exit_code == 3, result.output
    assert "395 accepted, 5 refused" in result.output
    refused = tmp_path / "answers.csv.refused.csv"
    kept = refused.read_text(encoding="utf-8-sig").splitlines()
    assert kept[0] == "closeloop_line,closeloop_reason,Date,NPS,Comment"
    assert [re.split(',|"', row)[0] for row in kept[1:]] == ["7", "250", "251", "300", "301"]
    assert [row.endswith(bad[number]) for row, number in zip(kept[1:], bad, strict=True)] == [
        True,
        True,
        True,
        False,
        True,
    ]
    assert kept[1].split(",")[1] == "NPS: is outside its scale 0–10"
    mended = refused.read_text(encoding="utf-8-sig").replace("2024-03-01,11,", "2024-03-01,10,").splitlines()[:2]
    file(tmp_path, refused.name, "\ufeff" + "\n".join(mended) + "\n")
    assert (await running.run(str(refused))).exit_code == 0
    events = await running.events()
    assert len(events) == 396
    assert {event.data.survey.id for event in events} == {"answers"}


async def test_more_refusals_than_a_report_names_by_itself(running: Running, tmp_path: Path) -> None:
    rows = [json.dumps({"id": str(n), "text": "x", "language": "en" if n < 500 else "english"}) for n in range(1_500)]
    path = file(tmp_path, "many.ndjson", "\n".join(rows) + "\nno object\n")
    result = await running.run(str(path), "--set", "occurred_at=2024-01-01")
    assert result.exit_code == 3, result.output
    refused = (tmp_path / "many.ndjson.refused.ndjson").read_text(encoding="utf-8").splitlines()
    assert len(refused) == 1_001
    assert [json.loads(row)["closeloop_line"] for row in refused] == list(range(501, 1_502))
    assert json.loads(refused[-1])["closeloop_text"] == "no object"
    mended = file(tmp_path, "many.ndjson.refused.ndjson", "\n".join(refused[:-1]).replace("english", "tr"))
    assert (await running.run(str(mended), "--set", "occurred_at=2024-01-01")).exit_code == 0
    assert len(await running.events()) == 1_500


async def test_a_changed_file_or_mapping_is_told(running: Running, tmp_path: Path) -> None:
    path = file(tmp_path, "answers.csv", numbered(50))
    assert (await running.run(str(path))).exit_code == 0
    other = await running.run(str(path), "--set", "touchpoint=store")
    assert (other.exit_code, "the mapping is not the one" in other.output) == (1, True)
    file(tmp_path, "answers.csv", numbered(60))
    changed = await running.run(str(path))
    assert (changed.exit_code, "--restart" in changed.output) == (1, True)
    assert await running.ingest.count() == 50
    assert (await running.run(str(path), "--restart")).exit_code == 0
    assert len(await running.events()) == 60, "the fifty rows from before have the ids from before"
    progress_path(path).write_text("{")
    torn = await running.run(str(path))
    assert (torn.exit_code, "cannot be read" in torn.output) == (1, True)


async def test_a_wrong_mapping_is_replaced_by_a_higher_revision(running: Running, tmp_path: Path) -> None:
    path = file(tmp_path, "answers.csv", "Date,Score,Comment\n2024-03-01,5,fine\n")
    assert (await running.run(str(path), "--map", "Score=nps")).exit_code == 0
    more = ["--map", "Score=csat", "--restart", "--set", "revision=1"]
    assert (await running.run(str(path), *more)).exit_code == 0
    first, second = sorted((event.data for event in await running.events()), key=lambda data: data.revision)
    assert (first.feedback_id, first.revision + 1) == (second.feedback_id, second.revision)
    assert (first.ratings[0].metric, second.ratings[0].metric) == ("nps", "csat")
