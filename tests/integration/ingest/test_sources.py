import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest import directory as directory_module
from services.ingest.admin import SourceSecret
from shared.auth import STANDARD_WEBHOOKS, Signed, sign
from shared.core.errors import Conflict, InvalidInput, NotFound
from shared.core.ids import external_event_id, name_id
from tests.integration.ingest.bodies import (
    ALL,
    DISCOURSE,
    DISCOURSE_SETTINGS,
    GENERIC,
    TYPEFORM,
    TYPEFORM_SETTINGS,
    post,
    raw,
)
from tests.integration.ingest.conftest import WORKSPACE, Ingest, signed_headers
from tests.support.poll import eventually


async def test_typeform_answers_become_one_response(ingest: Ingest) -> None:
    source = await ingest.add("form", "typeform", TYPEFORM_SETTINGS)
    for _ in range(2):
        answer = await ingest.deliver(source, raw(TYPEFORM))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "parked": 0, "skipped": {}})
    first, again = await ingest.events()
    data = first.data
    assert first.id == again.id == external_event_id(WORKSPACE, "form", TYPEFORM["form_response"]["token"], 0)
    assert (data.source, data.connector, data.channel, data.touchpoint) == ("form", "typeform", "email", "delivery")
    assert (data.survey.id, data.survey.type) == ("lT4Z3j", "relational") if data.survey else None
    assert [(r.metric, r.value, r.scale_max) for r in data.ratings] == [("nps", 6, 10), ("ces", 5, 7)]
    assert (data.product, data.segment) == ("Lale Home Lamp", "gold")
    assert data.sensitive.text == "Why?\nLate.\n\nWhat should be better?\nThe courier."
    assert (data.sensitive.identity, data.sensitive.email) == ("C-20911", "nora@example.com")
    assert data.occurred_at.isoformat() == "2026-03-10T09:14:52+00:00"


async def test_discourse_posts_edits_and_deletions_are_revisions(ingest: Ingest) -> None:
    source = await ingest.add("forum", "discourse", DISCOURSE_SETTINGS)

    async def deliver(body: Any, event: str) -> dict[str, Any]:
        answer = await ingest.deliver(source, raw(body), **{"X-Discourse-Event": event})
        assert answer.status_code == 202
        result: dict[str, Any] = answer.json()
        return result

    assert (await deliver(DISCOURSE, "post_created"))["accepted"] == 1
    assert (await deliver(post(version=2, raw="Solved, thanks."), "post_edited"))["accepted"] == 1
    assert (await deliver(post(version=2, deleted_at="2026-03-11T10:00:00Z"), "post_destroyed"))["accepted"] == 1
    assert (await deliver(post(version=2, raw="Solved, thanks."), "post_recovered"))["accepted"] == 1
    created, edited, destroyed, recovered = (event.data for event in await ingest.events())
    assert created.feedback_id == edited.feedback_id == destroyed.feedback_id == recovered.feedback_id
    assert created.revision < edited.revision < destroyed.revision < recovered.revision
    assert [data.removed for data in (created, edited, destroyed, recovered)] == [False, False, True, False]
    assert created.sensitive.text == "Mine came cracked, 3 < 4 weeks late."
    assert created.sensitive.title == "Cracked shade"
    assert created.sensitive.url == "https://forum.example.com/t/cracked-shade/77/1"
    assert (created.department, created.product, created.public) == ("support", "Lale Home Lamp", True)
    assert created.customer_id == name_id("customer", WORKSPACE, "forum:@nora_w")
    assert edited.sensitive.text == "Solved, thanks."


@pytest.mark.parametrize(
    ("body", "event", "reason"),
    [
        (post(username="lale_team"), "post_created", "own post"),
        (post(user_id=-1), "post_created", "system post"),
        (post(staff=True), "post_created", "staff post"),
        (post(post_type=3), "post_created", "no regular post"),
        (DISCOURSE, "post_liked", "post_liked"),
        ({"topic": {"id": 77}}, "topic_created", "topic_created"),
        ({"user": {"id": 1}}, "", "user"),
    ],
)
async def test_what_discourse_says_beside_feedback_is_left_out_with_its_reason(
    shared_ingest: Ingest, body: Any, event: str, reason: str
) -> None:
    source = await once(shared_ingest, "forum", "discourse", DISCOURSE_SETTINGS)
    before = await shared_ingest.count()
    answer = await shared_ingest.deliver(source, raw(body), **{"X-Discourse-Event": event})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 0, "parked": 0, "skipped": {reason: 1}})
    assert await shared_ingest.count() == before


async def test_a_discourse_ping_is_answered_and_forms_are_read(ingest: Ingest) -> None:
    source = await ingest.add("forum", "discourse")
    ping = await ingest.deliver(source, b'{"ping":"OK"}', **{"X-Discourse-Event": "ping"})
    assert (ping.status_code, ping.content) == (200, b"")
    form = urlencode({"payload": json.dumps(DISCOURSE)}).encode()
    kind = "application/x-www-form-urlencoded"
    answer = await ingest.deliver(source, form, **{"content-type": kind, "X-Discourse-Event": "post_created"})
    assert answer.json()["accepted"] == 1


async def test_generic_maps_a_batch_with_standard_webhooks(ingest: Ingest) -> None:
    source = await ingest.add("app", "generic", ALL["generic"][0] | {"signature": {"scheme": "standard-webhooks"}})
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(time.time()))}
    answer = await ingest.deliver(source, raw(GENERIC), **headers)
    assert answer.json() == {"accepted": 2, "parked": 0, "skipped": {}}
    events = sorted(await ingest.events(), key=lambda event: str(event.data.sensitive.email))
    assert [event.data.ratings[0].value for event in events] == [1, 5]
    assert events[1].id == external_event_id(WORKSPACE, "app", "1042", 0)
    stale = {"webhook-id": "msg_2", "webhook-timestamp": str(int(time.time()) - 301)}
    assert (await ingest.deliver(source, raw(GENERIC), **stale)).status_code == 401


async def test_generic_takes_a_token_and_our_own_form(ingest: Ingest) -> None:
    options = {"signature": {"scheme": "bearer", "header": "X-Token"}}
    source = await ingest.add("till", "generic", options)
    body = raw([{"id": "1", "channel": "store", "text": "Kasada bekledik."}, {"channel": "store", "text": "İyi."}])
    answer = await ingest.deliver(source, body, options)
    assert answer.json()["accepted"] == 2
    assert (await ingest.deliver(source, body, options)).json()["accepted"] == 2
    assert len({event.id for event in await ingest.events()}) == 2
    for token in ("", "Bearer", "Bearer x", source.secret[:-1], source.secret + "é"):
        refused = await ingest.client.post(source.path, content=body, headers={"X-Token": token.encode()})
        assert refused.status_code == 401


async def test_generic_filters_and_removals(ingest: Ingest) -> None:
    options = {
        "signature": {"scheme": "bearer"},
        "fields": {"id": "data.id", "revision": "data.updated", "text": "data.text"},
        "only": {"event": ["finished", "deleted"]},
        "removed": {"event": ["deleted"]},
    }
    source = await ingest.add("shop", "generic", options)
    data = {"id": 7, "updated": "2026-03-10T09:00:00Z", "text": "a"}
    later = {**data, "updated": "2026-03-10T09:00:01Z"}
    for event, content in (("started", data), ("finished", data), ("deleted", later)):
        assert (await ingest.deliver(source, raw({"event": event, "data": content}), options)).status_code == 202
    finished, deleted = (event.data for event in await ingest.events())
    assert (finished.removed, deleted.removed) == (False, True)
    assert finished.feedback_id == deleted.feedback_id
    assert deleted.revision == finished.revision + 1000


async def test_a_wrong_signature_and_an_unknown_source_are_answered_alike(ingest: Ingest) -> None:
    source = await ingest.add("form", "typeform", TYPEFORM_SETTINGS)
    disabled = await ingest.add("old", "typeform", TYPEFORM_SETTINGS)
    await ingest.admin.disable(WORKSPACE, "old")
    body = raw(TYPEFORM)
    wrong = SourceSecret(source.name, source.connector, source.path, "another-secret-of-mine")
    answers = [
        await ingest.deliver(wrong, body),
        await ingest.client.post(source.path, content=body),
        await ingest.client.post("/v1/sources/nobody", content=body),
        await ingest.client.post(f"/v1/sources/{'x' * 5000}", content=body),
        await ingest.deliver(disabled, body),
        await ingest.client.post(source.path, content=body, headers=ingest.key("admin")),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert await ingest.count() == 0
    assert await ingest.letters() == []


@pytest.mark.parametrize("connector", list(ALL))
async def test_what_is_verified_and_not_understood_is_kept_raw(ingest: Ingest, connector: str) -> None:
    options, good = ALL[connector]
    source = await ingest.add("vendor", connector, options)
    bodies = [b"", b"\xff\xfe\x00", b"[" * 50_000, b'{"a": NaN}', b'"text"', b"[[]]", b"{}", raw({"post": []})]
    for number, body in enumerate(bodies, start=1):
        answer = await ingest.deliver(source, body, options, cookie="secret=1")
        assert (answer.status_code, answer.json()) == (202, {"accepted": 0, "parked": 1, "skipped": {}})
        assert len(await ingest.letters()) == number
    assert [bytes(letter.value) for letter in await ingest.letters()] == bodies
    letter = (await ingest.letters())[0]
    assert (letter.origin, letter.workspace, letter.error_class) == (f"sources/{connector}", WORKSPACE, "BadRecord")
    kept = json.dumps(letter.headers)
    assert "vendor" in kept
    assert source.secret not in kept
    assert "cookie" not in kept
    assert "ignature" not in kept
    assert await ingest.count() == 0
    assert (await ingest.deliver(source, raw(good), options)).json()["accepted"] >= 1


async def test_good_items_of_a_batch_go_on_and_the_delivery_is_kept(ingest: Ingest) -> None:
    options = ALL["generic"][0]
    source = await ingest.add("app", "generic", options)
    good, bad = GENERIC["responses"][0], {**GENERIC["responses"][1], "stars": "purple"}
    answer = await ingest.deliver(source, raw({"responses": [good, bad]}), options)
    assert answer.json() == {"accepted": 1, "parked": 1, "skipped": {}}
    assert "[1].ratings[0].value" in (await ingest.letters())[0].error


async def test_a_scale_set_later_mends_the_dead_letter(ingest: Ingest, running_replays: Callable[[], Any]) -> None:
    source = await ingest.add("form", "typeform", {})
    assert (await ingest.deliver(source, raw(TYPEFORM))).json()["parked"] == 1
    letter = (await ingest.letters())[0]
    assert "without a scale" in letter.error
    await ingest.admin.configure(WORKSPACE, "form", TYPEFORM_SETTINGS)
    async with ingest.database.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")
    await running_replays()
    assert (await ingest.letters())[0].state == "replayed"
    event = (await ingest.events())[0]
    assert event.id == external_event_id(WORKSPACE, "form", TYPEFORM["form_response"]["token"], 0)


async def test_rotation_refuses_nothing_and_retirement_ends_the_old_secret(ingest: Ingest) -> None:
    source = await ingest.add("form", "typeform", TYPEFORM_SETTINGS)
    statuses: list[int] = []
    done = asyncio.Event()

    async def sender() -> None:
        while not done.is_set() or len(statuses) < 50:
            statuses.append((await ingest.deliver(current[-1], raw(TYPEFORM))).status_code)

    current = [source]
    task = asyncio.create_task(sender())
    while len(current) < 6:
        current += [await ingest.admin.rotate(WORKSPACE, "form")]
    done.set()
    await task
    assert set(statuses) == {202}
    before, newest = current[-2:]
    assert (await ingest.deliver(source, raw(TYPEFORM))).status_code == 401
    assert (await ingest.deliver(before, raw(TYPEFORM))).status_code == 202
    assert await ingest.admin.retire(WORKSPACE, "form") == 1

    async def ended() -> bool:
        return (await ingest.deliver(before, raw(TYPEFORM))).status_code == 401

    await eventually(ended)
    assert (await ingest.deliver(newest, raw(TYPEFORM))).status_code == 202


async def test_sources_work_on_while_the_database_is_away(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "_FRESH_SECONDS", 0.0)
    source = await ingest.add("form", "typeform", TYPEFORM_SETTINGS)
    assert (await ingest.deliver(source, raw(TYPEFORM))).status_code == 202
    async with ingest.database.unit_of_work() as uow:
        await uow.execute("alter table source rename to gone_source")
        await uow.execute("create view source as select * from gone_source where pg_sleep(20) is null")
    for _ in range(3):  # every look at the table now runs into the statement timeout, as on a frozen server
        assert (await ingest.deliver(source, raw(TYPEFORM))).status_code == 202


async def test_administration(ingest: Ingest) -> None:
    admin = ingest.admin
    made = await admin.add(WORKSPACE, "form", "typeform", TYPEFORM_SETTINGS, secret="a-secret-of-typeform")
    assert (made.secret, made.secret in repr(made)) == ("a-secret-of-typeform", False)
    with pytest.raises(Conflict):
        await admin.add(WORKSPACE, "form", "generic", {})
    await admin.add("gul", "form", "generic", {})
    view = (await admin.list(WORKSPACE))[0]
    assert (view.name, view.path, view.active_secrets, view.enabled) == ("form", made.path, 1, True)
    async with ingest.database.reader() as reader:
        row = await reader.first("select * from source where workspace = :w", {"w": WORKSPACE})
    assert row is not None
    assert b"a-secret-of-typeform" not in bytes(row.secrets)
    for call in (admin.rotate, admin.retire, admin.disable, admin.enable):
        with pytest.raises(NotFound):
            await call(WORKSPACE, "nothing")


@pytest.mark.parametrize(
    ("name", "connector", "options", "secret", "path"),
    [
        ("api", "generic", {}, None, "name"),
        ("a\nb", "generic", {}, None, "name"),
        ("x", "yammer", {}, None, "connector"),
        ("x", "generic", {"fields": {"txt": "a"}}, None, "settings"),
        ("x", "generic", {"fields": {"text": "a[b"}}, None, "settings.fields.text"),
        ("x", "generic", {"signature": {"scheme": "none"}}, None, "settings.signature"),
        (
            "x",
            "generic",
            {"signature": {"scheme": "hmac", "header": "X", "signed": ["fixed"]}},
            None,
            "settings.signature.hmac",
        ),
        ("x", "typeform", {"fields": {"a": {"metric": "joy"}}}, None, "settings.fields.a.Answered.metric"),
        ("x", "typeform", {"unknown": 1}, None, "settings.unknown"),
        ("x", "typeform", {}, "short", "secret"),
        ("x", "generic", {}, "whsec_" + "*" * 32, "secret"),
    ],
)
async def test_wrong_settings_are_refused_with_their_place(
    shared_ingest: Ingest, name: str, connector: str, options: Any, secret: str | None, path: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await shared_ingest.admin.add(WORKSPACE, name, connector, options, secret=secret)
    assert path in [fault.path for fault in caught.value.faults]


async def test_sources_are_listed_by_page_without_secrets_and_only_ones_own(ingest: Ingest) -> None:
    made = [await ingest.add(name, "generic") for name in ("a", "b", "c")]
    await ingest.admin.add("gul", "theirs", "generic", {})
    first = await ingest.client.get("/v1/sources?limit=2", headers=ingest.key("operator"))
    assert [source["name"] for source in first.json()["sources"]] == ["a", "b"]
    rest = await ingest.client.get(f"/v1/sources?after={first.json()['next']}", headers=ingest.key("operator"))
    assert ([source["name"] for source in rest.json()["sources"]], rest.json()["next"]) == (["c"], None)
    assert all(source.secret not in first.text + rest.text for source in made)
    assert (await ingest.client.get("/v1/sources", headers=ingest.key("channel"))).status_code == 403
    assert (await ingest.client.get("/v1/sources")).status_code == 401


_once: dict[tuple[int, str], SourceSecret] = {}


async def once(ingest: Ingest, name: str, connector: str, options: dict[str, Any]) -> SourceSecret:
    """The same source for every example of a test."""
    key = (id(ingest), name)
    if key not in _once:
        _once[key] = await ingest.add(name, connector, options)
    return _once[key]


mutations = st.tuples(st.integers(0, 10_000), st.integers(1, 255), st.sampled_from(["flip", "drop", "insert", "swap"]))


def mutated(data: bytes, mutation: tuple[int, int, str]) -> bytes:
    position, change, kind = mutation
    at = position % len(data)
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
    if kind == "drop":
        return data[:at] + data[at + 1 :]
    if kind == "insert":
        return data[:at] + bytes([change]) + data[at:]
    return data[at:] + data[:at]


@pytest.fixture(autouse=True, scope="module")
def unpaced() -> Iterator[None]:
    """Refusals wait for a fresh look at the sources; here there are hundreds of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory_module, "_PACE_SECONDS", 0.0)
        yield


def mutation_cases(number: int) -> list[tuple[str, str, tuple[int, int, str]]]:
    """(connector, part, mutation), found by hypothesis and the same in every run."""
    cases: list[tuple[str, str, tuple[int, int, str]]] = []
    parts = st.sampled_from(["body", "signature", "id", "timestamp"])

    @settings(max_examples=number, deadline=None, derandomize=True, database=None)
    @given(st.sampled_from(list(ALL)), parts, mutations)
    def collect(connector: str, part: str, mutation: tuple[int, int, str]) -> None:
        cases.append((connector, part, mutation))

    collect()
    return cases


async def test_mutated_deliveries_are_401_and_nothing_else(ingest: Ingest) -> None:
    sources: dict[str, tuple[SourceSecret, dict[str, Any], bytes]] = {}
    for connector, (usual, good) in ALL.items():
        options = usual | ({"signature": {"scheme": "standard-webhooks"}} if connector == "generic" else {})
        sources[connector] = (await ingest.add(connector, connector, options), options, raw(good))
    refused = 0
    for connector, part, mutation in mutation_cases(620):
        source, options, body = sources[connector]
        stamped = {"webhook-id": "msg_1", "webhook-timestamp": str(int(time.time()))}
        signed = signed_headers(source, body, options, stamped if connector == "generic" else {})
        headers = {name.lower(): value.encode() for name, value in signed.items()}
        place = {"id": "webhook-id", "timestamp": "webhook-timestamp"}.get(part, "")
        place = place if place in headers else next(name for name in headers if "signature" in name)
        changed = body
        if part == "body":
            changed = mutated(body, mutation)
        else:
            # What HTTP itself does not let through, or takes for the same value, is no mutation.
            headers[place] = mutated(headers[place], mutation).translate(None, b"\r\n\0").strip()
        was = (signed[next(name for name in signed if name.lower() == place)]).encode()
        same_case = connector == "discourse" and headers[place].lower() == was
        if changed == body and (headers[place] == was or same_case):
            continue
        answer = await ingest.client.post(source.path, content=changed, headers=headers)
        assert answer.status_code == 401, (connector, part, mutation)
        refused += 1
    assert refused >= 500
    assert await ingest.count() == 0
    assert await ingest.letters() == []


def test_the_signature_of_the_test_helper_is_the_vendors() -> None:
    message = Signed(b"{}", {"webhook-id": "a", "webhook-timestamp": "1"})
    source = SourceSecret("x", "generic", "/", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signed_headers(source, b"{}", {}, dict(message.headers))
    assert made["webhook-signature"] == sign(STANDARD_WEBHOOKS, message, source.secret)
