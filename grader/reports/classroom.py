"""A class in figures: the distribution of each lab, and how each check does its work. Pure.

Item analysis follows classical test theory. A check's *discrimination* is the correlation between the share earned in
it and the share earned in all other checks of the lab: near 1 it tells strong submissions from weak ones, near 0 it
tells nothing, below 0 the strong fail it more often than the weak, which mostly means that the check is wrong.
"""

from __future__ import annotations

import heapq
import math
import statistics
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from grader.records import Ending, Level, Outcome, Record, Tier, Verdict
from grader.reports.summary import kept_from
from grader.reports.text import clip

#: Below this, a correlation is chance: with 8 runs that have nothing in common it exceeds 0.6 in one case of ten.
ENOUGH_RUNS = 8
#: Columns of the distribution: tenths of the maximum, 100 % in the last.
TENTHS = 10
#: Characters of the reason that the overview shows; the card has all of it.
WHY = 160
SHOWN = 8
"""Rows of the lists of slowest runs and of common advice."""


class CheckScore(Record, frozen=True):
    """One check of one run, as the item analysis needs it."""

    id: str
    description: str
    points: float
    score: float
    outcome: Outcome
    blocked: bool = False


class ClassRow(Record, frozen=True):
    """One run as the overview shows it. ``card`` and ``page`` are paths relative to the overview, with ``/``.

    ``why`` says why it needs a look: the first reason of ours, or the kind and message of the first flag. ``advice`` holds
    the English sentences that the student's card gives as next steps.
    """

    lab: str
    student: str
    score: float
    max_score: float
    ending: Ending
    level: Level
    tier: Tier
    data: str = ""
    seconds: float = 0.0
    needs_attention: bool = False
    flags: int = 0
    why: str = ""
    lab_title: str = ""
    language: str = "en"
    card: str = ""
    page: str = ""
    checks: tuple[CheckScore, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def deferred(self) -> bool:
        """Whether it was not run and waits for another machine: no score, not a zero."""
        return self.ending is Ending.DEFERRED


class Item(Record, frozen=True):
    """A check in the whole class. ``failed`` earned nothing, ``blocked`` waited for another check."""

    id: str
    description: str
    points: float
    runs: int
    passed: int
    partial: int
    failed: int
    blocked: int
    errored: int
    mean: float
    discrimination: float | None


class LabFigures(Record, frozen=True):
    """How the class did in one lab. ``tenths`` counts runs by their share of the maximum."""

    lab: str
    title: str
    runs: int
    median: float
    mean: float
    lowest: float
    highest: float
    attention: int
    tenths: tuple[int, ...]
    items: tuple[Item, ...]


class Advice(Record, frozen=True):
    """A sentence that many cards say."""

    lab: str
    text: str
    runs: int


def class_row(verdict: Verdict, slug: str) -> ClassRow:
    """A run's line in the overview."""
    return ClassRow(
        lab=verdict.lab,
        lab_title=verdict.lab_title,
        language=verdict.language,
        student=verdict.student,
        score=verdict.score,
        max_score=verdict.max_score,
        ending=verdict.ending,
        needs_attention=bool(verdict.needs_attention),
        flags=len(verdict.flags),
        why=_why(verdict),
        level=verdict.level,
        tier=verdict.tier,
        data=verdict.data,
        seconds=verdict.timings.get("total", 0.0),
        card=f"{verdict.lab}/{slug}/staff/card.html",
        page=f"students/{slug}.html",
        checks=tuple(
            CheckScore(
                id=check.id,
                description=check.description,
                points=check.points,
                score=check.score,
                outcome=check.outcome,
                blocked=bool(check.blocked_by),
            )
            for check in verdict.checks
        ),
        advice=_advice(verdict),
    )


def _why(verdict: Verdict) -> str:
    told = [*verdict.needs_attention, *(f"{flag.kind}: {flag.message}" for flag in verdict.flags)]
    return clip(told[0], WHY) if told else ""


def _advice(verdict: Verdict) -> tuple[str, ...]:
    """What the card says to do: about errors, and about checks that earned less than they could.

    Not where the card sends the student to a failed cell instead: its error has advice of its own.
    """
    about_errors = [error.advice.text for error in verdict.cell_errors if error.advice]
    kept = kept_from(verdict)
    failed = [check for check in verdict.checks if check.outcome is Outcome.FAILED and check.points > 0]
    hints = [check.hint for check in failed if not kept.get(check.id)]
    lines = [line for hint in hints for line in hint.split("\n")]
    return tuple(dict.fromkeys(text for text in about_errors + lines if text))


# ---------------------------------------------------------------- the class


def figures(rows: Iterable[ClassRow], language: str = "en") -> list[LabFigures]:
    """Every lab, by its id. Runs that we could not do say nothing about the class and are left out of the figures."""
    labs: dict[str, _Lab] = {}
    for row in rows:
        labs.setdefault(row.lab, _Lab(row.lab, language)).take(row)
    return [labs[lab].figures() for lab in sorted(labs)]


@dataclass
class _Lab:
    """What is kept of the rows of a lab that were looked at: numbers, not the rows."""

    lab: str
    language: str
    title: str = ""
    translated: bool = False
    runs: int = 0
    attention: int = 0
    scores: array[float] = field(default_factory=lambda: array("d"))
    tenths: Counter[int] = field(default_factory=Counter)
    items: dict[str, _Item] = field(default_factory=dict)

    def take(self, row: ClassRow) -> None:
        self.runs += 1
        self.attention += row.needs_attention or row.flags > 0
        if row.lab_title and (not self.title or (row.language == self.language and not self.translated)):
            self.title, self.translated = row.lab_title, row.language == self.language
        if row.ending is Ending.OURS or row.deferred:
            return
        self.scores.append(row.score)
        self.tenths[min(TENTHS - 1, int(TENTHS * share(row.score, row.max_score)))] += 1
        for check in row.checks:
            if check.points > 0 and (check.outcome is not Outcome.SKIPPED or check.blocked):
                self.items.setdefault(check.id, _Item(check)).take(check, row)

    def figures(self) -> LabFigures:
        scores = self.scores or [0.0]
        return LabFigures(
            lab=self.lab,
            title=self.title or self.lab,
            runs=self.runs,
            median=statistics.median(scores),
            mean=statistics.fmean(scores),
            lowest=min(scores),
            highest=max(scores),
            attention=self.attention,
            tenths=tuple(self.tenths[place] for place in range(TENTHS)),
            items=tuple(item.figures() for item in self.items.values()),
        )


@dataclass
class _Item:
    """A scored check over all runs in which it could be assessed: the share earned in it, and in the rest of its lab."""

    check: CheckScore
    own: array[float] = field(default_factory=lambda: array("d"))
    rest: array[float] = field(default_factory=lambda: array("d"))
    ends: Counter[str] = field(default_factory=Counter)

    def take(self, check: CheckScore, row: ClassRow) -> None:
        self.own.append(share(check.score, check.points))
        self.rest.append(share(row.score - check.score, row.max_score - check.points))
        self.ends[_end(check)] += 1

    def figures(self) -> Item:
        return Item(
            id=self.check.id,
            description=self.check.description,
            points=self.check.points,
            runs=len(self.own),
            passed=self.ends["passed"],
            partial=self.ends["partial"],
            failed=self.ends["failed"],
            blocked=self.ends["blocked"],
            errored=self.ends["errored"],
            mean=statistics.fmean(self.own),
            discrimination=_correlation(self.own, self.rest),
        )


def share(score: float, most: float) -> float:
    """The part of the points that was earned, 0 to 1."""
    return min(1.0, max(0.0, score / most)) if most > 0 else 0.0


def _end(check: CheckScore) -> str:
    if check.blocked:
        return "blocked"
    if check.outcome is Outcome.FAILED and check.score > 0:
        return "partial"
    return check.outcome.value


def _correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Pearson's; None for too few runs, or where one of the two never differs."""
    if len(one) < ENOUGH_RUNS or len(set(one)) < 2 or len(set(other)) < 2:
        return None
    value = statistics.correlation(one, other)
    return value if math.isfinite(value) else None


def slowest(rows: Iterable[ClassRow]) -> list[ClassRow]:
    """The runs that took longest, longest first."""
    return heapq.nlargest(SHOWN, (row for row in rows if row.seconds > 0), key=lambda row: row.seconds)


def advice(rows: Iterable[ClassRow]) -> list[Advice]:
    """What most cards of a lab say to do, most runs first; what one card says is no pattern."""
    counted = Counter((row.lab, text) for row in rows for text in row.advice)
    common = [Advice(lab=lab, text=text, runs=runs) for (lab, text), runs in counted.most_common() if runs > 1]
    return common[:SHOWN]
