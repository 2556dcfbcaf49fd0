from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

OURS = {"id": "m-1", "channel": "store", "text": "Kasada bekledik."}
VOTE = {"ratings.0.metric": "csat", "survey.id": "kiosk", "channel": "store"}

CASES = Cases(
    first=(
        {**VOTE, "ratings.0.value": 4, "sensitive.text": "Kasada yarım saat bekledik."},
        {**VOTE, "ratings.0.value": 5, "sensitive.text": None},
    ),
    vector=Vector(
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        body=b'{"test": 2432232314}',
        headers={
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        now=1614265330,
    ),
    edit=(Sent(OURS, ({"revision": 0},)), Sent({**OURS, "revision": 1, "text": "Solved."}, ({"revision": 1},))),
    delete=(Sent(OURS, ({"removed": False},)), Sent({**OURS, "revision": 2, "removed": True}, ({"removed": True},))),
    batch=Sent([OURS, {**OURS, "id": "m-2"}], ({}, {})),
    skips=Lacks("without a field map everything is feedback; test_sources.py has `only`"),
    handshakes=Lacks("it is for systems of the brand's own"),
    unreadable=(Sent([1]), Sent({}), Sent({"items": []}), Sent(b"\xff")),
)
