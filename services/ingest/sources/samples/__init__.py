"""One delivery of each vendor as it arrives, without a signature: for `sources test`, the documentation and the tests.

A file is `{"headers": {…}, "body": …}`; `text` in place of `body` is sent as it stands. Connectors that fetch have
`answer` too, what the vendor's API says then; those without webhooks have only that. All people in it are invented.
"""

import json
from pathlib import Path
from typing import Any

from shared.auth.signatures import Signed

_FOLDER = Path(__file__).parent


def sample(name: str) -> Signed:
    """The sample of a connector."""
    document = _document(name)
    text = document["text"] if "text" in document else json.dumps(document.get("body", {}), ensure_ascii=False)
    headers = {"content-type": "application/json"} | {k.lower(): v for k, v in document.get("headers", {}).items()}
    return Signed(text.encode(), headers)


def sample_answer(name: str) -> bytes:
    """What the API of a vendor answers. Raises KeyError for a connector that does not fetch."""
    return json.dumps(_document(name)["answer"], ensure_ascii=False).encode()


def _document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document
