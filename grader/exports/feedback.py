"""What a student reads of a verdict where there is no card: plain text, in the words of the student's edition only.

It says what the card says: the points, the next step, then each check that lost points under the card's word for how it
ended. A blocked check says no more than what it waits for, since nothing else is known of it. Staff notes, flags and
reasons for attention are never part of it. It is in the language of the card: `translated_verdict` puts the sentences of
a verdict into it, and the words around them follow.
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
from grader.reports.summary import after_error, summarize
from grader.spreadsheet import number

MAX_LINE = 500

#: Verdicts by lab, student as handed in, and submission.
Verdicts = Mapping[tuple[str, str, str], Verdict]


def indexed(verdicts: Iterable[Verdict]) -> Verdicts:
    return {(verdict.lab, verdict.student, verdict.submission): verdict for verdict in verdicts}


def translated_verdict(verdict: Verdict, labs: Path) -> Verdict:
    """With its sentences as its card says them; ``labs`` is the folder whose catalogues translate the suites."""
    said = translated(verdict, phrases(verdict.language, labs / verdict.lab))
    return after_error(said, words(verdict.language))


def verdict_of(grade: Grade, verdicts: Verdicts) -> Verdict | None:
    """The verdict of the attempt that counts; None where its run was replaced by a later attempt's."""
    counted = grade.counted
    return verdicts.get((counted.lab, counted.student, counted.submission)) if counted else None


def not_assessed(check: CheckResult) -> bool:
    """Whether it could not be decided here: then it is out of the maximum, too."""
    return check.outcome is Outcome.SKIPPED and not check.blocked_by


def check_lines(check: CheckResult, verdict: Verdict, language: Language = "en") -> list[str]:
    """What was expected and found, and what to try; of a blocked check what it waits for."""
    _ = words(language).gettext
    told = [
        (_("expected"), check.expected),
        (_("found"), check.found),
        (_("why"), check.rationale if not check.found else ""),
        (_("try"), check.hint),
    ]
    if check.blocked_by:
        told = [(_("waits for"), _description(verdict, check.blocked_by))]
    return [_("%(name)s: %(text)s", name=name, text=sentence(text)) for name, text in told if text]


def sentence(text: str, limit: int = MAX_LINE) -> str:
    """A sentence of ours on one line, without the backticks that a card shows as code; an odd one is only a backtick."""
    return plain(text if text.count("`") % 2 else text.replace("`", ""), limit)


def verdict_lines(verdict: Verdict) -> list[str]:
    """The points and the next step, the first exceptions, and every check that lost points."""
    return [*result_lines(verdict), *problem_lines(verdict), *_lost_lines(verdict)]


def result_lines(verdict: Verdict) -> list[str]:
    """The points, and the step that the card puts first where there are points left to earn."""
    said = words(verdict.language)
    _ = said.gettext
    points = _("%(score)s of %(most)s points", score=number(verdict.score), most=number(verdict.max_score))
    lines = [_("%(name)s: %(text)s", name=plain(verdict.lab_title, 100), text=points)]
    name, step = _next_step(verdict, said)
    return [*lines, _("%(name)s: %(text)s", name=name, text=step)] if step else lines


def problem_lines(verdict: Verdict) -> list[str]:
    """How the run ended and which cells raised, with advice."""
    said = words(verdict.language)
    _ = said.gettext
    lines = []
    _name, step = _next_step(verdict, said)
    if verdict.ending.value != "ok":
        ended = _("How the run ended: %(name)s", name=wording.ending(verdict.ending, said).name)
        lines.append(f"{ended}. {plain(verdict.ending_detail, MAX_LINE)}".rstrip())
    for error in verdict.cell_errors[:3]:
        at = _("Cell %(cell)s", cell=error.cell)
        if error.line:
            at = _("Cell %(cell)s, line %(line)s", cell=error.cell, line=error.line)
        lines.append(f"{at}: {plain(error.kind, 80)}: {plain(error.message, MAX_LINE)}")
        if error.advice and sentence(error.advice.text) not in step:
            lines.append(_("%(name)s: %(text)s", name=_("try"), text=sentence(error.advice.text)))
    return lines


def _lost_lines(verdict: Verdict) -> list[str]:
    said = words(verdict.language)
    lines = []
    for check in verdict.checks:
        if check.outcome is Outcome.PASSED or (check.points == 0 and check.outcome is not Outcome.ERRORED):
            continue
        lines.append(f"{sentence(check.description)} {_outcome(check, said)}")
        lines += check_lines(check, verdict, verdict.language)
    return lines


def _next_step(verdict: Verdict, said: Words) -> tuple[str, str]:
    """The card's next step after a name that says which check it is for; "" where nothing is left to earn."""
    _ = said.gettext
    summary = summarize(verdict, said)
    if verdict.max_score > 0 and verdict.score >= verdict.max_score:
        return "", ""
    step, about = sentence(summary.next), sentence(summary.about, 200)
    name = _("Next step")
    return (name if not about or about in step else f"{name} {_('for “%(check)s”', check=about)}"), step


def _description(verdict: Verdict, check_id: str) -> str:
    """What students know a check by; its id where it is not among the checks."""
    return next((check.description for check in verdict.checks if check.id == check_id), check_id)


def _outcome(check: CheckResult, said: Words) -> str:
    _ = said.gettext
    if not_assessed(check):
        return _("not assessed, does not count")
    ours = check.outcome is Outcome.ERRORED
    outcome = _("our error, staff will look at it") if ours else wording.outcome(check, said).name
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
