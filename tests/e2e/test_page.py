"""The plain page in a real browser, in front of the whole node."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from shared.auth.keys import Role
from shared.contracts.envelope import Event
from shared.contracts.followup_changed import FollowupChangedV1
from tests.e2e.conftest import MINIMUM_N, TEAMS, WORKSPACE, LiveNode, board
from tests.support.browser import opened
from tests.support.poll import eventually

# One node serves them all; spread over the workers each would start its own.
pytestmark = pytest.mark.xdist_group("page")

WRONG_KEY = f"clk_{'a' * 12}_{'B' * 43}"
XSS = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    '"><svg onload=alert(3)>',
    "javascript:alert(4)",
    "</td><iframe src=http://example.invalid/></iframe>",
)
PATIENT = 15_000  # milliseconds: a busy machine, not a slow page


def followup(reason: str, *, state: str = "suppressed", play: str = "promoter-thanks") -> Event[FollowupChangedV1]:
    """A change of a follow-up as notifier publishes it."""
    now = datetime.now(UTC)
    feedback_id = uuid4()
    data = FollowupChangedV1.model_validate(
        {
            "followup_id": uuid4(),
            "play": play,
            "step": "thanks",
            "audience": "customer",
            "transport": "email",
            "state": state,
            "due_at": now,
            "changed_at": now,
            "reason": reason,
            "language": "tr",
            "feedback_id": feedback_id,
        }
    )
    return Event(uuid4(), "closeloop/notifier", now, WORKSPACE, feedback_id, None, data)


async def stored_key(page: Page) -> str | None:
    found = await page.evaluate("sessionStorage.getItem('closeloop.key')")
    return None if found is None else str(found)


async def test_the_door_says_what_is_wrong_with_a_key(browser: Browser, node: LiveNode) -> None:
    async with opened(browser) as watched:
        page = watched.page
        await page.goto(node.address)
        await expect(page.get_by_role("heading", name="Open with an API key")).to_be_visible()
        await expect(page.locator("#board")).to_be_hidden()
        field, error = page.get_by_label("API key", exact=True), page.locator("#key-error")
        await field.fill("open sesame")
        await page.get_by_role("button", name="Open").click()
        await expect(error).to_contain_text("not an API key")
        await field.fill(WRONG_KEY)
        await field.press("Enter")
        await expect(error).to_contain_text("not valid here")
        assert await stored_key(page) is None
        await field.fill(await node.new_key(Role.CHANNEL))
        await field.press("Enter")
        await expect(error).to_contain_text("needs one of the roles")
        await expect(page.locator("#board")).to_be_hidden()


async def test_a_typed_key_opens_stays_over_a_reload_and_is_forgotten(browser: Browser, node: LiveNode) -> None:
    async with opened(browser) as watched:
        page = watched.page
        await page.goto(node.address)
        await page.get_by_label("API key", exact=True).fill(f"  {node.key} ")
        await page.get_by_role("button", name="Open").click()
        await expect(page.locator("#connection-text")).to_have_text("Live", timeout=PATIENT)
        await expect(page.locator("#workspace")).to_have_text(WORKSPACE)
        await page.reload()
        await expect(page.locator("#connection-text")).to_have_text("Live", timeout=PATIENT)
        await page.get_by_role("button", name="Forget key").click()
        await expect(page.get_by_role("heading", name="Open with an API key")).to_be_visible()
        assert await stored_key(page) is None
        await page.reload()
        await expect(page.get_by_role("heading", name="Open with an API key")).to_be_visible()
        assert watched.problems == []


async def test_a_key_in_the_address_leaves_it_at_once(browser: Browser, node: LiveNode) -> None:
    async with board(browser, node) as watched:
        assert watched.page.url == f"{node.address}/"
        assert await watched.page.evaluate("history.length") <= 2
        assert [request.url for request in watched.requests if "clk_" in request.url.split("#")[0]] == []
        assert [
            request.url for request in watched.requests if "#key" in request.url and request.resource_type != "document"
        ] == []
        assert node.key not in await watched.page.content()


async def test_feedback_moves_counts_scores_and_assignments_live(browser: Browser, node: LiveNode) -> None:
    async with board(browser, node) as watched:
        page = watched.page
        product = f"lamp {uuid4().hex[:6]}"
        await page.get_by_label("By", exact=True).select_option("product")
        for number in range(MINIMUM_N - 1):
            await node.feedback(f"{product} {number}", 9, product=product)
        row = page.locator("#breakdown tr", has_text=product)
        await expect(row).to_contain_text(f"too few answers to report: {MINIMUM_N - 1} of {MINIMUM_N}", timeout=PATIENT)
        complaint = "پیک بسته را نیاورد و پشتیبانی هم جواب نمی‌دهد. پولم را پس بدهید!"
        await node.feedback(f"{product} last", 0, product=product, text=complaint, language="fa")
        await expect(row).to_contain_text("33.3", timeout=PATIENT)  # two promoters, one detractor of three
        await expect(row).to_contain_text(f"{MINIMUM_N} answers")
        await expect(page.get_by_role("article", name="NPS")).to_contain_text("7 days")

        work = page.locator("#work tr", has_text=complaint)
        await expect(work).to_contain_text("فرح نادری", timeout=PATIENT)
        await expect(work).to_contain_text("Persian")
        await expect(work.get_by_role("timer")).to_contain_text("left")
        for words in (work.locator("q"), work.locator(".who [dir]").first):
            assert await words.evaluate("element => getComputedStyle(element).direction") == "rtl"
        await expect(page.locator("#activity")).to_contain_text("assigned to فرح نادری")

        accepted = page.locator(".tile", has_text="Feedback accepted").locator(".figure")
        before = int(str(await accepted.text_content()).replace(",", ""))
        await node.feedback(f"{product} count", 8)
        await expect(accepted).to_have_text(f"{before + 1:,}", timeout=PATIENT)
        await expect(page.locator("#checks li.ok")).not_to_have_count(0)
        await expect(page.locator("#consumers")).to_contain_text("feedback.received.v1")
        assert watched.problems == []


async def test_clocks_run_and_turn_red_by_themselves(browser: Browser, node: LiveNode) -> None:
    clock = {
        "first_response_seconds": dict.fromkeys(("urgent", "high", "normal", "low"), 10)
    }  # a page on full cores shows a row seconds late
    await node.call("PUT", "/v1/teams", json={**TEAMS, "sla": clock})
    try:
        async with board(browser, node) as watched:
            mark = f"clock-{uuid4().hex[:6]}"
            await node.feedback(mark, 0, text=f"{mark} it is broken, refund my money", language="en")
            timer = watched.page.locator("#work tr", has_text=mark).get_by_role("timer")
            await expect(timer).to_contain_text("left", timeout=PATIENT)
            await expect(timer).to_have_class("clock overdue", timeout=PATIENT)
            await expect(watched.page.locator("#work-summary")).to_contain_text("overdue")
            await expect(watched.page.locator("#activity .breached")).to_contain_text("overdue", timeout=PATIENT)
    finally:
        await node.call("PUT", "/v1/teams", json=TEAMS)


async def test_a_restart_of_the_node_loses_no_event(browser: Browser, node: LiveNode) -> None:
    async with board(browser, node) as watched:
        page = watched.page
        first, missed = f"before {uuid4().hex}", f"missed {uuid4().hex}"
        await node.publish(followup(first))
        await expect(page.locator("#activity")).to_contain_text(first, timeout=PATIENT)
        node.process.kill()
        await expect(page.locator("#connection-text")).to_contain_text("Connection lost", timeout=PATIENT)
        await expect(page.locator("#board")).to_be_visible()
        # The list of follow-ups comes from notifier's tables, where this one is not: only the stream can tell of it.
        await node.publish(followup(missed))
        await asyncio.to_thread(node.process.start)
        await expect(page.locator("#connection-text")).to_have_text("Live", timeout=30_000)
        await expect(page.locator("#activity")).to_contain_text(missed, timeout=PATIENT)
        await expect(page.locator("#activity li", has_text=first)).to_have_count(1)
        resumed = [request for request in watched.requests if request.url.endswith("/v1/followups/stream")]
        assert "last-event-id" in resumed[-1].headers
        assert watched.problems == []


async def test_hostile_text_is_text(browser: Browser, node: LiveNode) -> None:
    async with board(browser, node) as watched:
        page = watched.page
        marks = {f"xss-{number}-{uuid4().hex[:6]}": evil for number, evil in enumerate(XSS)}
        for mark, evil in marks.items():
            text = f"{mark} {evil} it is broken, refund my money"
            await node.feedback(mark, 1, product=evil, touchpoint=evil, text=text, language="en")
        await node.publish(*(followup(f"{mark} {evil}", play=evil) for mark, evil in marks.items()))
        for mark, evil in marks.items():
            await expect(page.locator("#followups")).to_contain_text(f"{mark} {evil}", timeout=PATIENT)
            await expect(page.locator("#activity")).to_contain_text(f"{mark} {evil}")
            row = page.locator("#work tr", has_text=mark)
            await expect(row).to_contain_text(evil, timeout=PATIENT)
        for by in ("product", "touchpoint"):
            await page.get_by_label("By", exact=True).select_option(by)
            for evil in XSS:
                await expect(page.locator("#breakdown")).to_contain_text(evil, timeout=PATIENT)
        for tag in ("iframe", "main script", "main img", "main svg[onload]", "main [onerror]"):
            await expect(page.locator(tag)).to_have_count(0)
        assert watched.problems == []
        assert watched.foreign(node.address) == []
        known = ("/v1/", "/page/", "/readyz")
        paths = {
            request.url.removeprefix(node.address)
            for request in watched.requests
            if request.resource_type != "document"
        }
        assert [path for path in paths if not path.startswith(known)] == []


@pytest.mark.parametrize("path", ["/", "/docs", "/docs#events"])
async def test_nothing_comes_from_elsewhere_and_nothing_is_inline(browser: Browser, node: LiveNode, path: str) -> None:
    async with opened(browser, viewport={"width": 380, "height": 800}) as watched:
        page = watched.page
        answer = await page.goto(node.address + (f"/#key={node.key}" if path == "/" else path))
        assert answer is not None
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        shown = {"/": "#checks li", "/docs": "#post-v1-feedback", "/docs#events": "[id='topic-score.updated.v1']"}[path]
        await expect(page.locator(shown).first).to_be_attached(timeout=PATIENT)
        assert watched.foreign(node.address) == []
        assert watched.problems == []
        assert await page.locator("[style]:not(#board [style]), script:not([src]), style").count() == 0
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways at 380 px"


async def test_files_are_hardened_cheap_to_ask_for_again_and_a_closed_list(node: LiveNode) -> None:
    async with httpx.AsyncClient(base_url=node.address, trust_env=False) as client:
        for path in ("/", "/docs", "/page/main.js", "/page/page.css", "/asyncapi.json", "/favicon.ico"):
            first = await client.get(path)
            assert first.status_code == 200, path
            assert first.headers["x-content-type-options"] == "nosniff"
            assert first.headers["referrer-policy"] == "no-referrer"
            again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        assert json.loads((await client.get("/asyncapi.json")).content)["asyncapi"] == "3.0.0"
        assert (await client.get("/redoc")).headers["location"] == "/docs"
        for path in ("/page/", "/page/..%2f__init__.py", "/page/status.py", "/page/index.html"):
            assert (await client.get(path)).status_code == 404, path


async def test_the_stream_reader_takes_events_in_any_pieces(browser: Browser, node: LiveNode) -> None:
    stream = (
        "retry: 250\n\n: still here\n\nid: 1.5\nevent: a\ndata: {1}\ndata: {2}\n\n"
        "id: 1.6\r\ndata:سلام\r\n\r\nevent: lost\n\ndata\n\ndata: cut off"
    )
    wanted = [
        {"id": "1.5", "type": "a", "data": "{1}\n{2}"},
        {"id": "1.6", "type": "message", "data": "سلام"},
        {"id": "1.6", "type": "message", "data": ""},
    ]
    read = """async ([text, size]) => {
        const { EventParser } = await import('/page/stream.js');
        const events = [], waits = [];
        const parser = new EventParser((event) => events.push(event), (wait) => waits.push(wait));
        for (let place = 0; place < text.length; place += size) parser.feed(text.slice(place, place + size));
        return [events, waits];
    }"""
    async with opened(browser) as watched:
        await watched.page.goto(node.address)
        for size in (1, 2, 3, 7, 1000):
            assert await watched.page.evaluate(read, [stream, size]) == [wanted, [250]], f"in pieces of {size}"


async def test_a_part_that_the_role_does_not_open_says_so(browser: Browser, node: LiveNode) -> None:
    async with opened(browser) as watched:
        page = watched.page
        await page.goto(f"{node.address}/#key={await node.new_key(Role.AGENT)}")
        await expect(page.locator("#followups-error")).to_contain_text("roles do not open this part", timeout=PATIENT)
        await expect(page.locator("#connection-text")).to_have_text("Live", timeout=PATIENT)
        await expect(page.locator("#work-error")).to_be_hidden()
        await expect(page.locator("#scores-error")).to_be_hidden()


async def test_status_needs_a_key_and_counts_what_was_accepted(node: LiveNode) -> None:
    async with httpx.AsyncClient(base_url=node.address, trust_env=False) as client:
        assert (await client.get("/v1/node/status")).status_code == 401
        channel = {"Authorization": f"Bearer {await node.new_key(Role.CHANNEL)}"}
        assert (await client.get("/v1/node/status", headers=channel)).status_code == 403
    before = (await node.call("GET", "/v1/node/status")).json()
    await node.feedback(f"status {uuid4()}", 8)
    after = (await node.call("GET", "/v1/node/status")).json()
    assert after["accepted"] == before["accepted"] + 1
    assert after["started_at"] == before["started_at"]
    assert after["uptime_seconds"] > before["uptime_seconds"]
    assert after["workspace"] == WORKSPACE

    async def groups() -> bool:
        consumers = (await node.call("GET", "/v1/node/status")).json()["consumers"]
        return {consumer["group"] for consumer in consumers} >= {"scoring", "routing", "notifier"}

    await eventually(groups)


async def test_a_report_is_saved_and_carries_what_the_manager_says(
    browser: Browser, node: LiveNode, tmp_path: Path
) -> None:
    for n in range(MINIMUM_N):
        await node.feedback(f"report-{n}", 9)
    async with board(browser, node) as watched:
        page = watched.page
        box = page.get_by_label("What stands in the way")
        await expect(page.locator("#report-quarter option")).to_have_count(8, timeout=PATIENT)
        await page.get_by_label("Department", exact=True).select_option("support")
        await page.get_by_label("Language").select_option("fa")
        await box.fill("دو صندلی خالی بود.\nTwo seats were <empty>.")
        await page.get_by_role("button", name="Keep the text").click()
        await expect(page.locator("#report-summary")).to_contain_text("The text is kept", timeout=PATIENT)
        async with page.expect_download() as downloading:
            await page.get_by_role("button", name="Save the report").click()
        download = await downloading.value
        assert download.suggested_filename.endswith("-support-fa.html")
        saved = tmp_path / download.suggested_filename
        await download.save_as(saved)
        async with opened(browser) as reading:
            await reading.page.goto(saved.as_uri())
            await expect(reading.page.locator("html")).to_have_attribute("dir", "rtl")
            await expect(reading.page.locator(".written")).to_have_text("دو صندلی خالی بود.\nTwo seats were <empty>.")
            await expect(reading.page.get_by_role("article")).not_to_have_count(0)
            assert reading.problems == []
        # Another choice brings its own text.
        await page.get_by_label("Department", exact=True).select_option("")
        await expect(box).to_have_value("")
        await page.get_by_label("Department", exact=True).select_option("support")
        await expect(box).to_have_value("دو صندلی خالی بود.\nTwo seats were <empty>.")
        # Who opens the page next, with another key, finds nothing of it.
        await page.get_by_role("button", name="Forget key").click()
        assert await box.input_value() == ""
        assert await page.locator("#report-department option").count() == 0
        assert watched.problems == []


async def test_who_may_only_read_is_told_so_in_the_report(browser: Browser, node: LiveNode) -> None:
    async with board(browser, node, key=await node.new_key(Role.AGENT)) as watched:
        page = watched.page
        await expect(page.locator("#report-quarter option")).to_have_count(8, timeout=PATIENT)
        await page.get_by_label("What stands in the way").fill("anything")
        await page.get_by_role("button", name="Keep the text").click()
        await expect(page.locator("#report-error")).to_contain_text("roles do not allow it", timeout=PATIENT)
