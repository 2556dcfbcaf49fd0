"""One delivery of each vendor as it arrives, without a signature: for `sources test`, the documentation and the tests.

A file is `{"headers": {…}, "body": …}`; `text` in place of `body` is sent as it stands. All people in it are invented.
"""

import json
from pathlib import Path

from shared.auth.signatures import Signed

_FOLDER = Path(__file__).parent


def sample(name: str) -> Signed:
    """The sample of a connector."""
    document = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    text = document["text"] if "text" in document else json.dumps(document["body"], ensure_ascii=False)
    headers = {"content-type": "application/json"} | {k.lower(): v for k, v in document.get("headers", {}).items()}
    return Signed(text.encode(), headers)
