"""How a message leaves: mail, Slack-shaped webhook, generic webhook. Each turns a call into one of four outcomes."""

from services.notifier.transports.outcome import Outcome, Outgoing, Transport

__all__ = ["Outcome", "Outgoing", "Transport"]
