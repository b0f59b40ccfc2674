"""A measured figure on its scale: the result, what chance does to it, and (for staff) where credit begins and is full.

The student's edition has no thresholds, so its scale is that of the figure alone: 0 to 100 % of a share, and from 0 up
for an error. The staff's shows the stretch that matters: from below the floor to beyond the full mark.
"""

from __future__ import annotations

from grader.records import Figure, Record
from grader.reports.text import number, significant


class Band(Record, frozen=True):
    """Positions in percent of the drawing's width, and the figures as text. Zones are (x, width)."""

    value: str
    lo: str
    hi: str
    left: str
    right: str
    at: float
    chance: tuple[float, float]
    floor: str = ""
    full: str = ""
    partial: tuple[float, float] | None = None
    passed: tuple[float, float] | None = None


def band(figure: Figure) -> Band:
    """The figure, placed."""
    low, high = _scale(figure)

    def at(value: float) -> float:
        return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)

    def between(one: float, other: float) -> tuple[float, float]:
        start, end = sorted((at(one), at(other)))
        return start, round(end - start, 2)

    def text(value: float) -> str:
        return f"{significant(value)} {figure.unit}" if figure.unit else f"{number(100 * value, 1)} %"

    plain = Band(
        value=text(figure.value),
        lo=text(figure.lo),
        hi=text(figure.hi),
        left=text(low),
        right=text(high),
        at=at(figure.value),
        chance=between(figure.lo, figure.hi),
    )
    if figure.floor is None or figure.full is None:
        return plain
    best = high if figure.full > figure.floor else low
    fields = {name: getattr(plain, name) for name in plain.__struct_fields__}
    zones = {"partial": between(figure.floor, figure.full), "passed": between(figure.full, best)}
    return Band(**fields | zones | {"floor": text(figure.floor), "full": text(figure.full)})


def _scale(figure: Figure) -> tuple[float, float]:
    """Where the drawing begins and ends."""
    known = [figure.value, figure.lo, figure.hi]
    if figure.floor is None or figure.full is None:
        return (0.0, max(known) * 1.5 or 1.0) if figure.unit else (0.0, 1.0)
    known += [figure.floor, figure.full]
    margin = 0.6 * abs(figure.full - figure.floor)
    low, high = min(known) - margin, max(known) + margin
    return max(0.0, low), high if figure.unit else min(1.0, high)
