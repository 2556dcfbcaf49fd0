"""What a workspace decides about its scores."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from services.scoring.domain.windows import Grid
from shared.contracts.feedback_received import Formula, Metric
from shared.core.errors import Fault, InvalidInput

RollUps = tuple[tuple[str, ...], ...]
DEFAULT_ROLL_UPS: RollUps = (
    (),
    ("channel",),
    ("department",),
    ("department", "issue"),
    ("department", "touchpoint"),
    ("issue",),
    ("product",),
    ("segment",),
    ("touchpoint",),
    ("wave",),
)


@dataclass(frozen=True)
class Rules:
    """How answers become scores in one workspace. Whatever changes sums makes them be counted anew."""

    roll_ups: RollUps = DEFAULT_ROLL_UPS
    """Sets of dimensions (each sorted by name) by which scores are kept; () is among them, always."""
    formulas: Mapping[str, Mapping[Metric, Formula]] = field(default_factory=dict)
    """Survey → metric → formula, where it is not the one that its source names."""
    time_zone: str = "UTC"
    one_per_person: bool = False
    """Of several answers of a person to a survey only the latest in a window counts."""
    minimum_n: int | None = None
    """Below so many answers a score is not reportable; None: what the installation says."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "roll_ups", tuple(sorted({tuple(sorted(names)) for names in (*self.roll_ups, ())})))

    @property
    def grid(self) -> Grid:
        """Its hours."""
        return Grid(self.time_zone)

    def refuse_unkept(self, path: str, names: tuple[str, ...]) -> None:
        """Raise InvalidInput unless scores are kept by this set of dimensions; `path` is where it was named."""
        if names not in self.roll_ups:
            kept = ", ".join(",".join(dimensions) or "all" for dimensions in self.roll_ups)
            message = f"No scores are kept by {','.join(names) or 'all'}."
            raise InvalidInput(message, faults=[Fault(path, f"scores are kept by {kept}")])

    def counts_like(self, other: "Rules") -> bool:
        """True where both make the same sums."""
        return self._counting == other._counting

    @property
    def _counting(self) -> tuple[Any, ...]:
        return self.roll_ups, self.formulas, self.time_zone, self.one_per_person

    def stored(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @staticmethod
    def of(stored: Mapping[str, Any]) -> "Rules":
        """Undo `stored`."""
        return Rules(**{**stored, "roll_ups": tuple(tuple(names) for names in stored["roll_ups"])})
