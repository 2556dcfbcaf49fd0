"""`closeloop sources test`: the vendor's sample, signed, over HTTP, and what people read of it."""

from pathlib import Path

import pytest
import typer

from services.node.commands.source_test import rehearsed, show
from shared.core.errors import CloseloopError, NotFound
from tests.integration.ingest.conftest import WORKSPACE, Ingest
from tests.integration.ingest.test_source_routes import PUBLIC_KEY
from tests.integration.ingest.wire import served


async def test_the_sample_goes_the_real_way_and_nothing_is_published(
    ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    await ingest.add("nps", "delighted")
    async with served(ingest) as port:
        answered = await rehearsed(ingest.admin, WORKSPACE, "nps", f"http://127.0.0.1:{port}/", None)
    show("nps", answered)
    said = capsys.readouterr()
    assert "dev.closeloop.feedback.received.v1" in said.out
    assert "nora@example.com" in said.out
    assert "nps is well: verified, 1 event. Nothing was published." in said.err
    assert await ingest.count() == 0


async def test_what_the_settings_lack_is_told_with_its_place(
    ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    await ingest.add("form", "typeform")
    async with served(ingest) as port:
        answered = await rehearsed(ingest.admin, WORKSPACE, "form", f"http://127.0.0.1:{port}", None)
    with pytest.raises(typer.Exit):
        show("form", answered)
    said = capsys.readouterr()
    assert "form_response.answers[1]" in said.out
    assert "closeloop sources configure form" in said.err


async def test_a_body_of_ones_own_can_be_tried(ingest: Ingest, tmp_path: Path) -> None:
    await ingest.add("till", "generic")
    body = tmp_path / "body.json"
    body.write_text('{"id": "1", "channel": "store", "text": "Kasada bekledik."}', encoding="utf-8")
    async with served(ingest) as port:
        answered = await rehearsed(ingest.admin, WORKSPACE, "till", f"http://127.0.0.1:{port}", body)
    assert answered["events"][0]["sensitive"]["text"] == "Kasada bekledik."


async def test_what_keeps_it_from_working_is_one_line_that_says_what_to_do(ingest: Ingest, tmp_path: Path) -> None:
    await ingest.add("nps", "delighted")
    await ingest.admin.add(WORKSPACE, "guild", "discord", {}, secret=PUBLIC_KEY)
    with pytest.raises(NotFound):
        await rehearsed(ingest.admin, WORKSPACE, "nobody", "http://127.0.0.1:9", None)
    for name, url, body, reason in (
        ("nps", "http://127.0.0.1:9", None, "does not answer"),
        ("nps", "no address", None, "does not answer"),
        ("nps", "http://127.0.0.1:9", tmp_path / "nothing.json", "cannot be read"),
        ("guild", "http://127.0.0.1:9", None, "only the vendor"),
    ):
        with pytest.raises(CloseloopError, match=reason):
            await rehearsed(ingest.admin, WORKSPACE, name, url, body)
    await ingest.admin.disable(WORKSPACE, "nps")
    with pytest.raises(CloseloopError, match="closeloop sources enable nps"):
        await rehearsed(ingest.admin, WORKSPACE, "nps", "http://127.0.0.1:9", None)
