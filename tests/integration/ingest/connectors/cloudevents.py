import json
from typing import Any

from services.ingest.sources.base import Answer
from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Handshake, Sent, Vector

EVENT: dict[str, Any] = json.loads(sample("cloudevents").body)
DATA: dict[str, Any] = EVENT["data"]
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "Application/CloudEvents-Batch+JSON; charset=utf-8"}
BINARY = {
    "Content-Type": "application/json; charset=utf-8",
    "ce-specversion": "1.0",
    "ce-type": "dev.lale.feedback.given",
    "ce-source": "/shop/after-delivery",
    "ce-id": "A234-1234-1234",
    "ce-time": "2026-03-10T09:14:52Z",
    "ce-audience": "customers",
}
BYTES = "eyJpZCI6ICJhbnN3ZXItODgxMyIsICJjaGFubmVsIjogInN0b3JlIiwgInRleHQiOiAiV2FybSBsaWdodCwgc2hvcnQgY2FibGUuIn0="


def event(**changed: Any) -> dict[str, Any]:
    whole = {**EVENT, **changed}
    return {name: value for name, value in whole.items() if value is not ...}


def bare(**changed: Any) -> dict[str, Any]:
    """An event whose data has no id of its own."""
    return event(data={"text": "Warm light, short cable."}, **changed)


def binary(**headers: str) -> dict[str, str]:
    return {**BINARY, **{f"ce-{name}": value for name, value in headers.items()}}


FIRST = {
    "kind": "survey_response",
    "channel": "email",
    "touchpoint": "delivery",
    "product": "Lale Home Lamp",
    "survey.id": "after-delivery",
    "survey.type": "transactional",
    "ratings.0.metric": "csat",
    "ratings.0.value": 2,
    "ratings.0.scale_max": 5,
    "sensitive.text": "The lamp came nine days late and the shade was cracked.",
    "sensitive.email": "nora@example.com",
    "sensitive.name": "Nora Whitfield",
    "language": "en",
    "removed": False,
    "revision": 1773134092000,
    "occurred_at": "2026-03-10T09:14:52Z",
}
CHANGED = event(id="A234-1234-1299", time="2026-03-11T08:00:00Z", data={**DATA, "score": 5, "text": "A new one came."})
TAKEN_BACK = event(
    id="A234-1234-1300", type="dev.lale.feedback.deleted", time="2026-03-12T08:00:00Z", data={"id": "answer-8812"}
)

CASES = Cases(
    settings={
        "types": ["dev.lale.feedback.given", "dev.lale.feedback.deleted"],
        "only": {"audience": ["customers"]},
        "removed": {"type": ["dev.lale.feedback.deleted"]},
        "allowed_rate": 600,
    },
    first=(FIRST,),
    samples={
        "binary": Sent(DATA, (FIRST,), BINARY),
        "binary without a type": Sent(DATA, (FIRST,), {**BINARY, "Content-Type": ""}),
        "binary of another JSON": Sent(DATA, (FIRST,), {**BINARY, "Content-Type": "application/vnd.lale.v2+json"}),
        "quoted and percent-encoded once": Sent(
            bare()["data"],
            ({"sensitive.text": "Warm light, short cable."},),
            binary(id='"A\\"1%2541%C3%BC"', source="%2Fshop"),
        ),
        "by its shape": Sent(EVENT, (FIRST,)),
        "several by their shape": Sent([EVENT, bare(id="B1")], (FIRST, {"channel": "api"})),
        "bytes": Sent(
            event(data=..., data_base64=BYTES),
            ({"channel": "store", "sensitive.text": "Warm light, short cable."},),
            STRUCTURED,
        ),
        "no type of the data": Sent(event(datacontenttype=...), (FIRST,), STRUCTURED),
        "null attributes": Sent(
            event(time=None, dataschema=None, datacontenttype=None), ({"revision": 0},), STRUCTURED
        ),
        "a long source": Sent(bare(source="/shop/" + "x" * 300), ({"kind": "message"},), STRUCTURED),
    },
    vector=Vector(
        secret="mF_9.B5f-4.1JqM-lale",
        body=b'{"specversion":"1.0"}',
        headers={"Authorization": "Bearer mF_9.B5f-4.1JqM-lale", "Content-Type": "application/cloudevents+json"},
    ),
    edit=(Sent(EVENT, (FIRST,), STRUCTURED), Sent(CHANGED, ({"ratings.0.value": 5},), STRUCTURED)),
    delete=(
        Sent(EVENT, (FIRST,), STRUCTURED),
        Sent(TAKEN_BACK, ({"removed": True, "sensitive.text": None},), STRUCTURED),
    ),
    batch=Sent([EVENT, bare(id="B1"), bare(id="B2")], (FIRST, {"ratings": []}, {"ratings": []}), BATCH),
    skips={
        "other event type": Sent(event(type="dev.lale.order.paid", data="<xml/>"), headers=STRUCTURED),
        "other event": Sent(event(audience="staff"), headers=STRUCTURED),
    },
    handshakes=(
        Handshake(
            Answer(
                headers={
                    "Allow": "POST",
                    "WebHook-Allowed-Origin": "eventemitter.example.com",
                    "WebHook-Allowed-Rate": "600",
                }
            ),
            method="OPTIONS",
            headers={"WebHook-Request-Origin": "eventemitter.example.com", "WebHook-Request-Rate": "120"},
        ),
    ),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent([], headers=BATCH),
        Sent(EVENT, headers=BATCH),
        Sent([EVENT], headers=STRUCTURED),
        Sent([1, {}], headers=BATCH),
        Sent([EVENT, {"id": "no event"}, 1], headers=BATCH),
        Sent(b"\x00avro", headers={"Content-Type": "application/cloudevents+avro"}),
        Sent(b"<xml/>", headers={"Content-Type": "text/xml"}),
        Sent(b"<xml/>", headers={**BINARY, "Content-Type": "text/xml"}),
        Sent(DATA, headers=binary(id="%C0%A0")),
        Sent(DATA, headers=binary(id="€")),
        Sent(DATA, headers=binary(source="%00")),
        Sent(event(specversion="0.3"), headers=STRUCTURED),
        Sent(event(id=7), headers=STRUCTURED),
        Sent(event(data=...), headers=STRUCTURED),
        Sent(event(data=[DATA]), headers=STRUCTURED),
        Sent(event(datacontenttype="application/xml", data="<much wow='xml'/>"), headers=STRUCTURED),
        Sent(event(datacontenttype=..., data=..., data_base64=BYTES), headers=STRUCTURED),
        Sent(event(data_base64=BYTES), headers=STRUCTURED),
        Sent(event(data=..., data_base64="no base64"), headers=STRUCTURED),
    ),
)
