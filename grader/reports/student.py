"""A student's page: every lab in one place, with what it brought and what to do next. It holds nothing for staff."""

from __future__ import annotations

from collections.abc import Sequence

from grader.records import Ending, Record, Verdict
from grader.reports import wording
from grader.reports.card import Grade
from grader.reports.classroom import share
from grader.reports.language import Language, Words, words
from grader.reports.page import href, render
from grader.reports.phrases import NOTHING, Phrases, translated
from grader.reports.summary import Summary, summarize


class StudentRun(Record, frozen=True):
    """One lab of a student. ``card`` is the path of the card relative to the page, below the folder above it."""

    verdict: Verdict
    card: str
    phrases: Phrases = NOTHING
    grade: Grade | None = None


class RunView(Record, frozen=True):
    """A lab as the page shows it."""

    verdict: Verdict
    summary: Summary
    ending: wording.Term
    href: str
    share: float
    scored: bool
    grade: Grade | None


def render_student(student: str, runs: Sequence[StudentRun], *, course_name: str, language: Language) -> str:
    """The page as one self-contained HTML file for ``<out>/students/``."""
    said = words(language)
    views = [_view(run, said) for run in sorted(runs, key=lambda run: run.verdict.lab)]
    counted = [view for view in views if view.scored]
    return render(
        "student.html",
        language,
        course_name=course_name,
        student=student,
        runs=views,
        score=sum(view.verdict.score for view in counted),
        most=sum(view.verdict.max_score for view in counted),
        open=sum(view.verdict.score < view.verdict.max_score for view in counted),
    )


def _view(run: StudentRun, said: Words) -> RunView:
    verdict = translated(run.verdict, run.phrases)
    inside = href(run.card)
    return RunView(
        verdict=verdict,
        summary=summarize(verdict, said),
        ending=wording.ending(verdict.ending, said),
        href=f"../{inside}" if inside else "",
        share=share(verdict.score, verdict.max_score),
        scored=verdict.max_score > 0 and verdict.ending is not Ending.OURS,
        grade=run.grade,
    )
