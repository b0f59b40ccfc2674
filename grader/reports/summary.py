"""The first thing a student reads: one sentence of what they got and why, and one of what to do next.

The advice is the most valuable single step: what stopped the run if anything did, or else the check that
costs most points. A blocked check points to the one that blocks it.
"""

from __future__ import annotations

from grader.records import CellError, CheckResult, Ending, Outcome, Record, Verdict
from grader.reports import wording
from grader.reports.language import Words
from grader.reports.text import clip, number


class Summary(Record, frozen=True):
    """``lead`` says what and why, ``next`` what to do; ``target`` and ``about`` are the check or cell it is about."""

    lead: str
    next: str
    target: str = ""
    about: str = ""


def summarize(verdict: Verdict, words: Words) -> Summary:
    """The summary of one verdict."""
    _ = words.gettext
    earned, why = _earned(verdict, words), _why(verdict, words)
    lead = _("%(earned)s: %(why)s", earned=earned, why=why)
    step, target = _next(verdict, words)
    about = next((check.description for check in verdict.checks if f"check-{check.id}" == target), "")
    return Summary(lead=lead, next=step, target=target, about=about)


def lost(check: CheckResult) -> float:
    """Points that are still to be had."""
    return 0.0 if check.outcome is Outcome.PASSED else max(0.0, check.points - check.score)


def _earned(verdict: Verdict, words: Words) -> str:
    _ = words.gettext
    if verdict.ending is Ending.OURS:
        return _("This run could not be graded")
    if verdict.ending is Ending.DEFERRED:
        return _("Not graded yet")
    score, most = number(verdict.score), number(verdict.max_score)
    if verdict.max_score > 0 and verdict.score >= verdict.max_score:
        return _("All %(most)s points", most=most)
    return _("%(score)s of %(most)s points", score=score, most=most)


def _why(verdict: Verdict, words: Words) -> str:
    _ = words.gettext
    if verdict.ending is Ending.CELL_ERROR and verdict.cell_errors:
        error = verdict.cell_errors[0]
        kind = clip(error.kind, 60)
        if error.line is None:
            return _("your notebook stopped in cell %(cell)s with %(kind)s.", cell=error.cell, kind=kind)
        return _(
            "your notebook stopped in cell %(cell)s, line %(line)s, with %(kind)s.",
            cell=error.cell,
            line=error.line,
            kind=kind,
        )
    if verdict.ending is not Ending.OK:
        return wording.ending(verdict.ending, words).meaning
    counted = [check for check in verdict.checks if check.points > 0]
    passed = sum(check.outcome is Outcome.PASSED for check in counted)
    total = sum(check.outcome is not Outcome.SKIPPED or bool(check.blocked_by) for check in counted)
    if total == 0:
        return _("no check could be assessed here.")
    if passed == total:
        return words.ngettext("the check passed.", "all %(num)s checks passed.", total)
    said = _("%(passed)s of %(total)s checks passed.", passed=passed, total=total)
    if any(check.outcome is Outcome.ERRORED for check in verdict.checks):
        said += " " + _("At least one check failed for a reason of ours, which is not your fault.")
    return said


def _next(verdict: Verdict, words: Words) -> tuple[str, str]:
    _ = words.gettext
    if verdict.ending is Ending.CELL_ERROR and verdict.cell_errors:
        return _after_error(verdict.cell_errors[0], words), f"cell-{verdict.cell_errors[0].cell}"
    if verdict.ending is not Ending.OK:
        return wording.next_after(verdict.ending, words), ""
    open_checks = [check for check in verdict.checks if check.outcome is Outcome.FAILED and lost(check) > 0]
    if open_checks:
        blocked = {check.blocked_by for check in verdict.checks if check.outcome is Outcome.SKIPPED}
        # A check that blocks others is worth its own points and theirs: first things first.
        first = max(open_checks, key=lambda check: (check.id in blocked, lost(check)))
        step = clip(first.hint, 400) or _("Work on “%(check)s”.", check=clip(first.description, 200))
        return step, f"check-{first.id}"
    if any(check.outcome is Outcome.ERRORED for check in verdict.checks):
        return _("You need not do anything; the teaching team will look at what failed on our side."), ""
    return _("Nothing is left to correct."), ""


def _after_error(error: CellError, words: Words) -> str:
    if error.advice is not None and error.advice.text:
        return clip(error.advice.text, 400)
    return wording.next_after(Ending.CELL_ERROR, words)
