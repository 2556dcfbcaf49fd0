"""What managers send in, checked."""

from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from services.scoring.domain.rules import DEFAULT_ROLL_UPS, Rules
from shared.contracts.envelope import Label
from shared.contracts.feedback_received import Formula, Metric

Dimension = Literal["touchpoint", "department", "product", "segment", "channel", "wave", "issue"]
RollUp = Annotated[tuple[Dimension, ...], Field(max_length=4)]


def _known(zone: str) -> str:
    if zone not in available_timezones():
        raise ValueError("is no time zone of the IANA database; write it as Europe/Istanbul")
    return zone


class RulesModel(BaseModel):
    """How answers become scores. Whatever changes sums makes them be counted anew, in the background."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"roll_ups": [["department", "wave"]]}})

    roll_ups: tuple[RollUp, ...] = Field(
        default=DEFAULT_ROLL_UPS,  # type: ignore[arg-type]  # the same words
        max_length=32,
        description="Sets of dimensions by which scores are kept, besides the score over all answers.",
    )
    formulas: dict[Label, dict[Metric, Formula]] = Field(
        default_factory=dict,
        max_length=200,
        description="Survey → metric → formula, where it is not the one that its source names.",
    )
    time_zone: Annotated[str, AfterValidator(_known)] = Field(
        default="UTC", description="Whose months, quarters and days count."
    )
    one_per_person: bool = Field(
        default=False,
        description="Of several answers of a person to the same survey only the latest in a window counts.",
    )
    minimum_n: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Below so many answers a score is not reportable; the installation's if absent."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for dimensions in self.roll_ups:
            if len(set(dimensions)) < len(dimensions):
                raise ValueError(f"roll_ups: {','.join(dimensions)} names a dimension twice")
        return self

    def rules(self) -> Rules:
        """The same for the engine."""
        return Rules(self.roll_ups, self.formulas, self.time_zone, self.one_per_person, self.minimum_n)

    @staticmethod
    def of(rules: Rules) -> "RulesModel":
        """Undo `rules`."""
        return RulesModel.model_validate(rules.stored())
