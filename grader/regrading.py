"""Judge all kept runs again, from their tapes: after a change of thresholds, points, messages or checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from grader import store
from grader.batch import Event, OnEvent, Teller, admission, carry_out, ignore, nothing
from grader.copies import flag_copies
from grader.labs import Lab
from grader.pages import write_pages
from grader.pools import LocalPool, default_jobs, judges, room_mb
from grader.provenance import basis
from grader.records import Ending, Level, Record, Tier, Verdict
from grader.replay import Change
from grader.reports import class_row
from grader.sandbox.canary import choose
from grader.settings import Settings
from grader.shelf import Shelf
from grader.submissions import Submission
from grader.worker import GradingWorker, Result, Task, kernel_python, prepare


class Regraded(Record, frozen=True):
    """What a regrade did. ``problems``: why a run could not be judged at all, for each such; it was left as it is."""

    changes: tuple[Change, ...] = ()
    problems: tuple[str, ...] = ()


def regrade(
    out: Path,
    labs: Mapping[str, Lab],
    settings: Settings,
    only_lab: str | None = None,
    on_event: OnEvent = ignore,
    *,
    jobs: int = 0,
    rerun: bool = True,
    note_scores: Callable[[], None] = nothing,
) -> Regraded:
    """Judge kept runs again and say what changed.

    First from their tapes alone, which starts no sandbox. A question that is not on the tape and concerns a kept model or
    file is asked in the clean sandbox. Any other miss runs that submission again (unless ``rerun`` is False): its whole
    tape is replaced, never spliced. A run that cannot be read costs no other anything. ``note_scores`` is called as by
    `batch.grade`. Raises UsageError where another grader is at work in that folder.
    """
    with store.alone(out):
        return _regrade(out, labs, settings, only_lab, on_event, jobs, rerun, note_scores)


def _regrade(
    out: Path,
    labs: Mapping[str, Lab],
    settings: Settings,
    only_lab: str | None,
    on_event: OnEvent,
    jobs: int,
    rerun: bool,
    note_scores: Callable[[], None],
) -> Regraded:
    regrading = _Regrading(jobs or settings.jobs or default_jobs())
    kept = regrading.read(out, labs, only_lab)
    teller = Teller(on_event, len(kept))
    python, name = kernel_python(settings), settings.course_name
    for tier in Tier:
        runs = Shelf(_Run, (run for run in kept if run.verdict.tier is tier))
        tasks = Shelf(Task, (Task(submission=run.submission, work="replay") for run in runs))
        prepared = {
            lab: prepare(labs[lab], settings, Level.L0, tier) for lab in sorted({run.verdict.lab for run in runs})
        }
        bases = {lab: basis(setting, name, python) for lab, setting in prepared.items()}
        factory = GradingWorker.Factory(None, python, prepared, str(out), name, bases=bases)
        judging = LocalPool(factory, judges(regrading.jobs, room_mb(settings.room_mb)))
        missed = regrading.carry_out(judging, tasks, runs, teller)
        if not missed or not rerun:
            regrading.changes += [_unjudged(run.verdict) for run in missed]
            continue
        backend, proof = choose(python, Level(settings.min_level))
        on_event(Event(kind="level", text=proof.summary))
        proved = {lab: replace(setting, level=proof.level) for lab, setting in prepared.items()}
        again = Shelf(Task, (Task(submission=run.submission, work="ask") for run in missed))
        asking = LocalPool(
            replace(factory, backend=backend, prepared=proved),
            regrading.jobs,
            admission(prepared, room_mb(settings.room_mb)),
        )
        regrading.carry_out(asking, again, missed, Teller(on_event, len(again)))
        with store.writing(out):
            for lab in sorted({task.submission.lab for task in again}):
                flag_copies(out, labs[lab], name)
    with store.writing(out):
        note_scores()
        write_pages(out, settings, {name: lab.folder for name, lab in labs.items()})
    return Regraded(changes=tuple(regrading.changes), problems=tuple(regrading.problems))


class _Run(Record, frozen=True):
    """A kept run, as it was judged before."""

    submission: Submission
    verdict: Verdict


@dataclass
class _Regrading:
    jobs: int
    changes: list[Change] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def read(self, out: Path, labs: Mapping[str, Lab], only_lab: str | None) -> Shelf[_Run]:
        """The runs to judge: of these labs, and done at all."""
        kept = Shelf(_Run)
        for folder in store.runs(out, only_lab):
            if folder.parent.name not in labs:
                continue
            try:
                submission, verdict = store.graded_as(folder)
            except store.Damaged as damage:
                self.problems.append(str(damage))
                continue
            if verdict.ending not in (Ending.OURS, Ending.DEFERRED):
                kept.append(_Run(submission=submission, verdict=verdict))
        return kept

    def carry_out(self, pool: LocalPool, tasks: Sequence[Task], runs: Sequence[_Run], teller: Teller) -> Shelf[_Run]:
        """Have the pool do the tasks, one for each run; gives the runs whose tape could not answer."""
        missed = Shelf(_Run)
        place = {(run.submission.lab, run.submission.slug): at for at, run in enumerate(runs)}
        for task, result in carry_out(pool, tasks, teller):
            submission = task.submission
            run = runs[place[submission.lab, submission.slug]]
            row = class_row(run.verdict, submission.slug)
            if not isinstance(result, Result):
                self.problems.append(f"{submission.lab}/{submission.student}: {result}")
            elif result.did == "damaged":
                self.problems.append(result.why)
            elif result.did == "missed":
                missed.append(run)
            else:
                row = result.row or row
                if result.change and (result.change.moved or result.change.rerun):
                    self.changes.append(result.change)
            teller.finished(submission, row)
        return missed


def _unjudged(old: Verdict) -> Change:
    return Change(lab=old.lab, student=old.student, before=old.score, after=old.score, rerun=True)
