"""Where parts go: to the running installation, or through the same validation here, for a dry run."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import httpx
from pydantic import BaseModel, ValidationError

from services.ingest.canonical import Origin, Refused, event_of
from services.ingest.importing import LINE_LIMIT_BYTES, Ndjson
from shared.core.clock import utc_now
from shared.core.errors import CloseloopError, Fault, InvalidInput, Unavailable

Refusals = list[tuple[int, list[Fault]]]
_PASSING = frozenset({429, 502, 503, 504})
_WHY = {
    401: "the key is not known; make one with `closeloop keys create history --role operator`, give it as --key",
    403: "the key may not import; it needs the role operator",
    404: "there is no import at this address; is --url right?",
}


class Send(Protocol):
    """Takes lines of NDJSON; gives the refused ones, by their place in `lines`, with their faults."""

    def __call__(self, lines: Sequence[bytes]) -> Refusals: ...


class _Fault(BaseModel):
    path: str
    reason: str


class _Refusal(BaseModel):
    line: int
    faults: list[_Fault]


class _Report(BaseModel):
    accepted: int
    refused: int
    refusals: list[_Refusal]


def check(lines: Sequence[bytes]) -> Refusals:
    """What the endpoint would refuse; nothing is sent."""
    refusals: Refusals = []
    form, origin, now = Ndjson(), Origin("main", "import", "ndjson"), utc_now()
    for place, line in enumerate(lines):
        if len(line) > LINE_LIMIT_BYTES:
            refusals.append((place, [Fault("$", f"is longer than {LINE_LIMIT_BYTES // 1024} KiB")]))
            continue
        try:
            event_of(form.item(line), origin, now)
        except InvalidInput as error:
            refusals.append((place, list(error.faults)))
        except Refused as error:
            refusals.append((place, error.faults))
    return refusals


class Sender:
    """Posts parts. What passes (no connection, 429, 502, 503, 504) is tried again for `patience_seconds` a part."""

    def __init__(self, url: str, key: str, patience_seconds: float, say: Callable[[str], None]) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidInput(f"{url!r} is no address; write it as http://127.0.0.1:8080")
        if not key.isascii() or not key.isprintable():
            raise InvalidInput(_WHY[401])
        self._patience = patience_seconds
        self._say = say
        self._address = f"{url.rstrip('/')}/v1/feedback/import"
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        self._client = httpx.Client(headers=headers, timeout=httpx.Timeout(10, read=120, write=120), trust_env=False)

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def __call__(self, lines: Sequence[bytes]) -> Refusals:
        """See Send. Raises CloseloopError with one line that says what to do."""
        deadline = time.monotonic() + self._patience
        wait, said = 0.5, False
        while True:
            trouble, after = self._try(lines)
            if isinstance(trouble, list):
                return trouble
            wait = min(max(after, wait), 60.0)
            if time.monotonic() + wait > deadline:
                raise Unavailable(f"{trouble}, for {self._patience:g} s; run the same command again to go on")
            if not said:
                self._say(f"{trouble}; trying again for up to {self._patience:g} s")
                said = True
            time.sleep(wait)
            wait *= 1.6

    def _try(self, lines: Sequence[bytes]) -> tuple[Refusals | str, float]:
        """The refusals, or what is in the way for now and for how many seconds."""
        try:
            answer = self._client.post(self._address, params={"max_refusals": len(lines)}, content=b"".join(lines))
        except httpx.TransportError as error:
            return f"{self._address} is out of reach ({type(error).__name__})", 0.0
        except httpx.InvalidURL as error:
            raise InvalidInput(f"{self._address!r} is no address: {error}") from None
        if answer.status_code in _PASSING:
            after = answer.headers.get("retry-after", "")
            return f"the server answers {answer.status_code}", float(after) if after.isdecimal() else 0.0
        if answer.status_code != 202:
            why = _WHY.get(answer.status_code) or f"{answer.text[:200]!r}; run the same command again to go on"
            raise CloseloopError(f"the server answers {answer.status_code}: {why}")
        return self._refusals(answer, len(lines)), 0.0

    def _refusals(self, answer: httpx.Response, count: int) -> Refusals:
        try:
            report = _Report.model_validate_json(answer.content)
        except ValidationError:
            raise CloseloopError(f"{self._address} does not answer as closeloop does; is --url right?") from None
        named = {refusal.line for refusal in report.refusals}
        if (
            report.accepted + report.refused != count
            or len(named) != report.refused
            or named - set(range(1, count + 1))
        ):
            raise CloseloopError("the server's report does not fit what was sent: is it an older version?")
        return [
            (refusal.line - 1, [Fault(fault.path, fault.reason) for fault in refusal.faults])
            for refusal in report.refusals
        ]
