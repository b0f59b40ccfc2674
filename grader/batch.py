"""Grade a batch: submissions in, cards and an overview out."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from grader import store
from grader.cards import render_cards
from grader.cluster import Cluster, join, pack_kit
from grader.copies import flag_copies
from grader.errors import DataError, GraderError, LabError, OursError
from grader.grading import Setting, ungraded
from grader.labs import Lab
from grader.pages import write_pages
from grader.pools import Admission, LocalPool, Pool, Progress, crowded, default_jobs, judges, room_mb, run_mb
from grader.provenance import Basis, basis
from grader.records import Ending, Level, Record, Tier
from grader.reports import ClassRow, class_row
from grader.resume import sort_out
from grader.sandbox.canary import Proof, choose
from grader.settings import Settings
from grader.shelf import Shelf
from grader.submissions import Submission
from grader.worker import GradingWorker, Result, Task, kernel_python, prepare


class Plan(Record, frozen=True):
    """What to grade and how. ``jobs`` 0: one for each core. ``tier`` None: full data where it is complete.

    ``fresh``: whatever is kept, every notebook is run. ``scheduler``: the address of a Dask scheduler, whose workers run
    the notebooks; ``jobs`` are those of this machine.
    """

    submissions: Sequence[Submission]
    labs: dict[str, Lab]
    settings: Settings
    out: Path
    jobs: int = 0
    min_level: Level | None = None
    cold: bool = False
    tier: Tier | None = None
    fresh: bool = False
    scheduler: str = ""


class Event(Record, frozen=True):
    """Something happened. ``done`` of ``total`` runs are finished.

    ``planned`` says how many ``runs`` of a lab are done next, ``closing`` what is done once all are finished.
    """

    kind: Literal["cluster", "kept", "level", "warning", "planned", "started", "stage", "finished", "closing"]
    lab: str = ""
    student: str = ""
    text: str = ""
    done: int = 0
    total: int = 0
    score: float | None = None
    max_score: float | None = None
    ending: str = ""
    seconds: float = 0.0
    attention: bool = False
    runs: int = 0


class Summary(Record, frozen=True):
    """A batch that is over. ``errors`` are labs left out, and kept runs that could not be judged again and stay.

    Of the rows ``kept`` stand as an earlier batch left them, ``judged`` were judged again from their tapes; the others
    were run. ``proof`` is None where no sandbox was needed. ``attention`` counts runs that need staff because of us,
    ``deferred`` those that wait for a machine with a GPU.
    """

    rows: Sequence[ClassRow]
    level: Level
    proof: Proof | None
    out: Path
    index: Path
    attention: int
    seconds: float
    deferred: int = 0
    kept: int = 0
    judged: int = 0
    errors: tuple[GraderError, ...] = ()


OnEvent = Callable[[Event], None]
#: Takes what GradingWorker.Factory takes; what a pool makes its workers with.
Workers = Callable[..., GradingWorker.Factory]


def ignore(event: Event) -> None:
    """Nobody listens."""


def nothing() -> None:
    """Nobody keeps a gradebook."""


def grade(
    plan: Plan,
    on_event: OnEvent = ignore,
    workers: Workers = GradingWorker.Factory,
    note_scores: Callable[[], None] = nothing,
) -> Summary:
    """Grade every submission of the plan and write cards and the overview. What is done already is not done again.

    ``workers`` are stand-ins where the batch itself is measured (benchmarks/simulate.py). ``note_scores`` is called when
    all runs are kept, before the pages that show grades are written.
    Raises SandboxError when the level demanded cannot be reached, LabError when a lab is wrong, OursError where the cards
    cannot be written, UsageError where another grader is at work in that folder.
    """
    begun = time.monotonic()
    python, name = kernel_python(plan.settings), plan.settings.course_name
    minimum = plan.min_level if plan.min_level is not None else Level(plan.settings.min_level)
    prepared, errors = _prepare_all(plan)
    submissions = Shelf(Submission, (s for s in plan.submissions if s.lab in prepared))
    plan = msgspec.structs.replace(plan, submissions=submissions)
    with store.writing(plan.out):
        plan.out.mkdir(parents=True, exist_ok=True)
    with store.alone(plan.out):
        with store.writing(plan.out):
            for lab in prepared:
                store.sweep(plan.out, lab)
        with _cluster(plan, prepared, python, minimum, on_event) as cluster:
            batch, proof = _do(plan, prepared, python, minimum, cluster, on_event, workers)
        with store.writing(plan.out):
            on_event(Event(kind="closing", text="comparing kept models"))
            flagged = {(r.lab, r.student): r for lab in prepared for r in flag_copies(plan.out, plan.labs[lab], name)}
            note_scores()
            on_event(Event(kind="closing", text="writing the overview"))
            index = write_pages(plan.out, plan.settings, {name: lab.folder for name, lab in plan.labs.items()})
    rows = Shelf(ClassRow, (flagged.get((row.lab, row.student), row) for row in batch.rows))
    return Summary(
        rows=rows,
        level=proof.level if proof else min((row.level for row in rows), default=Level.L0),
        proof=proof,
        out=plan.out,
        index=index,
        attention=sum(row.needs_attention for row in rows),
        deferred=sum(row.deferred for row in rows),
        kept=batch.kept,
        judged=batch.judged,
        seconds=time.monotonic() - begun,
        errors=(*errors, *(OursError(problem) for problem in dict.fromkeys(batch.problems))),
    )


@contextlib.contextmanager
def _cluster(
    plan: Plan, prepared: Mapping[str, Setting], python: str, minimum: Level, on_event: OnEvent
) -> Iterator[Cluster | None]:
    """The cluster that the plan names, if it names one: until the batch is over."""
    if not plan.scheduler:
        yield None
        return
    settings = plan.settings
    own = settings.kernel_python is None
    kit = pack_kit(prepared, settings.course_name, python, minimum, own=own, cold=plan.cold)
    with join(plan.scheduler, kit, plan.out, lambda text: on_event(Event(kind="cluster", text=text))) as cluster:
        yield cluster


def _do(
    plan: Plan,
    prepared: Mapping[str, Setting],
    python: str,
    minimum: Level,
    cluster: Cluster | None,
    on_event: OnEvent,
    workers: Workers,
) -> tuple[_Batch, Proof | None]:
    """Everything that is left to do. Tapes are judged again here, also where a cluster runs notebooks."""
    name, gpus = plan.settings.course_name, cluster.gpus if cluster else None
    bases = {lab: basis(setting, name, python, gpus) for lab, setting in prepared.items()}
    factory = workers(None, python, prepared, str(plan.out), name, plan.cold, bases)
    batch = _Batch(plan, Teller(on_event, len(plan.submissions)), bases)
    tapes, left = Shelf(Task), Shelf(Task)
    for kept in sort_out(plan.out, plan.submissions, bases, minimum, fresh=plan.fresh):
        if kept.todo == "run":
            left.append(Task(submission=kept.submission))
        elif kept.todo == "judge":
            tapes.append(Task(submission=kept.submission, work="replay"))
        elif kept.verdict:
            batch.rows.append(class_row(kept.verdict, kept.submission.slug))
    batch.tell_kept()
    room = room_mb(plan.settings.room_mb)
    batch.carry_out(LocalPool(factory, judges(batch.jobs, room)), tapes)
    for task in batch.missed:
        left.append(task)
    if not left:
        return batch, None
    warnings: list[str] = []
    if cluster:
        pool: Pool = cluster.grading(bases)
        proof = cluster.proof
    else:
        backend, proof = choose(python, minimum)
        room = room_mb(plan.settings.room_mb)  # as it is now: the judges of tapes have ended
        warnings = crowded({lab: setting.limits for lab, setting in prepared.items()}, room, batch.jobs)
        proved = {lab: replace(setting, level=proof.level) for lab, setting in prepared.items()}
        factory = replace(factory, backend=backend, prepared=proved)
        pool = LocalPool(factory, batch.jobs, admission(prepared, room))
    on_event(Event(kind="level", text=proof.summary))
    for text in warnings:
        on_event(Event(kind="warning", text=text))
    batch.carry_out(pool, left)
    return batch, proof


def _prepare_all(plan: Plan) -> tuple[dict[str, Setting], tuple[GraderError, ...]]:
    """Every lab of the plan made ready; one whose data or spec is wrong costs the others nothing.

    The level is not proved yet. Raises that lab's error when no lab is left.
    """
    prepared, errors = {}, []
    for lab in sorted({submission.lab for submission in plan.submissions}):
        try:
            prepared[lab] = prepare(plan.labs[lab], plan.settings, Level.L0, plan.tier)
        except (LabError, DataError) as error:
            errors.append(error)
    if errors and not prepared:
        raise errors[0]
    return prepared, tuple(errors)


# ---------------------------------------------------------------- doing the work


@dataclass
class Teller:
    """Counts what is done, and tells it."""

    on_event: OnEvent
    total: int
    done: int = 0

    def planned(self, tasks: Sequence[Task]) -> None:
        for lab, runs in Counter(task.submission.lab for task in tasks).items():
            self.on_event(Event(kind="planned", lab=lab, runs=runs, done=self.done, total=self.total))

    def progress(self, submission: Submission, text: str) -> None:
        if not text:
            return
        kind: Any = "started" if text == "running" else "stage"
        self.on_event(Event(kind=kind, text=text, done=self.done, **self._place(submission)))

    def finished(self, submission: Submission, row: ClassRow) -> None:
        self.done += 1
        self.on_event(
            Event(
                kind="finished",
                done=self.done,
                score=None if row.deferred else row.score,
                max_score=row.max_score,
                ending=row.ending.value,
                seconds=row.seconds,
                attention=row.needs_attention,
                **self._place(submission),
            )
        )

    def _place(self, submission: Submission) -> dict[str, Any]:
        return {"lab": submission.lab, "student": submission.student, "total": self.total}


def admission(prepared: Mapping[str, Setting], room: float) -> Admission:
    """How many runs of these labs fit into so much memory (MiB) at a time."""

    def cost(task: Task) -> float:
        return run_mb(prepared[task.submission.lab].limits)

    return Admission(room, cost)


def carry_out(pool: Pool, tasks: Sequence[Task], teller: Teller) -> Iterator[tuple[Task, Result | str]]:
    """Have the pool do the tasks; yields each one's result as it ends, or why it could not be done (ours).

    Raises OursError as soon as a run cannot be written: no other could be either.
    """
    teller.planned(tasks)
    with contextlib.closing(pool.run(tasks)) as messages:
        for message in messages:
            task = tasks[message.task]
            if isinstance(message, Progress):
                teller.progress(task.submission, message.text)
                continue
            result: Result | None = message.result
            if result is not None and result.did == "unwritten":
                raise OursError(result.why)
            yield task, message.failure if result is None else result


@dataclass
class _Batch:
    """A batch under way: the rows of what is done. ``missed``: runs whose tapes could not answer."""

    plan: Plan
    teller: Teller
    bases: Mapping[str, Basis]
    rows: Shelf[ClassRow] = field(default_factory=lambda: Shelf(ClassRow))
    missed: Shelf[Task] = field(default_factory=lambda: Shelf(Task))
    problems: list[str] = field(default_factory=list)
    kept: int = 0
    judged: int = 0

    @property
    def jobs(self) -> int:
        return self.plan.jobs or self.plan.settings.jobs or default_jobs()

    def tell_kept(self) -> None:
        """The rows so far are those of runs that stand."""
        self.kept = self.teller.done = len(self.rows)
        if self.kept:
            text = f"{self.kept} of {self.teller.total} are graded already and unchanged"
            self.teller.on_event(Event(kind="kept", text=text, done=self.kept, total=self.teller.total))

    def carry_out(self, pool: Pool, tasks: Sequence[Task]) -> None:
        """Have the pool do the tasks, and take the rows."""
        for task, result in carry_out(pool, tasks, self.teller):
            row = result.row if isinstance(result, Result) else self._failed(task, result)
            if row is None:
                self.missed.append(msgspec.structs.replace(task, work="ask"))
                continue
            self.judged += isinstance(result, Result) and result.did == "judged"
            self.rows.append(row)
            self.teller.finished(task.submission, row)

    def _failed(self, task: Task, why: str) -> ClassRow:
        """What we could not do. A run that is kept stays as it is; one that was not done gets a card that says so."""
        submission = task.submission
        folder = store.run_folder(self.plan.out, submission)
        old = None if task.work == "run" else store.verdict(folder)
        if old is not None:
            self.problems.append(f"{submission.lab}/{submission.student} could not be judged again and stays: {why}")
            return class_row(old, submission.slug)
        setting = prepare(self.plan.labs[submission.lab], self.plan.settings, Level.L0, self.plan.tier)
        graded = ungraded(setting, submission, Ending.OURS, why)
        cards = render_cards(graded, self.plan.settings.course_name, setting.lab.folder)
        with store.writing(folder):
            store.save(self.plan.out, submission, graded, cards, self.bases[submission.lab].of(submission))
        return class_row(graded.verdict, submission.slug)
