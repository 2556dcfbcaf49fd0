"""Settings of the routing service."""

from pathlib import Path

from pydantic import Field

from services.routing.domain.roster import Sla
from shared.contracts.assignment_changed import Priority
from shared.runtime.process import ProcessSettings


class RoutingSettings(ProcessSettings):
    """Clocks and rules; a workspace's team document may set its own `sla`."""

    teams_file: Path | None = Field(
        default=None, description="YAML file of one workspace's teams and members; read at start and when it changes."
    )
    teams_file_poll_seconds: float = Field(default=2.0, gt=0, description="How often TEAMS_FILE is looked at.")
    sla_urgent_seconds: float = Field(default=300, ge=0, description="First response, priority urgent; 0 is no SLA.")
    sla_high_seconds: float = Field(default=1800, ge=0, description="First response, priority high; 0 is no SLA.")
    sla_normal_seconds: float = Field(default=14_400, ge=0, description="First response, priority normal; 0: no SLA.")
    sla_low_seconds: float = Field(default=86_400, ge=0, description="First response, priority low; 0 is no SLA.")
    sla_at_risk_share: float = Field(default=0.8, gt=0, lt=1, description="Share of the time that makes it at risk.")
    sticky_seconds: float = Field(
        default=259_200, ge=0, description="A customer stays with their last agent this long; 0 switches it off."
    )
    relax_after_seconds: float = Field(
        default=900, ge=0, description="After this wait in the queue skills no longer count and the default team helps."
    )
    history_after_seconds: float = Field(
        default=259_200, ge=0, description="Feedback that arrives this long after it happened is tagged, not assigned."
    )
    queue_tick_seconds: float = Field(
        default=2.0, gt=0, description="How often queues are tried again (hours begin, an absence ends)."
    )

    def default_sla(self) -> Sla:
        """The clock policy where the team document has none."""
        seconds: dict[Priority, float] = {
            "urgent": self.sla_urgent_seconds,
            "high": self.sla_high_seconds,
            "normal": self.sla_normal_seconds,
            "low": self.sla_low_seconds,
        }
        return Sla({priority: value or None for priority, value in seconds.items()}, self.sla_at_risk_share)
