"""Sixty days of answers and of invitations before today, as the endpoints take them."""

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from services.node.demo.brand import PRODUCTS, TOUCHPOINTS, Chooser, Customer, band, score

DAYS = 60
ANSWERS_A_DAY = 90
INVITED_A_DAY = 25
# What becomes of invitations: most are not answered, few do not arrive, and some are held back.
_BECAME = {"completed": 0.31, "delivered": 0.6, "bounced": 0.04, "suppressed": 0.05}
# Three of ten people add a sentence; the rest only click a number.
_WITH_TEXT = 0.3


def history(now: datetime, people: list[Customer], seed: int) -> Iterator[bytes]:
    """NDJSON lines, oldest first; every record has an id, so that a second import changes nothing."""
    chance = random.Random(seed)  # noqa: S311
    chooser = Chooser(chance)
    for day in range(DAYS, 0, -1):
        start = (now - timedelta(days=day)).replace(hour=0, minute=0, second=0, microsecond=0)
        for number in range(ANSWERS_A_DAY):
            moment = start + timedelta(seconds=chance.triangular(7 * 3600, 24 * 3600, 19 * 3600))
            record = answer(chance, chooser, chance.choice(people), moment, drift=_drift(day))
            record["id"] = f"history-{start:%Y%m%d}-{number}"
            yield json.dumps(record, ensure_ascii=False).encode() + b"\n"


def invitations(now: datetime, people: list[Customer], seed: int) -> Iterator[dict[str, Any]]:
    """Invitations to the surveys of the touchpoints in the form of POST /v1/invitations, oldest first."""
    chance = random.Random(seed)  # noqa: S311
    for day in range(DAYS, 0, -1):
        start = (now - timedelta(days=day)).replace(hour=0, minute=0, second=0, microsecond=0)
        for number in range(INVITED_A_DAY):
            touchpoint = chance.choices(list(TOUCHPOINTS), [entry[0] for entry in TOUCHPOINTS.values()])[0]
            person = chance.choice(people)
            yield {
                "id": f"history-{start:%Y%m%d}-{number}",
                "status": chance.choices(list(_BECAME), list(_BECAME.values()))[0],
                "invited_at": (start + timedelta(hours=chance.uniform(8, 20))).isoformat(),
                "survey": {"id": f"{touchpoint}-survey", "type": "transactional"},
                "channel": TOUCHPOINTS[touchpoint][1],
                "touchpoint": touchpoint,
                "department": TOUCHPOINTS[touchpoint][2],
                "segment": person.segment,
                "customer": {"id": person.id},
            }


def answer(
    chance: random.Random, chooser: Chooser, person: Customer, moment: datetime, *, drift: float = 0.0
) -> dict[str, Any]:
    """One survey answer in the form of POST /v1/feedback; `drift` moves promoters up and detractors down."""
    touchpoint = chance.choices(list(TOUCHPOINTS), [entry[0] for entry in TOUCHPOINTS.values()])[0]
    _, channel, department, metrics, promoters, detractors = TOUCHPOINTS[touchpoint]
    value = score(chance, promoters + drift, detractors - drift)
    record: dict[str, Any] = {
        "kind": "survey_response",
        "occurred_at": moment.isoformat(),
        "channel": channel,
        "touchpoint": touchpoint,
        "department": department,
        "segment": person.segment,
        "survey": {"id": f"{touchpoint}-survey", "type": "transactional"},
        "ratings": [_rating(chance, metric, value) for metric in metrics],
        "customer": {"id": person.id, "email": person.email, "name": person.name},
        "language": person.language,
    }
    if touchpoint in ("post_purchase", "delivery", "store"):
        record["product"] = chance.choice(PRODUCTS)
    if chance.random() < _WITH_TEXT:
        record["text"] = chooser.answer(person.language, touchpoint, band(value))
    return record


def _rating(chance: random.Random, metric: str, value: int) -> dict[str, Any]:
    """The other questions of a survey agree with its NPS answer, more or less."""
    mood = min(1.0, max(0.0, value / 10 + chance.gauss(0, 0.1)))
    scaled = {"nps": value, "csat": 1 + round(mood * 4), "ces": 1 + round(mood * 6)}
    return {"metric": metric, "value": scaled[metric]}


def _drift(day: int) -> float:
    """The brand got slowly better over the two months."""
    return 0.05 - 0.1 * day / DAYS
