"""What answers of several routes share: who may read, and the figures of a score."""

import base64
import binascii
import json
from typing import Any

from pydantic import BaseModel

from services.scoring.domain.scores import Score
from shared.auth.keys import Role
from shared.contracts.score_updated import Interval, Invitations, PreviousWindow, Sentiments
from shared.core.errors import Fault, InvalidInput

READERS = (Role.MANAGER, Role.AGENT, Role.OPERATOR)


class Figures(BaseModel):
    """A score. Where it is not reportable show n, not the value."""

    value: float | None
    n: int
    promoters: int | None
    passives: int | None
    detractors: int | None
    sentiments: Sentiments | None = None
    invitations: Invitations | None = None
    interval: Interval | None
    reportable: bool


class FiguresBefore(Figures):
    """A score beside the one before it."""

    previous: PreviousWindow | None


def figures(score: Score) -> dict[str, Any]:
    """The fields of Figures."""
    return {name: getattr(score, name) for name in Figures.model_fields}


def figures_before(score: Score) -> dict[str, Any]:
    """The fields of FiguresBefore."""
    return {name: getattr(score, name) for name in FiguresBefore.model_fields}


def spell_cursor(*place: str) -> str:
    """A place in a list, for its next page."""
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[str, str]:
    """Undo `spell_cursor` of two words. Raises InvalidInput for what we did not hand out."""
    try:
        first, second = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(first, str) or not isinstance(second, str) or "\0" in first + second:
            raise ValueError("not two words")
        (first + second).encode()
    except (ValueError, TypeError, binascii.Error):
        raise strange_cursor() from None
    return first, second


def strange_cursor() -> InvalidInput:
    """For a cursor that we did not hand out."""
    return InvalidInput(
        "cursor is not one of ours; leave it out to start at the beginning",
        faults=[Fault("query.cursor", "not a cursor of this list")],
    )
