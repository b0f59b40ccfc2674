"""Running correct solutions for a calibration, each in a course of its own.

A trial is one training: its number seeds the notebook and names a made-up course, whose secret withholds other rows and
draws other questions. So no two trials share anything but the notebook, and their figures are independent. It takes the
way of every submission (sandbox, hidden suite, clean sandbox) and leaves only figures: no cards, no artifacts.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from grader.batch import Event
from grader.calibration.kept import Figure, Run
from grader.errors import LabError, OursError
from grader.labs import Lab
from grader.labs.alternatives import read_alternatives
from grader.labs.starter import mutate, read_mutants, read_reference, reference_path
from grader.pools import Admission, LocalPool, Progress, default_jobs, room_mb, run_mb
from grader.records import Ending, Level, Outcome, Record, Tier, Verdict
from grader.sandbox.canary import choose
from grader.settings import Settings, limits_for, state_folder
from grader.submissions import Cell, Submission
from grader.verification import as_submission
from grader.worker import GradingWorker, kernel_python, prepare

SEED = re.compile(r"\b(set_random_seed|set_seed|random\.seed)\(\s*\d+\s*\)")
#: A baseline needs no tail, only a mean: one run for so many of each correct solution, and no fewer than the second.
BASELINE_SHARE, BASELINE_RUNS = 10, 3
DIGITS = 6


class Style(Record, frozen=True):
    """A notebook that is calibrated: the reference, an alternative, or a ``baseline``. ``digest`` is of its text.

    A baseline lacks the skill that ``checks`` ask for, or that of every check where they are empty.
    """

    name: str
    submission: Submission
    baseline: bool = False
    checks: tuple[str, ...] = ()

    def weighs(self, check: str) -> bool:
        """Whether its figures say something about that check."""
        return not self.checks or check in self.checks

    @property
    def digest(self) -> str:
        return self.submission.sha256[:8]


class Trial(Record, frozen=True):
    """One run to do."""

    style: Style
    number: int


def styles(lab: Lab) -> tuple[Style, ...]:
    """The reference, the alternatives, and the mutants marked as baselines. Raises LabError."""
    reference = read_reference(reference_path(lab.folder.parent, lab.id))
    found = [Style(name="reference", submission=as_submission(lab, "reference", reference))]
    for name, notebook in read_alternatives(lab.folder).items():
        found.append(Style(name=name, submission=as_submission(lab, name, notebook)))
    for mutant in read_mutants(lab.folder):
        if mutant.baseline:
            where = str(lab.folder / "mutants" / f"{mutant.name}.toml")
            submission = as_submission(lab, mutant.name, mutate(reference, mutant, where))
            checks = _of_this_lab(lab, mutant.baseline, where) if isinstance(mutant.baseline, tuple) else ()
            found.append(Style(name=mutant.name, submission=submission, baseline=True, checks=checks))
    return tuple(found)


def _of_this_lab(lab: Lab, names: tuple[str, ...], where: str) -> tuple[str, ...]:
    known = [check.id for check in lab.checks]
    for name in names:
        if name not in known:
            what = f"baseline names {name!r}, which is no check of this lab"
            raise LabError(what, where=where, fix=f"its checks are {', '.join(known)}")
    return names


def current(runs: Sequence[Run], among: Sequence[Style]) -> list[Run]:
    """The runs of notebooks that are still what they were."""
    digests = {style.name: style.digest for style in among}
    return [run for run in runs if digests.get(run.style) == run.notebook]


def missing(kept: Sequence[Run], among: Sequence[Style], runs: int) -> list[Trial]:
    """What is still to do for that many runs of correct solutions, dealt so that all styles grow alike."""
    right = [style for style in among if not style.baseline]
    wanted = {style.name: runs // len(right) + (at < runs % len(right)) for at, style in enumerate(right)}
    each = max(BASELINE_RUNS, max(wanted.values(), default=0) // BASELINE_SHARE) if runs else 0
    wanted |= {style.name: each for style in among if style.baseline}
    have = Counter(run.style for run in current(kept, among))
    last = Counter[str]()
    for run in kept:  # of older notebooks too: a number is used once for a style
        last[run.style] = max(last[run.style], run.number)
    trials = [
        (at / wanted[style.name], Trial(style=style, number=last[style.name] + 1 + at - have[style.name]))
        for style in among
        for at in range(have[style.name], wanted[style.name])
    ]
    return [trial for _, trial in sorted(trials, key=lambda item: item[0])]


def seeded(submission: Submission, number: int) -> Submission:
    """The notebook with that random seed wherever it sets one."""
    cells = tuple(
        Cell(kind=cell.kind, source=SEED.sub(rf"\1({number})", cell.source)) if cell.kind == "code" else cell
        for cell in submission.cells
    )
    sha256 = hashlib.sha256(f"{submission.sha256} {number}".encode()).hexdigest()
    return msgspec.structs.replace(submission, cells=cells, sha256=sha256)


def suite_digest(lab: Lab) -> str:
    """A short hash of the hidden suite: which one judged a run."""
    digest = hashlib.sha256()
    for path in sorted((lab.folder / "hidden_tests").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


# ---------------------------------------------------------------- running them


def run_trials(
    lab: Lab,
    settings: Settings,
    trials: Sequence[Trial],
    *,
    tier: Tier | None,
    jobs: int,
    on_event: Callable[[Event], None],
) -> Iterator[Run | str]:
    """Do the trials; yields each one's figures as it ends, or why it could not be done (ours)."""
    python = kernel_python(settings)
    backend, proof = choose(python, Level(settings.min_level))
    on_event(Event(kind="level", text=proof.summary))
    state_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="calibration-", dir=state_folder()) as mounts:
        Path(mounts).chmod(0o755)
        grading = GradingWorker.Factory(backend, python, {}, "", "")
        factory = CalibrationWorker.Factory(grading, Path(mounts), lab, settings, proof.level, tier)
        cost = run_mb(limits_for(settings, lab.limits))
        admission = Admission(room_mb(settings.room_mb), lambda trial: cost)
        pool = LocalPool(factory, jobs or settings.jobs or default_jobs(), admission)
        done = 0
        with closing(pool.run(trials)) as messages:
            for message in messages:
                trial = trials[message.task]
                place: dict[str, Any] = {"lab": lab.id, "student": _label(trial), "total": len(trials)}
                if isinstance(message, Progress):
                    kind: Any = "started" if message.text == "running" else "stage"
                    on_event(Event(kind=kind, text=message.text, done=done, **place))
                    continue
                done += 1
                run: Run | None = message.result
                yield run if run is not None else f"{_label(trial)}: {message.failure}"
                told = {"ending": run.ending, "seconds": run.seconds} if run else {"ending": message.failure}
                on_event(Event(kind="finished", done=done, **told, **place))


def _label(trial: Trial) -> str:
    return f"{trial.style.name} {trial.number}"


class CalibrationWorker:
    """Grades trials with one warm zygote and keeps only their figures."""

    @dataclass(frozen=True)
    class Factory:
        """Picklable: travels to the worker process."""

        grading: GradingWorker.Factory
        mounts: Path
        lab: Lab
        settings: Settings
        level: Level
        tier: Tier | None

        def __call__(self, slot: int) -> CalibrationWorker:
            return CalibrationWorker(self, slot)

    def __init__(self, factory: Factory, slot: int) -> None:
        self.factory = factory
        # A folder of its own: two styles' trials of one number are of one course, and who ends first removes its data.
        self.mounts = factory.mounts / str(slot)
        self.mounts.mkdir(exist_ok=True)
        self.mounts.chmod(0o755)  # read by the sandbox's unprivileged user
        self.grading = replace(factory.grading, mounts=self.mounts)(slot)

    def __call__(self, trial: Trial, tell: Callable[[str], None]) -> Run:
        course = msgspec.structs.replace(self.factory.settings, secret=f"the course of calibration {trial.number}")
        setting = prepare(self.factory.lab, course, self.factory.level, self.factory.tier, self.mounts)
        begun = time.monotonic()
        try:
            graded = self.grading.graded(setting, seeded(trial.style.submission, trial.number), tell)
        finally:
            if setting.mounted is not None:  # every trial has its own: of MNIST each takes 55 MB
                shutil.rmtree(setting.mounted, ignore_errors=True)
        if graded.verdict.ending is Ending.OURS:
            raise OursError(graded.verdict.ending_detail or "the run could not be done")
        return figures(trial, graded.verdict, suite_digest(self.factory.lab), time.monotonic() - begun)

    def close(self) -> None:
        self.grading.close()


def figures(trial: Trial, verdict: Verdict, suite: str, seconds: float) -> Run:
    """What is kept of a verdict. An ERRORED check has lost its points: a calibration is where to find that out."""
    measured, lost, skipped = {}, {}, []
    for check in verdict.checks:
        if check.measured:
            measured[check.id] = tuple(
                Figure(
                    threshold=found.threshold,
                    kind=found.kind,
                    value=round(found.value, DIGITS),
                    best=round(found.best, DIGITS),
                    rows=found.rows,
                )
                for found in check.measured
            )
        if check.outcome is Outcome.SKIPPED and not check.blocked_by:
            skipped.append(check.id)
        elif check.outcome is not Outcome.PASSED and check.points:
            lost[check.id] = round(check.score / check.points, 4)
    return Run(
        style=trial.style.name,
        number=trial.number,
        notebook=trial.style.digest,
        suite=suite,
        seconds=round(seconds, 1),
        measured=measured,
        lost=lost,
        skipped=tuple(skipped),
        ending="" if verdict.ending is Ending.OK else verdict.ending.value,
    )
