"""What has to happen so that a bus has the topics of the contracts: computed first, shown, then done.

Partition counts never change, because the order per key rests on them; and a plan never takes away what is promised:
records that are kept longer, replicas, a size that senders count on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from shared.core.errors import Conflict, Fault


@dataclass(frozen=True, slots=True)
class Shape:
    """A topic as a bus has it, or is to have it. `settings` by the bus's own names."""

    name: str
    partitions: int
    replicas: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)


class Action(StrEnum):
    """What becomes of a topic."""

    CREATE = "create"
    CHANGE = "change"
    KEEP = "unchanged"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Step:
    """One topic of a plan; `why` has a line for each difference. A refused topic blocks the whole plan."""

    action: Action
    wanted: Shape
    why: tuple[str, ...] = ()


def plan(wanted: Sequence[Shape], there: Mapping[str, Shape]) -> tuple[Step, ...]:
    """One step per wanted topic, in their order; topics that nobody wants are left alone."""
    return tuple(_step(shape, there.get(shape.name)) for shape in wanted)


def refuse_blocked(steps: Sequence[Step]) -> None:
    """Raise Conflict when a plan cannot be done; nothing of it is done then."""
    if refused := [step for step in steps if step.action is Action.REFUSE]:
        faults = [Fault(step.wanted.name, why) for step in refused for why in step.why]
        names = ", ".join(step.wanted.name for step in refused)
        raise Conflict(f"nothing was changed, because {names} cannot become what the contracts say", faults=faults)


def _step(wanted: Shape, found: Shape | None) -> Step:
    if found is None:
        counts = [f"{wanted.partitions} partitions", f"{wanted.replicas} replicas"]
        settings = [f"{name} {value}" for name, value in sorted(wanted.settings.items())]
        return Step(Action.CREATE, wanted, (", ".join(counts + settings),))
    if refusals := (*_shape_refusals(wanted, found), *_setting_refusals(wanted, found)):
        return Step(Action.REFUSE, wanted, refusals)
    changes = tuple(
        f"{name} {found.settings.get(name, 'unset')} → {value}"
        for name, value in sorted(wanted.settings.items())
        if found.settings.get(name) != value
    )
    return Step(Action.CHANGE if changes else Action.KEEP, wanted, changes)


def _shape_refusals(wanted: Shape, found: Shape) -> tuple[str, ...]:
    refusals = []
    if found.partitions != wanted.partitions:
        refusals.append(
            f"it has {found.partitions} partitions, not {wanted.partitions}: the order of a customer's events rests on "
            "the count, so it never changes; make a new topic version and replay into it"
        )
    if found.replicas != wanted.replicas:
        refusals.append(
            f"it has {found.replicas} replicas, not {wanted.replicas}: move it with kafka-reassign-partitions.sh, "
            "which can be watched and throttled, then plan again"
        )
    return tuple(refusals)


def _setting_refusals(wanted: Shape, found: Shape) -> tuple[str, ...]:
    """Numbers that would become smaller: shorter retention deletes records at once."""
    refusals = []
    for name, value in sorted(wanted.settings.items()):
        before = found.settings.get(name, "")
        if _is_number(before) and _is_number(value) and _size(value) < _size(before):
            refusals.append(
                f"{name} would shrink from {before} to {value}: that takes away what is kept or allowed now; "
                "set it by hand with kafka-configs.sh if that is meant"
            )
    return tuple(refusals)


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def _size(text: str) -> float:
    return float(text) if int(text) >= 0 else float("inf")  # Kafka's -1 is "no limit"
