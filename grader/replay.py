"""Judge a run that was kept once more: from its tape, and where the tape cannot answer, in a clean sandbox.

Nothing is run for it. What the new verdict takes over from the old one are facts of the run: how long it took, how much
memory, and the flags that rest on no check.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from grader import store
from grader.checks.judge import Suites
from grader.grading import CleanRoom, Graded, Setting, judge_run, refused
from grader.records import Record, Verdict
from grader.session import Session
from grader.submissions import Submission
from grader.zygote import Zygote


class CheckChange(Record, frozen=True):
    """One check's score before and after a regrade."""

    id: str
    before: float
    after: float


class Change(Record, frozen=True):
    """What judging again did to one run. ``rerun``: its tape could not answer, so the notebook was (or has to be) run."""

    lab: str
    student: str
    before: float
    after: float
    checks: tuple[CheckChange, ...] = ()
    rerun: bool = False

    @property
    def moved(self) -> bool:
        """Whether any score is another one now."""
        return bool(self.checks) or self.before != self.after


def replay(
    saved: store.Saved,
    setting: Setting,
    submission: Submission,
    zygote: Zygote | None,
    suites: Suites | None = None,
) -> Graded:
    """Judge from the tape; with a zygote also in the clean sandbox. ``missed`` tells that this was not enough.

    ``submission`` is the kept one's bytes; its attempt, say, may be another by now.
    """
    setting = replace(setting, level=saved.verdict.level)
    not_run = refused(setting, submission)
    if not_run is not None:  # nothing to ask, but its points may be others now
        return _continued(saved.verdict, not_run)
    draw = setting.heldout(submission.sha256)
    seed = draw.seed if draw else 0
    clean = CleanRoom(zygote, seed, setting.limits) if zygote else None
    session = Session(
        None, clean.open if clean else None, saved.tape(), seed=seed, deadline_s=setting.limits.question_s, replay=True
    )
    try:
        graded = judge_run(
            setting,
            submission,
            saved.facts,
            session,
            draw,
            read_file=saved.read_file,
            exhibits=saved.exhibits,
            suites=suites,
        )
    finally:
        session.close()
        if clean:
            clean.close()
    return _continued(saved.verdict, graded)


def _continued(old: Verdict, graded: Graded) -> Graded:
    """With what the new verdict takes over from the old one."""
    flags = tuple(flag for flag in old.flags if not flag.check) + graded.verdict.flags  # the exhibits' and the suite's
    verdict = msgspec.structs.replace(
        graded.verdict, timings=old.timings, peak_memory_mb=old.peak_memory_mb, flags=flags
    )
    return replace(graded, verdict=verdict)


def difference(old: Verdict, new: Verdict, *, rerun: bool = False) -> Change:
    """What moved between two verdicts of one submission."""
    before = {check.id: check.score for check in old.checks}
    after = {check.id: check.score for check in new.checks}
    moved = tuple(
        CheckChange(id=name, before=before.get(name, 0.0), after=after.get(name, 0.0))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    )
    return Change(lab=old.lab, student=old.student, before=old.score, after=new.score, checks=moved, rerun=rerun)
