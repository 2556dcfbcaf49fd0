"""A mail server and a chat address that deliver to nobody: what the notifier sends ends here and can be looked at.

`python -m deploy.cluster.sink SMTP_PORT HTTP_PORT FOLDER`: each mail becomes a file in FOLDER and a line of output.
"""

import asyncio
import email
import email.policy
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

HOST = "127.0.0.1"
KEPT = 500
SHOWN_A_SECOND = 5


class Teller:
    """Says a few things a second, and how many it left out."""

    def __init__(self) -> None:
        self._second = 0
        self._said = 0

    def say(self, text: str) -> None:
        """Print a line, unless there were enough."""
        second = int(time.monotonic())
        if second != self._second:
            if self._said > SHOWN_A_SECOND:
                print(f"… and {self._said - SHOWN_A_SECOND} more", flush=True)
            self._second, self._said = second, 0
        self._said += 1
        if self._said <= SHOWN_A_SECOND:
            print(text, flush=True)


class Mails:
    """aiosmtpd's handler."""

    def __init__(self, folder: Path) -> None:
        self._teller = Teller()
        self._folder = folder
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._numbers = count(max((int(file.stem) for file in folder.glob("[0-9]*.eml")), default=0) + 1)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Keep it, and forget the oldest."""
        content = envelope.original_content or b""
        number = next(self._numbers)
        (self._folder / f"{number:06}.eml").write_bytes(content)
        (self._folder / f"{number - KEPT:06}.eml").unlink(missing_ok=True)
        message: Any = email.message_from_bytes(content, policy=email.policy.default)
        self._teller.say(f"mail to {', '.join(envelope.rcpt_tos)}: {message['subject']}")
        return "250 kept"


class Chat(BaseHTTPRequestHandler):
    """Takes what Slack would take."""

    def do_POST(self) -> None:
        """Show the message."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            text = str(json.loads(body)["text"])
        except (ValueError, KeyError, TypeError):
            text = body.decode(errors="replace")
        print(f"chat: {' '.join(text.split())[:200]}", flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Its message is line enough."""


async def main(smtp_port: int, http_port: int, folder: Path) -> None:
    """Until it is ended."""
    mails = Mails(folder)
    chat = ThreadingHTTPServer((HOST, http_port), Chat)
    threading.Thread(target=chat.serve_forever, daemon=True).start()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(mails, enable_SMTPUTF8=True, hostname="localhost", ident="closeloop sink"), HOST, smtp_port
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
