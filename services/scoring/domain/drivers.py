"""What moved a score: the parts of it, each by how its own value changed and by how its share changed.

With w the shares and v the values of the parts before (0) and now (1), and V̄ the mean of the two totals,
    rate = (v1 − v0) · (w0 + w1) / 2        mix = (w1 − w0) · ((v0 + v1) / 2 − V̄)
add up to the change exactly (midpoint form of Kitagawa 1955; V̄ only says what is more and what less than usual).
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

P = TypeVar("P")


class Part(NamedTuple):
    """A part of the answers: how many, and their value."""

    n: int
    value: float
    """What counts nothing where n is 0."""


class Contribution(NamedTuple):
    """Points of the change that a part is responsible for."""

    rate: float
    mix: float

    @property
    def points(self) -> float:
        """Both together."""
        return self.rate + self.mix


def contributions(before: Mapping[P, Part], now: Mapping[P, Part]) -> dict[P, Contribution]:
    """Of every part, largest first. {} where one side has no answers: there is no change to explain.

    A part that is only there on one side has no change of its own: what it does is mix.
    """
    n0, n1 = (sum(part.n for part in side.values()) for side in (before, now))
    if not n0 or not n1:
        return {}
    total0, total1 = (sum(part.n * part.value for part in side.values()) / n for side, n in ((before, n0), (now, n1)))
    middle = (total0 + total1) / 2
    found = {}
    for part in before.keys() | now.keys():
        one, other = before.get(part, Part(0, 0.0)), now.get(part, Part(0, 0.0))
        v0 = one.value if one.n else other.value
        v1 = other.value if other.n else one.value
        w0, w1 = one.n / n0, other.n / n1
        found[part] = Contribution((v1 - v0) * (w0 + w1) / 2, (w1 - w0) * ((v0 + v1) / 2 - middle))
    return dict(sorted(found.items(), key=lambda item: (-abs(item[1].points), str(item[0]))))
