"""Distributions fitted to what correct solutions reach, and how probable it is to fall short of a limit.

Theory of operation. All runs are independent: each trains with its own seed and meets a course of its own. A fit
answers two questions about a limit: how probable it is that a further run falls short of it (``estimate``), and what
that probability is at most, with 95 % confidence, given so few runs (``upper``). Here more is always better; what is
better when it is less comes in negated (see ``bounds``).

- A share of many rows, an error and other numbers: normal on a suitable scale (as it is, log or logit), tested by
  Anderson and Darling's statistic for an estimated mean and variance. The upper end of the probability follows from
  that of the distance between mean and limit in standard deviations, whose variance is about 1/n + d^2 / (2 (n - 1)).
- Where no normal distribution fits: an exponential tail beyond the lowest 15 %, which is heavier than a normal one.
- A share of few rows: a beta-binomial distribution by maximum likelihood, with a parametric bootstrap. Where rows are
  drawn from a small pool that always has the same few difficult ones (30 of 150 flowers), counts vary less than
  binomial ones, and its other end, the hypergeometric distribution, fits.

Nothing is drawn without a fixed seed: the same runs give the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

NORMAL = NormalDist()
#: One-sided confidence of every upper bound.
CONFIDENCE = 0.95
Z = NORMAL.inv_cdf(CONFIDENCE)
#: A fit that is less probable than this is a bad one; one above the other cannot be told from a good one.
REJECTED, PLAUSIBLE = 0.01, 0.05
#: Fewer runs than these tell nothing of a tail.
FEWEST = 8
#: The share of runs that counts as the tail, and the fewest runs that it must hold.
TAIL, FEWEST_IN_TAIL = 0.15, 6


class Fit(Protocol):
    """A fitted distribution. ``goodness`` is the probability of data that fit worse, were the model true."""

    @property
    def model(self) -> str: ...

    @property
    def goodness(self) -> float: ...

    def estimate(self, limit: float) -> float:
        """The probability of a value below the limit."""
        ...

    def upper(self, limit: float) -> float:
        """What that probability is at most, with 95 % confidence."""
        ...


@dataclass(frozen=True)
class Scale:
    """Where a value is measured before a normal distribution is fitted; must rise with it."""

    name: str
    apply: Callable[[Floats], Floats]

    def at(self, value: float) -> float:
        return float(self.apply(np.array([value]))[0])


TINY = 1e-9
IDENTITY = Scale("", lambda values: values)
LOGIT = Scale("logit", lambda v: np.log(np.clip(v, TINY, 1 - TINY) / (1 - np.clip(v, TINY, 1 - TINY))))
#: Of a negated positive value: -log(x) falls as x rises.
LOG = Scale("log", lambda v: np.where(v < 0, -np.log(np.maximum(-v, TINY)), np.log(np.maximum(v, TINY))))


def share_of(count: int, runs: int) -> float:
    """What a share is at most, with 95 % confidence: the rule of three (3 / n) and its like."""
    if runs == 0 or count >= runs:
        return 1.0
    if count == 0:
        return 1.0 - float((1 - CONFIDENCE) ** (1 / runs))
    low, high = count / runs, 1.0
    for _ in range(60):  # Clopper and Pearson's: where so few or fewer are seen once in twenty
        middle = (low + high) / 2
        few = math.fsum(math.comb(runs, k) * middle**k * (1 - middle) ** (runs - k) for k in range(count + 1))
        low, high = (middle, high) if few > 1 - CONFIDENCE else (low, middle)
    return high


# ---------------------------------------------------------------- normal


@dataclass(frozen=True)
class NormalFit:
    """Normal on a scale."""

    scale: Scale
    mean: float
    sd: float
    runs: int
    goodness: float

    @property
    def model(self) -> str:
        return f"normal{f' ({self.scale.name})' if self.scale.name else ''}"

    def distance(self, limit: float) -> float:
        """How many standard deviations the limit lies below the mean."""
        return (self.mean - self.scale.at(limit)) / self.sd

    def estimate(self, limit: float) -> float:
        return NORMAL.cdf(-self.distance(limit))

    def upper(self, limit: float) -> float:
        if self.runs < FEWEST:
            return 1.0
        far = self.distance(limit)
        return NORMAL.cdf(Z * math.sqrt(1 / self.runs + far * far / (2 * (self.runs - 1))) - far)


def fit_normal(values: Floats, scale: Scale) -> NormalFit:
    """Mean, standard deviation and Anderson-Darling test on that scale."""
    scaled = scale.apply(values)
    sd = float(scaled.std(ddof=1)) if len(values) > 1 else 0.0
    goodness = anderson_darling(scaled) if sd > TINY and len(values) >= FEWEST else 1.0
    return NormalFit(scale, float(scaled.mean()), max(sd, TINY), len(values), goodness)


def anderson_darling(values: Floats) -> float:
    """The probability of a worse fit to a normal distribution of estimated mean and variance (D'Agostino, Stephens)."""
    ordered = np.sort((values - values.mean()) / values.std(ddof=1))
    n = len(ordered)
    below = np.clip([NORMAL.cdf(float(value)) for value in ordered], 1e-300, 1 - 1e-16)
    weights = 2 * np.arange(1, n + 1) - 1
    square = -n - float((weights * (np.log(below) + np.log1p(-below[::-1]))).mean())
    a = square * (1 + 0.75 / n + 2.25 / n**2)
    if a < 0.2:
        return 1 - math.exp(-13.436 + 101.14 * a - 223.73 * a * a)
    if a < 0.34:
        return 1 - math.exp(-8.318 + 42.796 * a - 59.938 * a * a)
    if a < 0.6:
        return math.exp(0.9177 - 4.279 * a - 1.38 * a * a)
    return math.exp(1.2937 - 5.709 * a + 0.0186 * a * a) if a < 13 else 0.0


# ---------------------------------------------------------------- an exponential tail


@dataclass(frozen=True)
class TailFit:
    """Beyond ``start`` towards the worse side the excess is exponential with that ``mean`` (on the scale)."""

    scale: Scale
    start: float
    mean: float
    beyond: int
    runs: int
    goodness: float

    @property
    def model(self) -> str:
        return f"exponential tail{f' ({self.scale.name})' if self.scale.name else ''}"

    def estimate(self, limit: float) -> float:
        return min(1.0, self.beyond / self.runs * self._further(limit, self.mean))

    def upper(self, limit: float) -> float:
        degrees = 2 * self.beyond
        chi = degrees * (1 - 2 / (9 * degrees) - Z * math.sqrt(2 / (9 * degrees))) ** 3  # Wilson and Hilferty's 5 %
        return min(1.0, share_of(self.beyond, self.runs) * self._further(limit, self.mean * degrees / chi))

    def _further(self, limit: float, mean: float) -> float:
        excess = self.start - self.scale.at(limit)
        return math.exp(-excess / mean) if excess > 0 else self.runs / self.beyond


def fit_tail(values: Floats, scale: Scale) -> TailFit | None:
    """The exponential tail of the lowest runs; None where they are too few."""
    scaled = np.sort(scale.apply(values))
    beyond = int(len(values) * TAIL)
    if beyond < FEWEST_IN_TAIL:
        return None
    start = float(scaled[beyond])
    excess = start - scaled[:beyond]
    mean = float(excess.mean())
    if mean <= 0:
        return None
    # The largest of m exponential excesses stays below x with (1 - exp(-x / mean))^m; a far outlier makes this small.
    goodness = 1 - (1 - math.exp(-float(excess.max()) / mean)) ** beyond
    return TailFit(scale, start, mean, beyond, len(values), goodness)


# ---------------------------------------------------------------- a share of few rows

#: Overdispersions tried, theta = rho / (1 - rho); 0 is the binomial distribution.
THETAS = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 25)])
#: The smallest pools tried, in samples; -1 / pool is the theta of a hypergeometric distribution.
POOLS = np.array([5.0, 10.0, 20.0])
BOOTSTRAPS = 300


@dataclass(frozen=True)
class CountFit:
    """Beta-binomial: how many of ``rows`` rows are right. Limits are counts: ``estimate(k)`` is P(fewer than k)."""

    share: float
    theta: float
    rows: int
    runs: int
    counts: tuple[int, ...]

    @property
    def model(self) -> str:
        return "binomial" if self.theta == 0 else "beta-binomial" if self.theta > 0 else "hypergeometric"

    @cached_property
    def _below(self) -> Floats:
        """P(fewer than k right) for k = 0 ... rows + 1."""
        return below(self.share, self.theta, self.rows)

    @cached_property
    def _again(self) -> tuple[Floats, Floats]:
        """Fits to samples of this fit: P(fewer than k), and how far each sample lies from its own fit."""
        generator = np.random.default_rng(len(self.counts) + self.rows)
        lines, distances = [], []
        for _ in range(BOOTSTRAPS):
            drawn = np.searchsorted(self._below, generator.random(self.runs), side="right") - 1
            counts = np.bincount(np.clip(drawn, 0, self.rows), minlength=self.rows + 1)
            line = below(*maximum_likelihood(counts), self.rows)
            lines.append(line)
            distances.append(apart(counts, line))
        return np.array(lines), np.array(distances)

    @cached_property
    def goodness(self) -> float:
        return float((self._again[1] >= apart(np.array(self.counts), self._below) - TINY).mean())

    def estimate(self, limit: float) -> float:
        return float(self._below[_count(limit, self.rows)])

    def upper(self, limit: float) -> float:
        if self.runs < FEWEST:
            return 1.0
        return float(np.quantile(self._again[0][:, _count(limit, self.rows)], CONFIDENCE))


def _count(limit: float, rows: int) -> int:
    return min(max(math.ceil(limit - TINY), 0), rows + 1)


def fit_counts(right: Counts, rows: int) -> CountFit:
    """The likeliest beta-binomial distribution of these counts."""
    counts = np.bincount(right, minlength=rows + 1)
    share, theta = maximum_likelihood(counts)
    return CountFit(share, theta, rows, len(right), tuple(int(n) for n in counts))


def maximum_likelihood(counts: Counts) -> tuple[float, float]:
    """(share, theta). The share is the mean, kept off 0 and 1 by half a row over all runs (Jeffreys)."""
    rows = len(counts) - 1
    total = counts.sum() * rows
    share = (float(counts @ np.arange(rows + 1)) + 0.5) / (total + 1)
    thetas = np.concatenate([-1 / (POOLS * rows), THETAS])
    seen = counts > 0
    likelihoods = log_pmf(share, thetas, rows)[:, seen] @ counts[seen]
    return share, float(thetas[int(np.argmax(likelihoods))])


def log_pmf(share: float, thetas: Floats, rows: int) -> Floats:
    """Logarithms of P(k right of ``rows``): a line for each theta, an entry for each k.

    Rising (or falling) factorials in steps of theta, so that 0 needs no limit. What a small pool does not hold has the
    probability 0.
    """
    steps = np.arange(rows) * thetas[:, np.newaxis]
    hits, misses = (_sums(_log(start + steps)) for start in (share, 1 - share))
    choices = _sums(np.log(np.arange(rows, 0, -1) / np.arange(1, rows + 1))[np.newaxis])
    lines = choices + hits + misses[:, ::-1]
    result: Floats = lines - np.log(np.exp(lines).sum(axis=1, keepdims=True))
    return result


def _log(values: Floats) -> Floats:
    """Logarithms; of nothing and less, minus infinity."""
    return np.where(values > 0, np.log(np.where(values > 0, values, 1.0)), -np.inf)


def _sums(terms: Floats) -> Floats:
    """The sums of the first 0, 1, 2 ... entries of each line."""
    return np.concatenate([np.zeros((len(terms), 1)), np.cumsum(terms, axis=1)], axis=1)


def below(share: float, theta: float, rows: int) -> Floats:
    """P(fewer than k right), k = 0 ... rows + 1."""
    line: Floats = np.concatenate([np.zeros(1), np.cumsum(np.exp(log_pmf(share, np.array([theta]), rows)[0]))])
    return line.clip(0.0, 1.0)


def apart(counts: Counts, line: Floats) -> float:
    """The largest distance between a sample's distribution and a fitted one."""
    return float(np.abs(np.cumsum(counts) / counts.sum() - line[1:]).max())
