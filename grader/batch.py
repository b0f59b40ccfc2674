"""Grade a batch: submissions in, cards and an overview out. Also regrades from tapes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from grader import datasets, heldout, store
from grader.errors import DataError, GraderError, LabError, SandboxError
from grader.grading import CleanRoom, Graded, Setting, grade_submission, judge_run, ungraded
from grader.labs import Lab
from grader.pools import LocalPool, Progress, default_jobs
from grader.records import CheckResult, Ending, Level, Record, Tier, Verdict
from grader.reports import ClassRow, ExecutedCell, render_card, render_index
from grader.sandbox import Backend
from grader.sandbox.canary import Proof, choose
from grader.session import Session
from grader.settings import Settings, limits_for, secret, state_folder
from grader.submissions import Submission
from grader.zygote import Zygote


class Plan(Record, frozen=True):
    """What to grade and how. ``jobs`` 0: one for each core. ``tier`` None: full data where it is complete."""

    submissions: tuple[Submission, ...]
    labs: dict[str, Lab]
    settings: Settings
    out: Path
    jobs: int = 0
    min_level: Level | None = None
    cold: bool = False
    tier: Tier | None = None


class Event(Record, frozen=True):
    """Something happened. ``done`` of ``total`` runs are finished."""

    kind: Literal["level", "started", "stage", "finished"]
    lab: str = ""
    student: str = ""
    text: str = ""
    done: int = 0
    total: int = 0
    score: float | None = None
    max_score: float | None = None
    ending: str = ""
    seconds: float = 0.0


class Summary(Record, frozen=True):
    """A batch that is over. ``attention`` counts runs that need staff because of us; ``errors`` are labs left out."""

    rows: tuple[ClassRow, ...]
    level: Level
    proof: Proof
    out: Path
    index: Path
    attention: int
    seconds: float
    errors: tuple[GraderError, ...] = ()


class CheckChange(Record, frozen=True):
    """One check's score before and after a regrade."""

    id: str
    before: float
    after: float


class Change(Record, frozen=True):
    """What a regrade did to one run. ``rerun``: its tape could not answer, so the notebook was (or has to be) run."""

    lab: str
    student: str
    before: float
    after: float
    checks: tuple[CheckChange, ...] = ()
    rerun: bool = False


OnEvent = Callable[[Event], None]


def _ignore(event: Event) -> None:
    """Nobody listens."""


def grade(plan: Plan, on_event: OnEvent = _ignore) -> Summary:
    """Grade every submission of the plan and write cards and the overview.

    Raises SandboxError when the level demanded cannot be reached, LabError when a lab is wrong.
    """
    begun = time.monotonic()
    python = kernel_python(plan.settings)
    minimum = plan.min_level if plan.min_level is not None else Level(plan.settings.min_level)
    backend, proof = choose(python, minimum)
    on_event(Event(kind="level", text=proof.summary))
    prepared, errors = _prepare_all(plan, proof.level)
    plan = msgspec.structs.replace(plan, submissions=tuple(s for s in plan.submissions if s.lab in prepared))
    plan.out.mkdir(parents=True, exist_ok=True)
    factory = GradingWorker.Factory(backend, python, prepared, str(plan.out), plan.settings.course_name, plan.cold)
    pool = LocalPool(factory, plan.jobs or plan.settings.jobs or default_jobs())
    rows = _collect(pool, plan, on_event)
    index = write_index(plan.out, plan.settings)
    attention = sum(row.needs_attention for row in rows)
    return Summary(
        rows=tuple(rows),
        level=proof.level,
        proof=proof,
        out=plan.out,
        index=index,
        attention=attention,
        seconds=time.monotonic() - begun,
        errors=errors,
    )


def _prepare_all(plan: Plan, level: Level) -> tuple[dict[str, Setting], tuple[GraderError, ...]]:
    """Every lab of the plan made ready; one whose data or spec is wrong costs the others nothing.

    Raises that lab's error when no lab is left.
    """
    prepared, errors = {}, []
    for lab in sorted({submission.lab for submission in plan.submissions}):
        try:
            prepared[lab] = prepare(plan.labs[lab], plan.settings, level, plan.tier)
        except (LabError, DataError) as error:
            errors.append(error)
    if errors and not prepared:
        raise errors[0]
    return prepared, tuple(errors)


def _collect(pool: LocalPool, plan: Plan, on_event: OnEvent) -> list[ClassRow]:
    rows: list[ClassRow] = []
    with contextlib.closing(pool.run(plan.submissions)) as messages:
        for message in messages:
            submission = plan.submissions[message.task]
            place: dict[str, Any] = {
                "lab": submission.lab,
                "student": submission.student,
                "total": len(plan.submissions),
            }
            if isinstance(message, Progress):
                kind: Any = "started" if message.text == "running" else "stage"
                on_event(Event(kind=kind, text=message.text, done=len(rows), **place))
                continue
            row = message.result if message.result is not None else _failed(plan, submission, message.failure)
            rows.append(row)
            on_event(_finished(row, len(rows), place))
    return rows


def _finished(row: ClassRow, done: int, place: Mapping[str, Any]) -> Event:
    return Event(
        kind="finished",
        done=done,
        score=row.score,
        max_score=row.max_score,
        ending=row.ending.value,
        seconds=row.seconds,
        **place,
    )


def _failed(plan: Plan, submission: Submission, why: str) -> ClassRow:
    """A run that we could not do: it gets a card that says so, and needs attention."""
    setting = prepare(plan.labs[submission.lab], plan.settings, Level.L0, plan.tier)
    graded = ungraded(setting, submission, Ending.OURS, why)
    store.save(plan.out, submission, graded, cards(graded, plan.settings.course_name))
    return class_row(graded.verdict, submission.slug)


# ---------------------------------------------------------------- one lab in this course


def prepare(lab: Lab, settings: Settings, level: Level, tier: Tier | None = None) -> Setting:
    """Resolve a lab's data and limits. Raises DataError, LabError."""
    if lab.is_kit:
        where, fix = str(lab.folder), "grade with the staff's copy of the lab, or use `grader check`"
        raise LabError("the lab holds only its public suite", where=where, fix=fix)
    the_secret = secret(settings)
    source = mounted = None
    if lab.data != "none":
        source = datasets.resolve(lab.data, settings.data, tier)
        mounted = heldout.mounted(lab.data, source, the_secret, mounted_folder())
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


# ---------------------------------------------------------------- in the worker process


class GradingWorker:
    """Grades one submission after another with one warm zygote (or, ``cold``, a new one for each)."""

    @dataclass(frozen=True)
    class Factory:
        """Picklable: travels to the worker process."""

        backend: Backend
        python: str
        prepared: Mapping[str, Setting]
        out: str
        course_name: str
        cold: bool = False

        def __call__(self, slot: int) -> GradingWorker:
            return GradingWorker(self, slot)

    def __init__(self, factory: Factory, slot: int) -> None:
        self.factory, self.slot = factory, slot
        self.zygote: Zygote | None = None

    def __call__(self, submission: Submission, tell: Callable[[str], None]) -> ClassRow:
        setting = self.factory.prepared[submission.lab]
        try:
            graded = self._graded(setting, submission, tell)
        finally:
            if self.factory.cold:
                self.close()
        store.save(Path(self.factory.out), submission, graded, cards(graded, self.factory.course_name))
        return class_row(graded.verdict, submission.slug)

    def _graded(self, setting: Setting, submission: Submission, tell: Callable[[str], None]) -> Graded:
        if submission.problem is not None:
            return grade_submission(None, setting, submission, tell)  # type: ignore[arg-type]  # never used then
        try:
            graded = grade_submission(self._zygote(), setting, submission, tell)
        except SandboxError:  # ours: once more, on a fresh zygote
            graded = None
        if graded is None or graded.lost:
            # A kernel that ended well and was gone when it was asked: if that was ours, a second run will answer; if
            # it was the notebook's doing, it will happen again and be told as such.
            self.close()
            graded = grade_submission(self._zygote(), setting, submission, tell)
        return graded

    def _zygote(self) -> Zygote:
        if self.zygote is None or not self.zygote.alive():
            self.close()
            cache = matplotlib_cache(self.factory.python)
            options = {"matplotlib_cache": cache} if cache else {}
            self.zygote = Zygote(
                self.factory.backend, self.factory.python, data=mounted_folder(), slot=self.slot, options=options
            )
        return self.zygote

    def close(self) -> None:
        if self.zygote is not None:
            self.zygote.close()
            self.zygote = None


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
            [python, "-c", "import matplotlib.pyplot"], env=environ, check=True, timeout=120, capture_output=True
        )
        os.chmod(building, 0o755)  # noqa: S103 - a list of fonts, read inside the sandbox
        os.rename(building, folder)
    except (OSError, subprocess.SubprocessError):
        if not folder.is_dir():
            return ""
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return str(folder)


# ---------------------------------------------------------------- cards and overview


def cards(graded: Graded, course_name: str) -> dict[str, str]:
    """Both editions of a run's card."""
    language = graded.verdict.language
    cells = executed_cells(graded.facts.executed)
    return {
        "student": render_card(
            graded.verdict, graded.exhibits, edition="student", course_name=course_name, language=language
        ),
        "staff": render_card(
            graded.verdict,
            graded.exhibits,
            edition="staff",
            course_name=course_name,
            language=language,
            executed_cells=cells,
        ),
    }


def executed_cells(executed: bytes) -> tuple[ExecutedCell, ...]:
    """The code cells of an executed notebook, as text. It comes from the sandbox: anything odd is left out."""
    try:
        cells = msgspec.json.decode(executed).get("cells", [])
    except (msgspec.DecodeError, AttributeError, RecursionError, UnicodeDecodeError):
        return ()
    found = []
    number = 0
    for cell in cells[:2000] if isinstance(cells, list) else []:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = _text(cell.get("source"))
        if not source.strip():
            continue
        number += 1
        outputs = [output for output in cell.get("outputs") or [] if isinstance(output, dict)]
        text = "\n".join(_output_text(output) for output in outputs)[:5000]
        failed = any(output.get("output_type") == "error" for output in outputs)
        found.append(ExecutedCell(number=number, source=source[:20_000], output=text, failed=failed))
    return tuple(found)


def _text(source: Any) -> str:
    return "".join(part for part in source if isinstance(part, str)) if isinstance(source, list) else str(source or "")


def _output_text(output: dict[str, Any]) -> str:
    if output.get("output_type") == "error":
        return f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"[:1000]
    data = output.get("data")
    return _text(data.get("text/plain") if isinstance(data, dict) else output.get("text"))


def class_row(verdict: Verdict, slug: str) -> ClassRow:
    """A run's line in the overview."""
    return ClassRow(
        lab=verdict.lab,
        lab_title=verdict.lab_title,
        student=verdict.student,
        score=verdict.score,
        max_score=verdict.max_score,
        ending=verdict.ending,
        needs_attention=bool(verdict.needs_attention),
        flags=len(verdict.flags),
        level=verdict.level,
        tier=verdict.tier,
        seconds=verdict.timings.get("total", 0.0),
        card=f"{verdict.lab}/{slug}/staff/card.html",
    )


def write_index(out: Path, settings: Settings) -> Path:
    """The overview of every run below ``out``, this batch's and earlier ones'."""
    rows = []
    for folder in store.runs(out):
        try:
            verdict = msgspec.json.decode((folder / "staff" / "result.json").read_bytes(), type=Verdict)
        except (OSError, msgspec.DecodeError):  # damaged by hand: the overview shows the others
            continue
        rows.append(class_row(verdict, folder.name))
    index = out / "index.html"
    html = render_index(rows, course_name=settings.course_name, language=settings.language)
    store.write_whole(index, html.encode())
    return index


# ---------------------------------------------------------------- regrading


def regrade(
    out: Path,
    labs: Mapping[str, Lab],
    settings: Settings,
    only_lab: str | None = None,
    on_event: OnEvent = _ignore,
    *,
    rerun: bool = True,
) -> tuple[Change, ...]:
    """Judge kept runs again and say what changed.

    First from their tapes alone, which runs nothing. A question that is not on the tape and concerns a kept model or
    file is asked in the clean sandbox. Any other miss runs that submission again (unless ``rerun`` is False): its
    whole tape is replaced, never spliced.
    """
    changes: list[Change] = []
    missed: list[store.Saved] = []
    folders = [folder for folder in store.runs(out, only_lab) if folder.parent.name in labs]
    for number, folder in enumerate(folders, start=1):
        saved = store.load(folder)
        change = _replay(saved, labs[saved.verdict.lab], settings, None)
        if change is not None and change.rerun:
            missed.append(saved)
        elif change is not None:
            changes.append(change)
        place: dict[str, Any] = {"lab": saved.verdict.lab, "student": saved.verdict.student}
        figures: dict[str, Any] = {"score": saved.verdict.score, "max_score": saved.verdict.max_score}
        on_event(Event(kind="finished", done=number, total=len(folders), **figures, **place))
    changes += _ask_again(missed, out, labs, settings, on_event, rerun=rerun)
    write_index(out, settings)
    return tuple(changes)


def _ask_again(
    missed: list[store.Saved], out: Path, labs: Mapping[str, Lab], settings: Settings, on_event: OnEvent, *, rerun: bool
) -> list[Change]:
    """Runs whose tape could not answer: the clean sandbox first, then the notebook itself."""
    if not missed or not rerun:
        return [_unchanged(saved) for saved in missed]
    changes: list[Change] = []
    again: list[store.Saved] = []
    python = kernel_python(settings)
    backend, _ = choose(python, Level(settings.min_level))
    with Zygote(backend, python, data=mounted_folder()) as zygote:
        for saved in missed:
            change = _replay(saved, labs[saved.verdict.lab], settings, zygote)
            if change is not None and change.rerun:
                again.append(saved)
            elif change is not None:
                changes.append(change)
    for tier in Tier:
        old = {(s.verdict.lab, s.submission.slug): s.verdict for s in again if s.verdict.tier is tier}
        submissions = tuple(s.submission for s in again if s.verdict.tier is tier)
        if not submissions:
            continue
        plan = Plan(submissions=submissions, labs=dict(labs), settings=settings, out=out, tier=tier)
        grade(plan, on_event)
        for submission in submissions:
            new = store.load(store.result_path(out, submission).parent.parent).verdict
            changes.append(_difference(old[submission.lab, submission.slug], new, rerun=True))
    return changes


def _replay(saved: store.Saved, lab: Lab, settings: Settings, zygote: Zygote | None) -> Change | None:
    """Judge from the tape; with a zygote also in the clean sandbox. None: nothing changed."""
    old = saved.verdict
    if old.ending is Ending.OURS:
        return None
    setting = prepare(lab, settings, old.level, old.tier)
    if saved.submission.problem is not None:  # nothing to ask, but its points may be others now
        return _replace(
            saved, ungraded(setting, saved.submission, saved.submission.problem, old.ending_detail), settings
        )
    draw = setting.heldout(saved.submission.sha256)
    seed = draw.seed if draw else 0
    clean = CleanRoom(zygote, seed, setting.limits) if zygote else None
    session = Session(
        None, clean.open if clean else None, saved.tape(), seed=seed, deadline_s=setting.limits.question_s, replay=True
    )
    try:
        graded = judge_run(
            setting, saved.submission, saved.facts, session, draw, read_file=saved.read_file, exhibits=saved.exhibits
        )
    finally:
        session.close()
        if clean:
            clean.close()
    return _unchanged(saved) if graded.missed else _replace(saved, graded, settings)


def _replace(saved: store.Saved, graded: Graded, settings: Settings) -> Change | None:
    """Put the new verdict and cards in the old ones' place. None: nothing to tell."""
    old = saved.verdict
    flags = tuple(flag for flag in old.flags if not flag.check) + graded.verdict.flags  # the exhibits' and the suite's
    kept = {"timings": old.timings, "peak_memory_mb": old.peak_memory_mb, "attempt": old.attempt, "flags": flags}
    verdict = msgspec.structs.replace(graded.verdict, **kept)
    if msgspec.structs.replace(verdict, graded_at=old.graded_at, checks=_untimed(verdict)) == msgspec.structs.replace(
        old, checks=_untimed(old)
    ):
        return None
    executed = (saved.folder / "staff" / "executed.ipynb").read_bytes()
    facts = msgspec.structs.replace(saved.facts, executed=executed)
    regraded = Graded(verdict, saved.exhibits, facts, graded.tape)
    store.update(saved.folder, regraded, cards(regraded, settings.course_name))
    change = _difference(old, verdict)
    return change if change.checks or change.before != change.after else None


def _untimed(verdict: Verdict) -> tuple[CheckResult, ...]:
    return tuple(msgspec.structs.replace(check, seconds=0.0) for check in verdict.checks)


def _unchanged(saved: store.Saved) -> Change:
    old = saved.verdict
    return Change(lab=old.lab, student=old.student, before=old.score, after=old.score, rerun=True)


def _difference(old: Verdict, new: Verdict, *, rerun: bool = False) -> Change:
    before = {check.id: check.score for check in old.checks}
    after = {check.id: check.score for check in new.checks}
    moved = tuple(
        CheckChange(id=name, before=before.get(name, 0.0), after=after.get(name, 0.0))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    )
    return Change(lab=old.lab, student=old.student, before=old.score, after=new.score, checks=moved, rerun=rerun)
