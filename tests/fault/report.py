"""The table of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.fault.checkers import Findings

_HEAD = ("", "promise", "faults", "events", "lost", "phant", "dupl", "inver", "gaps", "unknown", "recovery", "took")
_FORMAT = "{:4} {:22} {:>6} {:>7} {:>5} {:>5} {:>5} {:>5} {:>5} {:>7} {:>15} {:>6}  {}"


@dataclass
class Row:
    """What became of one promise. `broke`: it did not come to its end."""

    name: str
    title: str
    faults: Mapping[str, int]
    findings: Findings
    took_seconds: float
    broke: bool = False

    @property
    def passed(self) -> bool:
        """Kept."""
        return not self.broke and self.findings.passed()


def table(rows: Sequence[Row], head: bool = True) -> str:
    """A line per promise, and under it what was done and what was wrong."""
    lines = ["", _FORMAT.format(*_HEAD, "verdict").rstrip()] if head else []
    for row in rows:
        found = row.findings
        seconds, bound = found.recovery_seconds, found.recovery_bound
        recovery = "never" if seconds is None else f"{seconds:.1f} s"
        lines.append(
            _FORMAT.format(
                row.name,
                row.title,
                sum(row.faults.values()),
                found.events,
                found.lost,
                found.phantom,
                found.duplicates,
                found.inversions,
                found.skips + found.backwards,
                found.unknown,
                recovery if bound is None else f"{recovery} / {bound:.0f}",
                f"{row.took_seconds:.0f} s",
                "kept" if row.passed else "BROKEN",
            )
        )
        lines.append("       " + ", ".join(f"{count} × {fault}" for fault, count in sorted(row.faults.items())))
        lines += [f"     ! {note}" for note in found.notes]
        lines += [f"     ! {kind}: {example}" for kind, example in found.examples.items()]
        if not found.recovered():
            lines.append("     ! recovery was too slow")
    return "\n".join(lines)
