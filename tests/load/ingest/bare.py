"""The least that an ASGI app can do: read the body, answer 202. What HTTP itself costs."""

from typing import Any

_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"14")]
_START = {"type": "http.response.start", "status": 202, "headers": _HEADERS}
_BODY = {"type": "http.response.body", "body": b'{"accepted":1}'}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """One request."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send(_START)
    await send(_BODY)
