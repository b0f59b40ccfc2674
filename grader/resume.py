"""What of a batch is done already: each submission's kept run stands, is judged again, or is not worth keeping.

Nothing is started for this and no tape is read: two small files for each run, and the sizes of the others. It never
matters how an earlier batch ended, since a run's folder is moved into place when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from grader import store
from grader.provenance import Basis
from grader.records import CheckResult, Ending, Level, Outcome, Record, Verdict
from grader.submissions import Submission

#: How the traceback ends of a check in whose middle its worker was told to end. Earlier graders kept such runs.
CUT_SHORT = "grader.pools.serve._Terminated"


class Kept(Record, frozen=True):
    """A submission with what is kept of it. ``verdict`` is None where nothing is, or nothing that still stands."""

    submission: Submission
    todo: Literal["nothing", "judge", "run"]
    verdict: Verdict | None = None


def sort_out(
    out: Path, submissions: Iterable[Submission], bases: Mapping[str, Basis], minimum: Level, *, fresh: bool = False
) -> Iterator[Kept]:
    """What is left to do for each. ``minimum`` is the sandbox level demanded; ``fresh``: everything."""
    for submission in submissions:
        yield (
            Kept(submission=submission, todo="run") if fresh else _kept(out, submission, bases[submission.lab], minimum)
        )


def _kept(out: Path, submission: Submission, basis: Basis, minimum: Level) -> Kept:
    folder, today = store.run_folder(out, submission), basis.of(submission)
    rests_on, verdict = store.provenance(folder), store.verdict(folder)
    if rests_on is None or verdict is None or rests_on.run != today.run or verdict.level < minimum:
        return Kept(submission=submission, todo="run")
    changed = rests_on.judging != today.judging
    # What failed because of us is tried again, and what waits for a GPU has no tape to judge.
    waits = verdict.ending is Ending.DEFERRED and (basis.gpu or changed)
    if waits or verdict.ending is Ending.OURS or any(map(_cut_short, verdict.checks)):
        return Kept(submission=submission, todo="run")
    try:
        changed |= store.stale(folder, rests_on.sizes)
    except store.Damaged:
        return Kept(submission=submission, todo="run")
    return Kept(submission=submission, todo="judge" if changed else "nothing", verdict=verdict)


def _cut_short(check: CheckResult) -> bool:
    """Whether this check says nothing about the student: an interrupt came in its middle."""
    return check.outcome is Outcome.ERRORED and check.staff_note.rstrip().endswith(CUT_SHORT)
