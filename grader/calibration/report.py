"""What the kept runs say about the present thresholds and the other checks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grader.calibration.bounds import RISK, Bound, bound, earns_full, fair_full
from grader.calibration.fits import share_of
from grader.calibration.kept import Run
from grader.calibration.trials import Style, current, suite_digest
from grader.labs import Lab
from grader.records import Measured, Record, Threshold, Tier
from grader.rubric import linear_credit

#: Fewer runs of a baseline say nothing.
BASELINE_RUNS = 3
#: A baseline that earns more than this share of a check's points is told.
LAX = 0.5


class Spread(Record, frozen=True):
    """The distribution of one statistic over the runs of one notebook. ``full`` counts runs with full marks."""

    style: str
    baseline: bool
    runs: int
    mean: float
    sd: float
    quantiles: tuple[float, float, float, float, float]  # lowest, 5 %, 50 %, 95 %, highest
    full: int
    credit: float
    bound: Bound | None = None  # of correct solutions


class Weighed(Record, frozen=True):
    """One threshold as one check uses it. ``full`` and ``floor`` are proposed, None where the runs do not tell."""

    check: str
    threshold: str
    present: Threshold
    spreads: tuple[Spread, ...]
    full: float | None
    floor: float | None

    @property
    def worst(self) -> Bound | None:
        """The bound of the correct solution that is worst off."""
        bounds = [spread.bound for spread in self.spreads if spread.bound is not None]
        return max(bounds, key=lambda bound: (bound.upper, bound.estimate), default=None)

    @property
    def holds(self) -> bool:
        return self.worst is not None and self.worst.holds


class Loss(Record, frozen=True):
    """How often correct solutions lost points at a check without a threshold. ``upper``: at most, with 95 % confidence."""

    check: str
    runs: int
    lost: int
    upper: float
    styles: tuple[str, ...] = ()


class Report(Record, frozen=True):
    """A lab's calibration on one tier. ``outdated`` counts runs that an older suite judged, which count all the same."""

    lab: str
    tier: Tier
    runs: int
    styles: tuple[str, ...]
    weighed: tuple[Weighed, ...]
    losses: tuple[Loss, ...]
    seconds: float
    outdated: int = 0
    endings: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return bool(self.runs) and all(w.holds for w in self.weighed) and not any(loss.lost for loss in self.losses)


def weigh(lab: Lab, tier: Tier, kept: Sequence[Run], among: Sequence[Style]) -> Report:
    """The report on the runs that count."""
    runs = current(kept, among)
    baselines = {style.name for style in among if style.baseline}
    correct = [run for run in runs if run.style not in baselines]
    weighed = tuple(
        _weigh(lab.threshold(tier, name), check.id, name, runs, [style for style in among if style.weighs(check.id)])
        for check in lab.checks
        for name in dict.fromkeys(found.threshold for run in runs for found in run.measured.get(check.id, ()))
    )
    with_threshold = {entry.check for entry in weighed}
    suite = suite_digest(lab)
    return Report(
        lab=lab.id,
        tier=tier,
        runs=len(correct),
        styles=tuple(style.name for style in among if not style.baseline),
        weighed=weighed,
        losses=tuple(_loss(check.id, correct) for check in lab.checks if check.id not in with_threshold),
        seconds=float(np.median([run.seconds for run in correct])) if correct else 0.0,
        outdated=sum(run.suite != suite for run in runs),
        endings=tuple(f"{run.style} {run.number}: {run.ending}" for run in correct if run.ending),
    )


def _weigh(present: Threshold, check: str, name: str, runs: Sequence[Run], styles: Sequence[Style]) -> Weighed:
    spreads, fulls, reached = [], [], []
    for style in styles:
        sample = [
            found.measured()
            for run in runs
            if run.style == style.name
            for found in run.measured.get(check, ())
            if found.threshold == name
        ]
        if not sample:
            continue
        spread = _spread(style.name, sample, present, baseline=style.baseline)
        spreads.append(spread)
        if not spread.baseline:
            fulls.append(fair_full(sample, present))
        elif spread.runs >= BASELINE_RUNS:
            reached.append(spread.mean)
    rising = present.full > present.floor
    fair = [full for full in fulls if full is not None]
    return Weighed(
        check=check,
        threshold=name,
        present=present,
        spreads=tuple(spreads),
        full=(min(fair) if rising else max(fair)) if fair and len(fair) == len(fulls) else None,
        floor=round(max(reached) if rising else min(reached), 3) if reached else None,
    )


def _spread(style: str, sample: Sequence[Measured], present: Threshold, *, baseline: bool) -> Spread:
    values = np.array([found.value for found in sample])
    full = [earns_full(found, present) for found in sample]
    partial = [linear_credit(found.value, present.floor, present.full) for found in sample]
    low, five, middle, most, high = (float(q) for q in np.quantile(values, (0, 0.05, 0.5, 0.95, 1)))
    return Spread(
        style=style,
        baseline=baseline,
        runs=len(sample),
        mean=float(values.mean()),
        sd=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        quantiles=(low, five, middle, most, high),
        full=sum(full),
        credit=float(np.mean(np.where(full, 1.0, partial))),
        bound=None if baseline else bound(sample, present),
    )


def _loss(check: str, correct: Sequence[Run]) -> Loss:
    asked = [run for run in correct if check not in run.skipped]
    losers = [run for run in asked if check in run.lost]
    return Loss(
        check=check,
        runs=len(asked),
        lost=len(losers),
        upper=share_of(len(losers), len(asked)),
        styles=tuple(dict.fromkeys(run.style for run in losers)),
    )


def complaints(report: Report) -> list[str]:
    """What does not hold, a sentence each; empty where everything does."""
    found = []
    if not report.runs:
        found.append("there are no runs: nothing is known")
    for weighed in report.weighed:
        found += _about(weighed)
    for loss in report.losses:
        if loss.lost:
            styles = ", ".join(loss.styles)
            found.append(f"{loss.check}: correct solutions lost points in {loss.lost} of {loss.runs} runs ({styles})")
    return found + [f"the run of {ending}" for ending in report.endings]


def _about(weighed: Weighed) -> list[str]:
    where = f"{weighed.check} (threshold {weighed.threshold})"
    found = []
    for spread in weighed.spreads:
        if spread.bound is None or spread.bound.holds:
            continue
        say = spread.bound
        if say.estimate > RISK:
            what = f"too strict: {spread.style} misses the full mark with probability {percent(say.estimate)}"
        else:
            what = f"not proved: too few runs of {spread.style} ({say.runs}) to exclude more than {percent(RISK)}"
        found.append(f"{where} is {what}; at most {percent(say.upper)}, {say.lost} of {say.runs} runs did")
    return found


def warnings(report: Report) -> list[str]:
    """What should be looked at, but is not wrong by itself."""
    found = [
        f"{weighed.check} (threshold {weighed.threshold}): {spread.bound.model} fits {spread.style} badly"
        f" (p = {spread.bound.goodness:.1g}): look at the distribution"
        for weighed in report.weighed
        for spread in weighed.spreads
        if spread.bound is not None and not spread.bound.fits and spread.bound.goodness is not None
    ]
    found += [
        f"{weighed.check} (threshold {weighed.threshold}) is lax: the baseline {spread.style} earns {spread.credit:.0%}"
        for weighed in report.weighed
        for spread in weighed.spreads
        if spread.baseline and spread.runs >= BASELINE_RUNS and spread.credit > LAX
    ]
    if report.outdated:
        found.append(f"{report.outdated} runs were judged by another version of the suite")
    return found


def percent(share: float) -> str:
    """``0.02 %``, ``< 0.001 %``."""
    if share < 1e-5:
        return "< 0.001 %"
    return f"{share * 100:.2g} %" if share < 0.995 else "100 %"
