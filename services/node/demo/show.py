"""The demo as a part of the node: what it sets differently, and the service it adds."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Body, Depends

from services.node.demo.director import Director, Say
from services.node.demo.mailbox import Mailbox
from shared.auth.keys import Principal, Role
from shared.http.authentication import Authenticator
from shared.runtime.component import Service


class Demo:
    """One demo per process. Mails and Slack messages end in its mailbox; nothing leaves the machine."""

    def __init__(self) -> None:
        self._mailbox = Mailbox()

    def notifier_settings(self, address: str) -> dict[str, Any]:
        """Overrides of the notifier's settings."""
        return {
            **notifier_settings(self._mailbox.port, f"{address}/v1/demo/slack"),
            "public_url": address,
            "case_url": f"{address}/#case={{case_id}}",
        }

    def service(
        self, address: str, database_url: str, data_dir: Path, authenticator: Authenticator, say: Say
    ) -> Service:
        """The director, the mailbox, and a route to look into it."""
        return Service(
            "demo",
            routers=[_routes(self._mailbox, authenticator)],
            components=[self._mailbox, Director([address], database_url, say, data_dir)],
        )


def notifier_settings(smtp_port: int, slack_url: str) -> dict[str, Any]:
    """What the notifier of a demo sets differently, wherever it runs: nothing leaves the machine."""
    return {
        "smtp_host": "127.0.0.1",
        "smtp_port": smtp_port,
        "smtp_username": "",
        "smtp_starttls": "off",
        "smtp_tls": False,
        "smtp_sender": "hello@lale.example",
        "brand_name": "Lale",
        "outbound_allow_private": True,
        "agent_slack_url": slack_url,
        "manager_slack_url": slack_url,
        # Three days become 52 seconds, ten seconds an instant: a first look sees whole plays.
        "play_delay_factor": 0.0002,
    }


def _routes(mailbox: Mailbox, authenticator: Authenticator) -> APIRouter:
    router = APIRouter(prefix="/v1/demo", tags=["demo"])

    @router.get("/mails", summary="The latest mails and chat messages that the demo caught")
    async def mails(
        principal: Principal = Depends(authenticator.require(Role.MANAGER, Role.OPERATOR)),  # noqa: B008
    ) -> dict[str, Any]:
        return {"received": mailbox.received, "items": [asdict(mail) for mail in list(mailbox.latest)[:20]]}

    @router.post("/slack", summary="Where the demo's chat messages go", include_in_schema=False)
    async def slack(message: dict[str, Any] = Body()) -> str:
        mailbox.keep("slack", str(message.get("text", "")), "")
        return "ok"

    return router
