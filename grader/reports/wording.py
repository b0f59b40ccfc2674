"""What the words of a verdict are called on a page, and what they mean to somebody who meets them there.

Messages are written out here as literals, so that the catalogue's extraction finds every one of them.
"""

from __future__ import annotations

from grader.records import CheckResult, Ending, Evidence, Level, Outcome, Record, Tier
from grader.reports.language import Words
from grader.reports.phrases import bracket

#: Endings of what was handed in and not run: its bytes are no notebook of this lab, or more than one may be.
UNREAD = frozenset({Ending.NOT_A_NOTEBOOK, Ending.WRONG_LAB, Ending.EMPTY, Ending.TOO_LARGE})


class Term(Record, frozen=True):
    """A word on the page: its name, its meaning, and the css class that colours it."""

    name: str
    meaning: str
    look: str = ""


def outcome(check: CheckResult, words: Words) -> Term:
    """PASSED, FAILED (in part or entirely), SKIPPED or ERRORED, in the student's words."""
    _ = words.gettext
    if check.outcome is Outcome.PASSED:
        return Term(name=_("Passed"), meaning="", look="passed")
    if check.outcome is Outcome.FAILED and check.score > 0:
        return Term(name=_("Partly there"), meaning="", look="partial")
    if check.outcome is Outcome.FAILED:
        return Term(name=_("Not yet"), meaning="", look="failed")
    if check.outcome is Outcome.SKIPPED:
        meaning = (
            _("It could not be assessed here, so it takes nothing from your score.") if not check.blocked_by else ""
        )
        return Term(name=_("Skipped"), meaning=meaning, look="skipped")
    meaning = _("The grader failed at this check, not your work. It is not your fault; the teaching team is told.")
    return Term(name=_("Our error"), meaning=meaning, look="errored")


def evidence(grade: Evidence, words: Words) -> Term:
    """How a fact is known."""
    _ = words.gettext
    return {
        Evidence.VERIFIED: Term(
            name=_("verified"),
            meaning=_(
                "Computed by the grader itself, from the model or file your notebook left behind or from your "
                "function's answers to inputs it had never seen."
            ),
            look="verified",
        ),
        Evidence.OBSERVED: Term(
            name=_("observed"),
            meaning=_(
                "Watched or asked while your notebook was running: losses, epochs, layers, answers of live objects."
            ),
            look="observed",
        ),
        Evidence.CLAIMED: Term(
            name=_("claimed"),
            meaning=_("Only printed or stored by the notebook. Nothing is ever scored on it."),
            look="claimed",
        ),
    }[grade]


def level(reached: Level, words: Words) -> Term:
    """The sandbox level, as proved by the canary."""
    _ = words.gettext
    return {
        Level.L0: Term(
            name=_("L0, advisory"),
            meaning=_(
                "Run without a sandbox, as an ordinary program of this computer. The result is for your own "
                "orientation: it is advisory and not an official grade."
            ),
        ),
        Level.L1: Term(name="L1", meaning=_("Run in namespaces or a container of its own, without network.")),
        Level.L2: Term(
            name="L2",
            meaning=_(
                "Run as a separate user without rights, in namespaces of its own, without network, with its "
                "memory watched."
            ),
        ),
        Level.L3: Term(
            name="L3",
            meaning=_(
                "Run as a user of its own without rights, in namespaces, behind a system call filter, under the "
                "kernel's own memory and process limits, without network."
            ),
        ),
    }[reached]


def tier(used: Tier, words: Words) -> Term:
    """Which copy of the data was used."""
    _ = words.gettext
    return {
        Tier.FULL: Term(
            name=_("full"), meaning=_("The complete data set; part of its test half is kept back for grading.")
        ),
        Tier.LITE: Term(
            name=_("lite"), meaning=_("The small copy that comes with the grader. Full marks are set to suit its size.")
        ),
    }[used]


def stage(name: str, words: Words) -> str:
    """What time was spent on; a stage without a word of its own keeps its name."""
    _ = words.gettext
    return {
        "start": _("start"),
        "notebook": _("notebook"),
        "own": _("own time"),
        "run": _("run"),
        "judging": _("judging"),
        "questions": _("questions"),
        "total": _("total"),
    }.get(name, name)


def ending(end: Ending, words: Words) -> Term:
    """How the run ended, as a name and a clause that says what happened: it follows a colon."""
    _ = words.gettext
    good, bad, ours = "passed", "failed", "errored"
    return {
        Ending.OK: Term(
            name=_("ran to the end"), meaning=_("your notebook ran from its first to its last cell."), look=good
        ),
        Ending.CELL_ERROR: Term(
            name=_("a cell failed"), meaning=_("a cell of your notebook raised an error."), look=bad
        ),
        Ending.TIMEOUT: Term(
            name=_("out of time"),
            meaning=_("your notebook was still running at its time limit and was stopped."),
            look=bad,
        ),
        Ending.OUT_OF_MEMORY: Term(
            name=_("out of memory"),
            meaning=_("your notebook needed more memory than the limit and was stopped."),
            look=bad,
        ),
        Ending.KERNEL_DIED: Term(
            name=_("kernel died"), meaning=_("Python stopped abruptly while your notebook was running."), look=bad
        ),
        Ending.OUTPUT_FLOOD: Term(
            name=_("too much output"), meaning=_("your notebook printed more than the limit and was stopped."), look=bad
        ),
        Ending.NOT_A_NOTEBOOK: Term(
            name=_("not a notebook"), meaning=_("the file handed in could not be read as a notebook."), look=bad
        ),
        Ending.WRONG_LAB: Term(name=_("wrong lab"), meaning=_("the file handed in belongs to another lab."), look=bad),
        Ending.EMPTY: Term(name=_("empty"), meaning=_("the file handed in has no code to run."), look=bad),
        Ending.TOO_LARGE: Term(
            name=_("too large"), meaning=_("the notebook has more code than this lab allows."), look=bad
        ),
        Ending.CHANNEL_BROKEN: Term(
            name=_("connection broken"),
            meaning=_("the connection to your notebook broke before all questions were answered."),
            look=bad,
        ),
        Ending.DEFERRED: Term(
            name=_("waits for a GPU"),
            meaning=_("this lab is graded on a machine with a GPU, and this was none. It is not a zero."),
            look="skipped",
        ),
        Ending.OURS: Term(
            name=_("our error"), meaning=_("the grader or its machine failed. This is not your fault."), look=ours
        ),
    }[end]


def unread(end: Ending, detail: str, words: Words) -> tuple[str, str]:
    """What is wrong with what was handed in, and what to do: the detail of an ``UNREAD`` ending, as sentences.

    Intake says both in one, the second in brackets; what is too large was read, and its detail is a sentence.
    """
    _ = words.gettext
    what, fix = bracket(detail) or (detail, "")
    if fix:
        return _("Your file %(what)s.", what=what), _("%(sentence)s.", sentence=_upper(fix))
    return _("%(sentence)s.", sentence=_upper(what)) if what else "", next_after(end, words)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def next_after(end: Ending, words: Words) -> str:
    """What to do after an ending that nothing more particular is known about."""
    _ = words.gettext
    return {
        Ending.OK: "",
        Ending.CELL_ERROR: _(
            "Correct that cell, then choose “Restart kernel and run all cells” before you hand in again."
        ),
        Ending.TIMEOUT: _(
            "Train for fewer epochs, on fewer batches or with a smaller model, and look for a loop that never ends."
        ),
        Ending.OUT_OF_MEMORY: _("Use smaller batches or a smaller model, and delete arrays that you no longer need."),
        Ending.KERNEL_DIED: _(
            "Restart your kernel and run all cells; if it dies there too, leave out cells until it does not."
        ),
        Ending.OUTPUT_FLOOD: _("Print less: once per epoch is plenty, and fit(…, verbose=2) writes one line for each."),
        Ending.NOT_A_NOTEBOOK: _("Open the notebook in Jupyter, save it as .ipynb and hand in that file."),
        Ending.WRONG_LAB: _("Check which notebook belongs to this lab and hand that one in."),
        Ending.EMPTY: _("Check that you saved your work, and that you handed in that file and not the untouched one."),
        Ending.TOO_LARGE: _("Load data from the lab's files instead of pasting it into cells, and hand in again."),
        Ending.CHANNEL_BROKEN: _("Do not write to the kernel's own connections or replace its stream objects."),
        Ending.DEFERRED: _("You need not do anything; it will be graded on a machine that has one."),
        Ending.OURS: _("You need not do anything; the teaching team will grade it again."),
    }[end]
