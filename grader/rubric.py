"""Outcomes to points, purely: the same facts always give the same score.

Training is random, so a threshold is a statistic: below ``floor`` nothing, from ``full`` on everything, linear
between. A value measured on n held-out rows is itself uncertain; where its interval reaches the full mark, the
student gets the benefit of the doubt. n counts original rows: perturbed copies of a row add no information.
Anything missing, infinite or not a number earns nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from grader.errors import LabError
from grader.records import CheckResult, Outcome, Record, Threshold

Z_95 = 1.959963984540054  # two-sided 95 %


class Credit(Record, frozen=True):
    """A share of the points, the interval of the measured value, and whether doubt raised the share to 1."""

    fraction: float
    value: float
    lo: float
    hi: float
    doubt: bool = False


def linear_credit(value: float, floor: float, full: float) -> float:
    """0 at ``floor``, 1 at ``full``, linear between; ``full`` below ``floor`` means that less is better."""
    if not math.isfinite(value):
        return 0.0
    if floor == full:
        return 1.0 if value >= full else 0.0
    return min(1.0, max(0.0, (value - floor) / (full - floor)))


def wilson(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval of a share; with no trials, everything is possible."""
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # The ends are exact by algebra; floating point misses them by 1e-17.
    lo = 0.0 if successes == 0 else max(0.0, centre - half)
    hi = 1.0 if successes == n else min(1.0, centre + half)
    return lo, hi


def accuracy_credit(correct: int, n: int, threshold: Threshold, z: float = Z_95) -> Credit:
    """Credit for ``correct`` of ``n`` right. Doubt helps only a value above the floor."""
    if threshold.full <= threshold.floor:
        raise LabError(f"accuracy has full = {threshold.full:g} below floor = {threshold.floor:g}", fix="swap them")
    lo, hi = wilson(correct, n, z)
    if n == 0:
        return Credit(fraction=0.0, value=0.0, lo=lo, hi=hi)
    value = correct / n
    doubt = threshold.floor < value < threshold.full <= hi
    fraction = 1.0 if doubt else linear_credit(value, threshold.floor, threshold.full)
    return Credit(fraction=fraction, value=value, lo=lo, hi=hi, doubt=doubt)


def error_credit(
    errors: Sequence[float] | npt.NDArray[np.floating], threshold: Threshold, *, seed: int = 0, resamples: int = 2000
) -> Credit:
    """Credit for a mean absolute error, from one error per original row; the interval is a seeded bootstrap's."""
    if threshold.full >= threshold.floor:
        raise LabError(f"error has full = {threshold.full:g} above floor = {threshold.floor:g}", fix="swap them")
    rows = np.abs(np.asarray(errors, dtype=np.float64)).ravel()
    if rows.size == 0 or not np.isfinite(rows).all():
        return Credit(fraction=0.0, value=math.inf, lo=0.0, hi=math.inf)
    generator = np.random.default_rng(seed)
    # One resample at a time: 2,000 x 10,000 rows at once would take 160 MB.
    means = [float(rows[generator.integers(0, rows.size, rows.size)].mean()) for _ in range(resamples)]
    lo, hi = (float(end) for end in np.percentile(means, (2.5, 97.5)))
    value = float(rows.mean())
    doubt = lo <= threshold.full < value < threshold.floor
    fraction = 1.0 if doubt else linear_credit(value, threshold.floor, threshold.full)
    return Credit(fraction=fraction, value=value, lo=lo, hi=hi, doubt=doubt)


def total(checks: Iterable[CheckResult]) -> tuple[float, float]:
    """(score, max_score). Only a check that cannot be assessed here leaves the maximum."""
    earned: list[float] = []
    possible: list[float] = []
    for check in checks:
        if check.outcome is Outcome.SKIPPED and not check.blocked_by:
            continue
        possible.append(check.points)
        earned.append(_earned(check))
    return round(math.fsum(earned), 6), round(math.fsum(possible), 6)


def _earned(check: CheckResult) -> float:
    """Fail closed: points need an outcome that earns, a finite score, and evidence as strong as the check demands."""
    if check.outcome not in (Outcome.PASSED, Outcome.FAILED) or not math.isfinite(check.score):
        return 0.0
    if check.evidence is None or check.evidence.rank < max(check.required.rank, 1):
        return 0.0
    return min(max(check.score, 0.0), check.points)
