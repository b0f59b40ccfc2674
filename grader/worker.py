"""A lab made ready for this course, and the worker process that grades one submission after another."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from grader import datasets, gpu, heldout, store
from grader.cards import render_cards, rewrite, same
from grader.checks.judge import Suites
from grader.errors import LabError, SandboxError
from grader.grading import Graded, Setting, deferred, grade_submission, refused
from grader.labs import Lab
from grader.provenance import Basis, Provenance
from grader.records import Ending, Gpus, Level, Record, Tier, Verdict
from grader.replay import Change, difference, replay
from grader.reports import ClassRow, class_row
from grader.runner import gpus_inside
from grader.sandbox import Backend
from grader.settings import Settings, limits_for, secret, state_folder
from grader.submissions import Submission
from grader.zygote import Zygote


def prepare(
    lab: Lab, settings: Settings, level: Level, tier: Tier | None = None, mounts: Path | None = None
) -> Setting:
    """Resolve a lab's data and limits; what may be mounted lies below ``mounts``. Raises DataError, LabError."""
    if lab.is_kit:
        where, fix = str(lab.folder), "grade with the staff's copy of the lab, or use `grader check`"
        raise LabError("the lab holds only its public suite", where=where, fix=fix)
    the_secret = secret(settings)
    source = mounted = None
    if lab.data != "none":
        source = datasets.resolve(lab.data, settings.data, tier)
        mounted = heldout.mounted(lab.data, source, the_secret, mounts or mounted_folder())
        if lab.thresholds and source.tier not in lab.thresholds:
            where = str(lab.folder / "lab.toml")
            raise LabError(f"no thresholds for the {source.tier.value} data", where=where, fix="run `grader calibrate`")
    limits = limits_for(settings, lab.limits)
    return Setting(lab, source, mounted, the_secret, limits, level, settings.language)


def mounted_folder() -> Path:
    """Where held-out-reduced copies are kept: a folder of this user's that every sandbox may read."""
    folder = state_folder() / "mounted"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kernel_python(settings: Settings) -> str:
    """The interpreter that notebooks run on."""
    import sys

    return str(settings.kernel_python) if settings.kernel_python else sys.executable


#: How often a run is tried whose processes went away. From here it looks the same whoever ended them: the notebook, or a
#: machine that ran out of memory. The notebook's own doing happens again at the same place; ours does not.
TRIES = 4


#: Told before anything of a run is written: no news, but who has no use for the run any more raises (`pools.serve`).
STILL_WANTED = ""


class Task(Record, frozen=True):
    """What a worker is to do with one submission.

    ``run``: run and judge it. ``replay``: judge the run that is kept of it again, from its tape alone. ``ask``: the same,
    in a clean sandbox where the tape cannot answer, and by running the notebook where that does not do either.
    """

    submission: Submission
    work: Literal["run", "replay", "ask"] = "run"


class Result(Record, frozen=True):
    """What became of a task. ``change``: what moved in the scores of a run that had been kept.

    There is no ``row`` where nothing was written: the tape cannot answer ("missed"), a kept file cannot be read
    ("damaged"), or the run's folder cannot be written ("unwritten"); ``why`` names the file.
    """

    did: Literal["ran", "judged", "missed", "damaged", "unwritten"]
    row: ClassRow | None = None
    change: Change | None = None
    why: str = ""


class GradingWorker:
    """Does one task after another with a warm zygote (or, ``cold``, a new one for each), started when it is first needed.

    What is kept of a run is read below the factory's ``out`` and written there, and nowhere else.

    Labs that ask for a GPU, where there is one, have a zygote of their own: the devices are in no other sandbox.
    """

    @dataclass(frozen=True)
    class Factory:
        """Picklable: travels to the worker process."""

        backend: Backend | None  # None: for what starts no sandbox
        python: str
        prepared: Mapping[str, Setting]
        out: str
        course_name: str
        cold: bool = False
        bases: Mapping[str, Basis] = field(default_factory=dict)  # what a kept run rests on, by lab
        gpus: Gpus | None = None  # what there is for notebooks, where that is not for this machine to say
        mounts: Path | None = None  # where what the sandboxes may see of the data lies, if not in the usual place

        def __call__(self, slot: int) -> GradingWorker:
            return GradingWorker(self, slot)

    def __init__(self, factory: Factory, slot: int) -> None:
        self.factory, self.slot = factory, slot
        self.zygotes: dict[tuple[str, ...], Zygote] = {}
        self._offered = factory.gpus
        self._room = gpu.Room()
        self._suites = Suites()

    def __call__(self, task: Task, tell: Callable[[str], None]) -> Result:
        try:
            return self._run(task, tell) if task.work == "run" else self._judge(task, tell)
        except store.Unwritable as error:
            return Result(did="unwritten", why=str(error))
        finally:
            if self.factory.cold:
                self.close()

    def _run(self, task: Task, tell: Callable[[str], None], old: Verdict | None = None) -> Result:
        """Run the notebook, and put the run in the place of the kept one (``old``), where there is one."""
        setting, submission = self.factory.prepared[task.submission.lab], task.submission
        graded = self.graded(setting, submission, tell)
        cards = render_cards(graded, self.factory.course_name, setting.lab.folder)
        out = Path(self.factory.out)
        tell(STILL_WANTED)
        with store.writing(store.run_folder(out, submission)):
            store.save(out, submission, graded, cards, self._rests_on(submission))
        change = difference(old, graded.verdict, rerun=True) if old else None
        return Result(did="ran", row=class_row(graded.verdict, submission.slug), change=change)

    def _judge(self, task: Task, tell: Callable[[str], None]) -> Result:
        """Judge the kept run again. Nothing is written where the tape alone cannot answer and that was all to try."""
        setting, submission = self.factory.prepared[task.submission.lab], task.submission
        tell("judging")
        try:
            saved = store.load(store.run_folder(Path(self.factory.out), submission))
            rested_on = store.provenance(saved.folder)
            today = self._rests_on(submission)
            retold = rested_on is not None and today is not None and rested_on.telling != today.telling
            anew = retold or (rested_on is not None and store.stale(saved.folder, rested_on.sizes))
            graded = replay(saved, setting, submission, None, self._suites)
            if graded.missed and task.work == "ask":
                graded = replay(saved, setting, submission, self._zygote(), self._suites)
        except store.Damaged as damage:
            return self._run(task, tell) if task.work == "ask" else Result(did="damaged", why=str(damage))
        if graded.missed:
            return self._run(task, tell, saved.verdict) if task.work == "ask" else Result(did="missed")
        tell(STILL_WANTED)
        with store.writing(saved.folder):
            if anew or not same(saved.verdict, graded.verdict):
                rewrite(saved, graded, self.factory.course_name, setting.lab.folder, submission, today, whole=anew)
            elif rested_on and today and (rested_on.judging != today.judging or submission != saved.submission):
                store.confirm(saved.folder, submission, today)
        change = difference(saved.verdict, graded.verdict)
        return Result(did="judged", row=class_row(graded.verdict, submission.slug), change=change)

    def _rests_on(self, submission: Submission) -> Provenance | None:
        basis = self.factory.bases.get(submission.lab)
        return basis.of(submission) if basis else None

    def graded(self, setting: Setting, submission: Submission, tell: Callable[[str], None]) -> Graded:
        """Run and judge one submission; again where a try failed, or may have failed, because of us."""
        not_run = refused(setting, submission)
        if not_run is not None:
            return not_run
        gpus = None if setting.lab.gpu == "no" else self.gpus()
        waits = deferred(setting, submission, gpus)
        if waits is not None:
            return waits
        devices = gpus.devices if gpus and gpus.cards else ()
        graded: Graded | None = None
        for attempt in range(TRIES):
            before = graded
            try:
                if gpus and devices and not gpus.problem:  # else NVML's processes cannot be told apart
                    self._room.wait()
                graded = grade_submission(self._zygote(devices), setting, submission, tell, gpus, self._suites)
            except SandboxError:  # ours: once more, on a fresh zygote
                if attempt:
                    raise
            if graded is not None and (not _died(graded) or (before is not None and _alike(before, graded))):
                break
            self.close()
        if graded is None:
            raise SandboxError("a run did not start")
        return graded

    def gpus(self) -> Gpus:
        """What this machine offers; asked once. A card that TensorFlow cannot use in the sandbox is not offered."""
        if self._offered is None:
            found = gpu.inventory()
            if found.cards and not gpus_inside(self._zygote(found.devices)):
                why = "TensorFlow does not see the GPU in the sandbox: run `grader doctor`"
                found = msgspec.structs.replace(found, cards=(), problem=why)
            self._offered = found
        return self._offered

    def _zygote(self, devices: tuple[str, ...] = ()) -> Zygote:
        """The zygote whose sandbox shows these devices."""
        known = self.zygotes.get(devices)
        if known is not None and known.alive():
            return known
        if known is not None:
            known.close()
        if self.factory.backend is None:
            raise SandboxError("this worker was given no sandbox")
        cache = matplotlib_cache(self.factory.python)
        options = {"matplotlib_cache": cache} if cache else {}
        self.zygotes[devices] = Zygote(
            self.factory.backend,
            self.factory.python,
            data=self.factory.mounts or mounted_folder(),
            slot=self.slot,
            options=options,
            devices=devices,
        )
        return self.zygotes[devices]

    def close(self) -> None:
        for zygote in self.zygotes.values():
            zygote.close()
        self.zygotes.clear()


def _died(graded: Graded) -> bool:
    """Whether its processes went away: in the middle, or when they were asked."""
    return graded.lost or graded.verdict.ending in (Ending.KERNEL_DIED, Ending.CHANNEL_BROKEN)


def _alike(one: Graded, other: Graded) -> bool:
    """Whether two runs of one notebook ended at the same place."""
    return (one.verdict.ending, one.facts.cells_run) == (other.verdict.ending, other.facts.cells_run)


def matplotlib_cache(python: str) -> str:
    """A folder with matplotlib's font list for that interpreter, made once for this user; "" when it cannot be."""
    import hashlib
    import subprocess

    folder = state_folder() / "matplotlib" / hashlib.sha256(python.encode()).hexdigest()[:12]
    if folder.is_dir():
        return str(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = tempfile.mkdtemp(dir=folder.parent)
    try:
        environ = {"PATH": os.environ.get("PATH", ""), "MPLCONFIGDIR": building, "HOME": building}
        subprocess.run(
            [python, "-I", "-c", "import matplotlib.pyplot"], env=environ, check=True, timeout=120, capture_output=True
        )
        os.chmod(building, 0o755)  # noqa: S103 - a list of fonts, read inside the sandbox
        os.rename(building, folder)
    except (OSError, subprocess.SubprocessError):
        if not folder.is_dir():
            return ""
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return str(folder)
