"""Settings of the notifier."""

from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, model_validator

from services.notifier.domain import DAY_SECONDS, RETRY_SECONDS
from shared.http.outbound import CONNECT_SECONDS, TOTAL_SECONDS
from shared.runtime.process import ProcessSettings

# The lease outlasts the longest call by this much, so that a live worker is never taken for a dead one.
LEASE_MARGIN_SECONDS = 5.0


class NotifierSettings(ProcessSettings):
    """What the notifier sends, by which servers, how often."""

    plays_file: Path | None = Field(
        default=None, description="Play file for workspaces that have none of their own; read again when it changes."
    )
    play_delay_factor: float = Field(
        default=1.0, gt=0, le=10, description="Multiplies every delay of every play; below 1 for demonstrations."
    )
    templates_dir: Path | None = Field(
        default=None, description="More templates, as <language>/<id>.yaml; they win over the shipped ones."
    )
    default_language: str = Field(default="en", pattern="^[a-z]{2}$", description="Where a customer's is not known.")
    time_zone: str = Field(default="UTC", description="Zone of the times in messages, such as Europe/Istanbul.")
    brand_name: str = Field(default="", max_length=80, description="Empty: the workspace's name.")
    public_url: str = Field(
        default="",
        description="How customers reach us, for unsubscribe links. Empty: HTTP_HOST and HTTP_PORT.",
    )
    case_url: str = Field(default="", description="Page of a case; {case_id} and {feedback_id} are filled in.")
    survey_url: str = Field(default="", description="Where a customer is asked again; {feedback_id} is filled in.")
    invite_url: str = Field(default="", description="Where a promoter invites a friend.")
    review_url: str = Field(default="", description="Where customers, all of them, may write a public review.")

    smtp_host: str = Field(default="127.0.0.1", description="Mail server.")
    smtp_port: int = Field(default=1025, ge=1, le=65535)
    smtp_username: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_starttls: Literal["off", "required"] = Field(
        default="off", description="`required` encrypts with STARTTLS before anything else is said."
    )
    smtp_tls: bool = Field(default=False, description="TLS from the first byte (port 465).")
    smtp_sender: str = Field(default="feedback@localhost", description="From and envelope sender; one plain address.")
    smtp_reply_to: str = Field(default="", description="Where answers go; empty: to the sender.")

    agent_slack_url: str = Field(default="", description="Slack-shaped webhook for agents without one of their own.")
    manager_slack_url: str = ""
    agent_webhook_url: str = ""
    manager_webhook_url: str = ""
    manager_email: str = ""
    outbound_allow_private: bool = Field(
        default=False,
        description="Let webhooks go to, and sources fetch from, loopback and private addresses, by http and on any "
        "port: single node only.",
    )

    contact_limit: int = Field(default=3, ge=0, description="Most messages to one customer in a period.")
    contact_period_seconds: float = Field(default=30 * DAY_SECONDS, gt=0)

    delivery_concurrency: int = Field(default=200, ge=1, description="Most calls in flight in this process.")
    # Three at a time are about 60 messages a second to one mail server, and leave room for the scores beside them.
    delivery_per_endpoint: int = Field(default=3, ge=1, description="Most calls in flight to one endpoint.")
    delivery_connect_seconds: float = Field(default=CONNECT_SECONDS, gt=0)
    delivery_timeout_seconds: float = Field(default=TOTAL_SECONDS, gt=0, description="Longest wait for one call.")
    delivery_lease_seconds: float = Field(default=30.0, gt=0)
    delivery_retry_seconds: tuple[float, ...] = Field(
        default=RETRY_SECONDS, min_length=1, max_length=20, description="Wait before each attempt, as a JSON list."
    )
    endpoint_failing_days: float = Field(default=5.0, gt=0, description="An endpoint that fails this long is disabled.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        least = self.delivery_connect_seconds + self.delivery_timeout_seconds + LEASE_MARGIN_SECONDS
        if self.delivery_lease_seconds < least:
            raise ValueError(
                f"DELIVERY_LEASE_SECONDS is {self.delivery_lease_seconds:g}; it must outlast connect and read timeout "
                f"and {LEASE_MARGIN_SECONDS:g} s: at least {least:g}"
            )
        if any(delay < 0 for delay in self.delivery_retry_seconds):
            raise ValueError("DELIVERY_RETRY_SECONDS: a wait is not negative")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"TIME_ZONE: {self.time_zone!r} is not a zone; write Europe/Istanbul") from None
        return self

    def base_url(self) -> str:
        """Start of our own links, without a slash at the end."""
        host = "127.0.0.1" if self.http_host in {"0.0.0.0", "::"} else self.http_host  # noqa: S104
        return (self.public_url or f"http://{host}:{self.http_port}").rstrip("/")
