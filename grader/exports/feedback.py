"""What a student reads of a verdict where there is no card: plain text, in the words of the student's edition only.

Staff notes, flags and reasons for attention are never part of it. It is in the language of the card: `translated_verdict`
puts the sentences of a verdict into it, and the words around them follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from grader.errors import plain
from grader.gradebook import Grade
from grader.records import CheckResult, Outcome, Verdict
from grader.reports import wording
from grader.reports.language import Language, Words, words
from grader.reports.phrases import phrases, translated
from grader.spreadsheet import number

MAX_LINE = 500

#: Verdicts by lab, student as handed in, and submission.
Verdicts = Mapping[tuple[str, str, str], Verdict]


def indexed(verdicts: Iterable[Verdict]) -> Verdicts:
    return {(verdict.lab, verdict.student, verdict.submission): verdict for verdict in verdicts}


def translated_verdict(verdict: Verdict, labs: Path) -> Verdict:
    """With its sentences in the language of its card; ``labs`` is the folder whose catalogues translate the suites."""
    return translated(verdict, phrases(verdict.language, labs / verdict.lab))


def verdict_of(grade: Grade, verdicts: Verdicts) -> Verdict | None:
    """The verdict of the attempt that counts; None where its run was replaced by a later attempt's."""
    counted = grade.counted
    return verdicts.get((counted.lab, counted.student, counted.submission)) if counted else None


def not_assessed(check: CheckResult) -> bool:
    """Whether it could not be decided here: then it is out of the maximum, too."""
    return check.outcome is Outcome.SKIPPED and not check.blocked_by


def check_lines(check: CheckResult, language: Language = "en") -> list[str]:
    """What was expected and found, and what to try."""
    _ = words(language).gettext
    told = (
        (_("expected"), check.expected),
        (_("found"), check.found),
        (_("why"), check.rationale if not check.found else ""),
        (_("waits for"), check.blocked_by),
        (_("try"), check.hint),
    )
    return [_("%(name)s: %(text)s", name=name, text=plain(text, MAX_LINE)) for name, text in told if text]


def verdict_lines(verdict: Verdict) -> list[str]:
    """Every check that lost points, and the first exceptions."""
    said = words(verdict.language)
    _ = said.gettext
    points = _("%(score)s of %(most)s points", score=number(verdict.score), most=number(verdict.max_score))
    lines = [_("%(name)s: %(text)s", name=plain(verdict.lab_title, 100), text=points)]
    if verdict.ending.value != "ok":
        ended = _("How the run ended: %(name)s", name=wording.ending(verdict.ending, said).name)
        lines.append(f"{ended}. {plain(verdict.ending_detail, MAX_LINE)}".rstrip())
    for error in verdict.cell_errors[:3]:
        at = _("Cell %(cell)s", cell=error.cell)
        if error.line:
            at = _("Cell %(cell)s, line %(line)s", cell=error.cell, line=error.line)
        lines.append(f"{at}: {plain(error.kind, 80)}: {plain(error.message, MAX_LINE)}")
        if error.advice:
            lines.append(_("%(name)s: %(text)s", name=_("try"), text=plain(error.advice.text, MAX_LINE)))
    for check in verdict.checks:
        if check.outcome is Outcome.PASSED or (check.points == 0 and check.outcome is not Outcome.ERRORED):
            continue
        lines.append(f"{plain(check.description, MAX_LINE)} {_outcome(check, said)}")
        lines += check_lines(check, verdict.language)
    return lines


def _outcome(check: CheckResult, said: Words) -> str:
    _ = said.gettext
    if not_assessed(check):
        return _("not assessed, does not count")
    outcome = {
        Outcome.FAILED: _("failed"),
        Outcome.SKIPPED: _("skipped"),
        Outcome.ERRORED: _("our error, staff will look at it"),
    }[check.outcome]
    earned = _("%(score)s of %(most)s points", score=number(check.score), most=number(check.points))
    return _("%(outcome)s, %(points)s", outcome=outcome, points=earned)


def account(grade: Grade) -> list[str]:
    """How the grade came from the score: lateness, adjustment; nothing where the two are the same."""
    lines = []
    if grade.late.state == "late":
        lines.append(
            f"Handed in late, started days: {grade.late.days}; {number(grade.late.percent)} % of the points are taken off."
        )
    if grade.adjustment:
        lines.append(f"Adjusted by staff: {grade.adjustment:+g} points.")
    return lines


def grade_lines(grade: Grade, verdict: Verdict | None) -> list[str]:
    """The verdict, how the grade came from it, and what staff want to say."""
    language = verdict.language if verdict else "en"
    _, said = words(language).gettext, phrases(language)
    lines = (verdict_lines(verdict) if verdict else []) + [said.say(line) for line in account(grade)]
    if grade.grade is not None and lines:
        figure = number(grade.grade)
        if grade.max_score is not None:
            figure = _("%(score)s of %(most)s", score=figure, most=number(grade.max_score))
        lines.append(_("%(name)s: %(text)s", name=_("Grade"), text=figure))
    return lines + [plain(comment, 4_000) for comment in grade.comments]
