"""Settings of scoring."""

from pydantic import Field

from services.scoring.domain.scores import MINIMUM_N
from shared.runtime.process import ProcessSettings


class ScoringSettings(ProcessSettings):
    """Settings of the scoring service."""

    score_minimum_n: int = Field(
        default=MINIMUM_N, ge=1, description="Below this many answers a score is published as not reportable."
    )
    score_interval_seconds: float = Field(
        default=1.0, ge=0, le=3600, description="Least time between two score.updated.v1 of one series."
    )
    score_batch: int = Field(
        default=10_000, ge=1, le=50_000, description="Most feedback that is taken in by one transaction."
    )
