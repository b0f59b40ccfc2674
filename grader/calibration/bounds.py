"""From measured statistics to thresholds: who falls short of a full mark, how probably, and what mark is fair.

A correct solution loses points where the statistic that decides (the end of its interval in its favour) falls short of
the full mark, or where the value itself does not clear the floor, since doubt helps nobody there. Both count as lost; so
the bound is the sum of both. Of several scales on which a normal distribution fits well, the one with the largest
probability counts; of what cannot be negative only the logarithm is fitted, since a distribution that allows for less than
nothing says nothing of a mark near zero. A mark is fair if a correct solution misses it with a probability of at most
``RISK``, with 95 % confidence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from grader import rubric
from grader.calibration.fits import (
    FEWEST,
    IDENTITY,
    LOG,
    LOGIT,
    PLAUSIBLE,
    REJECTED,
    Fit,
    Floats,
    Scale,
    fit_counts,
    fit_normal,
    fit_tail,
    share_of,
)
from grader.records import Measured, Record, Threshold

#: The probability of losing points that a correct solution may be exposed to.
RISK = 0.001
#: Up to so many rows a share moves in steps that no continuous distribution shows.
FEW_ROWS = 100


class Bound(Record, frozen=True):
    """How probably a correct solution misses the full mark. ``goodness`` None: too few runs to tell."""

    lost: int
    runs: int
    estimate: float
    upper: float
    model: str
    goodness: float | None

    @property
    def fits(self) -> bool:
        return self.goodness is None or self.goodness >= REJECTED

    @property
    def holds(self) -> bool:
        return self.upper <= RISK


def earns_full(measured: Measured, threshold: Threshold) -> bool:
    """Whether this value has all points, as the rubric gives them."""
    if threshold.full > threshold.floor:
        return measured.best >= threshold.full and measured.value > threshold.floor
    return measured.best <= threshold.full and measured.value < threshold.floor


def bound(sample: Sequence[Measured], threshold: Threshold) -> Bound:
    """The probability that a further run like these misses the full mark."""
    runs = len(sample)
    lost = sum(not earns_full(measured, threshold) for measured in sample)
    if runs < FEWEST:
        return Bound(lost=lost, runs=runs, estimate=lost / max(runs, 1), upper=1.0, model="too few", goodness=None)
    sides = _sides(sample, threshold)
    estimate = min(1.0, sum(side.fit.estimate(side.limit) for side in sides))
    upper = min(1.0, sum(side.fit.upper(side.limit) for side in sides))
    if lost:  # a fit does not argue away what was seen
        estimate, upper = max(estimate, lost / runs), max(upper, share_of(lost, runs))
    worst = min(sides, key=lambda side: side.fit.goodness)
    return Bound(
        lost=lost, runs=runs, estimate=estimate, upper=upper, model=worst.fit.model, goodness=worst.fit.goodness
    )


@dataclass(frozen=True)
class _Side:
    """One way to lose points: the fit of a statistic, more being better, and what it must reach."""

    fit: Fit
    limit: float


def _sides(sample: Sequence[Measured], threshold: Threshold) -> list[_Side]:
    sign = 1.0 if threshold.full > threshold.floor else -1.0
    rows = max(measured.rows for measured in sample)
    values = sign * np.array([measured.value for measured in sample])
    if sample[0].kind == "share" and sign > 0:
        needed = right_for(threshold, rows)
        if rows <= FEW_ROWS:
            return [_Side(fit_counts(_right(values, rows), rows), needed)]
        smoothed = (values * rows + 0.5) / (rows + 1)
        return [_fitted(smoothed, needed / (rows + 1), (LOGIT,))]
    scales = (LOG,) if threshold.positive else _scales(values)
    sides = [_fitted(sign * np.array([measured.best for measured in sample]), sign * threshold.full, scales)]
    if sample[0].kind == "error":  # doubt reaches past the floor, where it does not count
        sides.append(_fitted(values, sign * threshold.floor, scales))
    return sides


def _right(values: Floats, rows: int) -> np.typing.NDArray[np.int64]:
    return np.rint(values * rows).astype(np.int64)


def _scales(values: Floats) -> tuple[Scale, ...]:
    """The scales that these values allow; a share-like number is measured on all three."""
    if (values > 0).all() and (values < 1).all():
        return IDENTITY, LOG, LOGIT
    return (IDENTITY, LOG) if (values < 0).all() or (values > 0).all() else (IDENTITY,)


def _fitted(values: Floats, limit: float, scales: tuple[Scale, ...]) -> _Side:
    """The fit with the largest probability among those that hold; else a heavier tail, else the best of the bad."""
    normal = [fit_normal(values, scale) for scale in scales]
    good: list[Fit] = [fit for fit in normal if fit.goodness >= PLAUSIBLE]
    good = good or [fit for fit in normal if fit.goodness >= REJECTED]
    if not good:
        good = [fit for scale in scales[:1] if (fit := fit_tail(values, scale)) is not None]
    if not good:
        good = [max(normal, key=lambda fit: fit.goodness)]
    return _Side(max(good, key=lambda fit: fit.upper(limit)), limit)


# ---------------------------------------------------------------- marks that are fair


def right_for(threshold: Threshold, rows: int) -> int:
    """How many of ``rows`` must be right for all points, by the rubric; one more than there are where none suffices."""
    low, high = 0, rows + 1
    while low < high:
        middle = (low + high) // 2
        enough = rubric.accuracy_credit(middle, rows, threshold).fraction >= 1.0
        low, high = (low, middle) if enough else (middle + 1, high)
    return low


def fair_full(sample: Sequence[Measured], threshold: Threshold) -> float | None:
    """The strictest full mark that is fair to these runs; None where none beyond the floor is, or runs are too few.

    Rounded to three digits towards the lenient side.
    """
    if len(sample) < FEWEST:
        return None
    rising = threshold.full > threshold.floor
    if sample[0].kind == "share" and rising:
        rows = max(measured.rows for measured in sample)
        return _rounded(rubric.wilson(_fair_count(sample, rows), rows)[1], rising=True)
    strict = float(np.median([measured.best for measured in sample]))
    full = _bisect(strict, threshold.floor, lambda mark: _misses(sample, threshold, mark) <= RISK)
    return None if full is None else _rounded(full, rising=rising)


def _misses(sample: Sequence[Measured], threshold: Threshold, mark: float) -> float:
    """The upper bound of missing the mark alone; that of missing the floor no full mark can mend."""
    side = _sides(sample, threshold)[0]
    return side.fit.upper(mark if threshold.full > threshold.floor else -mark)


def _fair_count(sample: Sequence[Measured], rows: int) -> int:
    """The most right answers that a correct solution has but with a fair risk."""
    values = np.array([measured.value for measured in sample])
    if rows <= FEW_ROWS:
        fit = fit_counts(_right(values, rows), rows)
        return max(count for count in range(rows + 1) if count == 0 or fit.upper(count) <= RISK)
    smoothed = (values * rows + 0.5) / (rows + 1)
    low, high = 0, rows
    while low < high:
        middle = (low + high + 1) // 2
        side = _fitted(smoothed, middle / (rows + 1), (LOGIT,))
        low, high = (middle, high) if side.fit.upper(side.limit) <= RISK else (low, middle - 1)
    return low


def _bisect(strict: float, lenient: float, fair: Callable[[float], bool]) -> float | None:
    if not fair(lenient):
        return None
    for _ in range(40):
        middle = (strict + lenient) / 2
        strict, lenient = (strict, middle) if fair(middle) else (middle, lenient)
    return lenient


def _rounded(value: float, *, rising: bool) -> float:
    """Three digits after the point, towards the side that asks less."""
    return round((math.floor if rising else math.ceil)(value * 1000 + (1e-6 if rising else -1e-6)) / 1000, 3)
