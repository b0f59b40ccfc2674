"""The first thing a student reads: one sentence of what they got and why, and one of what to do next.

The advice is the most valuable single step: what stopped the run if anything did, or else the check that
costs most points. A blocked check points to the one that blocks it, and a model that was never trained is trained
before anything is said of how well it does.

What stands below a failed cell is asked for all the same, and hints that suit a finished notebook would accuse its
author of what the error kept from happening. ``after_error`` says instead what to correct first.
"""

from __future__ import annotations

import msgspec

from grader.records import CellError, CheckResult, Ending, Evidence, Outcome, Record, Verdict
from grader.reports import wording
from grader.reports.language import Words
from grader.reports.text import clip, number

#: The id under which suites ask whether the model was trained at all.
TRAINED = "trained"


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


def stopped_by(verdict: Verdict) -> CellError | None:
    """The error that ended the run, where one did."""
    return verdict.cell_errors[0] if verdict.ending is Ending.CELL_ERROR and verdict.cell_errors else None


def kept_from(verdict: Verdict) -> dict[str, bool]:
    """The checks that a failed cell may have kept from earning anything, by id: True where nothing else can be told.

    That is so of what was observed, as never compiled or never trained, and then of the model that this left too. Where
    all that was observed is there, the check's own advice may still be right.
    """
    if stopped_by(verdict) is None:
        return {}
    nothing = [check for check in verdict.checks if check.outcome is Outcome.FAILED and check.score <= 0]
    undone = any(check.required is Evidence.OBSERVED and check.points > 0 for check in nothing)
    return {check.id: undone or check.required is Evidence.OBSERVED for check in nothing}


def after_error(verdict: Verdict, words: Words) -> Verdict:
    """The verdict with hints that send the student to the failed cell first, where one ended the run."""
    error, kept = stopped_by(verdict), kept_from(verdict)
    if error is None:
        return verdict
    first = words.gettext("First correct cell %(cell)s, which stopped the notebook there.", cell=error.cell)
    checks = [
        check
        if check.id not in kept
        else msgspec.structs.replace(
            check, hint=first if kept[check.id] or not check.hint else f"{first}\n{check.hint}"
        )
        for check in verdict.checks
    ]
    return msgspec.structs.replace(verdict, checks=tuple(checks))


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
    error = stopped_by(verdict)
    if error is not None:
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
    error = stopped_by(verdict)
    if error is not None:
        return _correct(error, words), f"cell-{error.cell}"
    if verdict.ending in wording.UNREAD:
        return clip(wording.unread(verdict.ending, verdict.ending_detail, words)[1], 400), ""
    if verdict.ending is not Ending.OK:
        return wording.next_after(verdict.ending, words), ""
    open_checks = [check for check in verdict.checks if check.outcome is Outcome.FAILED and lost(check) > 0]
    if open_checks:
        blocked = {check.blocked_by for check in verdict.checks if check.outcome is Outcome.SKIPPED}
        # A check that blocks others is worth its own points and theirs: first things first. What a model that was never
        # trained predicts is no reason to advise anything but to train it, whatever that check is worth.
        first = max(
            open_checks, key=lambda check: (check.id == TRAINED and check.score <= 0, check.id in blocked, lost(check))
        )
        step = clip(first.hint, 400) or _("Work on “%(check)s”.", check=clip(first.description, 200))
        return step, f"check-{first.id}"
    if any(check.outcome is Outcome.ERRORED for check in verdict.checks):
        return _("You need not do anything; the teaching team will look at what failed on our side."), ""
    return _("Nothing is left to correct."), ""


def _correct(error: CellError, words: Words) -> str:
    """Where it failed, and what to write there."""
    told = error.advice.text if error.advice is not None else ""
    what = clip(told, 400) or wording.next_after(Ending.CELL_ERROR, words)
    if error.line is None:
        return words.gettext("Cell %(cell)s: %(advice)s", cell=error.cell, advice=what)
    return words.gettext("Cell %(cell)s, line %(line)s: %(advice)s", cell=error.cell, line=error.line, advice=what)
