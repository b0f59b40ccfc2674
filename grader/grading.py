"""One run, from a submission to a verdict: the pipeline, readable from top to bottom.

    submission -> job -> run -> session -> suite -> verdict and exhibits

Nothing here decides a point: the suite does, and the rubric adds up. Nothing of the student's is imported, opened by
path or trusted: it is asked.
"""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from grader import heldout as heldouts
from grader import rubric
from grader.checks.convention import as_trained
from grader.checks.judge import Judged, Suites, judge, unrun
from grader.checks.marks import CheckFailed, Mark, running
from grader.checks.student import Bench, Student, wire_name
from grader.datasets import DATASETS, Source
from grader.diagnosis import Code, explain, foresee, read_code, still_ahead
from grader.errors import ChannelError, SandboxError
from grader.exhibits import curves, exhibit
from grader.fits import CUDA, unfit
from grader.heldout.chance import seed_of
from grader.labs import Lab
from grader.records import (
    CheckResult,
    Ending,
    Environment,
    Evidence,
    Exhibits,
    Flag,
    Foreseen,
    Gpus,
    Level,
    Limits,
    Outcome,
    Tier,
    Verdict,
)
from grader.runner import Job, OnEvent, RunFacts, open_clean, overlays_for, run_notebook
from grader.sandbox.backends import interpreter
from grader.session import Link, Session, Tape
from grader.submissions import Submission, code_bytes, large_literals
from grader.wire import SourceCell
from grader.zygote import Zygote

#: How checks end where a submission was not run and that is not the student's doing. All others FAILED.
UNRUN = {Ending.OURS: Outcome.ERRORED, Ending.DEFERRED: Outcome.SKIPPED}


@dataclass(frozen=True)
class Setting:
    """Everything about a lab in this course that does not depend on the submission."""

    lab: Lab
    source: Source | None
    mounted: Path | None
    secret: str
    limits: Limits
    level: Level
    language: str = "en"

    @property
    def tier(self) -> Tier:
        return self.source.tier if self.source else Tier.FULL

    def heldout(self, submission: str) -> heldouts.Heldout | None:
        """The draw that these bytes meet."""
        return heldouts.draw(self.lab.id, self.source, self.secret, submission) if self.source else None

    def chance(self, submission: str, of: str = "chance") -> int:
        """The seed of what a suite draws itself for these bytes, or of another choice that they must not foresee."""
        return seed_of(self.secret, self.lab.id, submission, of)


@dataclass(frozen=True)
class Graded:
    """What grading one submission gave: what the cards show, and what a regrade needs.

    ``missed``: a replay met a question that is not on the tape. ``lost``: the kernel was alive when the notebook
    ended, and gone when it was asked.
    """

    verdict: Verdict
    exhibits: Exhibits
    facts: RunFacts
    tape: Tape
    missed: bool = False
    lost: bool = False


def grade_submission(
    zygote: Zygote,
    setting: Setting,
    submission: Submission,
    on_event: OnEvent = lambda text: None,
    gpus: Gpus | None = None,
    suites: Suites | None = None,
) -> Graded:
    """Run and judge one submission that is neither `refused` nor `deferred`.

    Raises SandboxError when the machine, LabError when the lab is at fault. ``gpus`` is what this machine offers, where
    the lab asks for it; ``suites`` what this process keeps for judging others by the same suite.
    """
    begun = time.monotonic()
    heldout = setting.heldout(submission.sha256)
    seed = heldout.seed if heldout else int(submission.sha256[:7], 16)
    on_event("running")
    with run_notebook(zygote, _job(zygote, setting, submission, seed, gpus), on_event) as run:
        on_event("judging")
        clean = CleanRoom(zygote, seed, setting.limits)
        tape = Tape()
        session = Session(
            run.link,
            clean.open,
            tape,
            seed=seed,
            deadline_s=setting.limits.question_s,
            meter=run.meter,
            chance=random.Random(setting.chance(submission.sha256, "again")),  # noqa: S311 - seeded by the course's secret
        )
        try:
            graded = judge_run(setting, submission, run.facts, session, heldout, suites=suites)
        finally:
            session.close()
            clean.close()
        timings = {**graded.verdict.timings, "questions": session.seconds, "total": time.monotonic() - begun}
        verdict = msgspec.structs.replace(
            graded.verdict,
            timings={name: round(seconds, 3) for name, seconds in timings.items()},
            peak_memory_mb=round(run.peak_memory_mb(), 1),
        )
    return Graded(verdict, graded.exhibits, run.facts, tape, lost=session.lost)


def judge_run(
    setting: Setting,
    submission: Submission,
    facts: RunFacts,
    session: Session,
    heldout: heldouts.Heldout | None,
    *,
    read_file: Callable[[str], bytes] | None = None,
    exhibits: Exhibits | None = None,
    suites: Suites | None = None,
) -> Graded:
    """Judge a run that is over: live, or from its tape (then ``exhibits`` are the kept ones)."""
    bench = Bench(setting.lab, facts, session, read_file or (lambda path: facts.files[path]))
    chance = setting.chance(submission.sha256)
    judged = judge(setting.lab, bench, heldout, setting.tier, seed=chance, suites=suites)
    flags = list(judged.flags)
    if exhibits is None:  # what follows rests on nothing that a regrade could change, and is kept with the run
        exhibits, more = make_exhibits(setting, bench, heldout)
        flags += [*more, *carried_data(submission)]
        flags += [Flag(kind="inconsistent", message=_otherwise(question)) for question in session.recheck()]
    verdict = make_verdict(setting, submission, facts, with_run(judged, facts), tuple(flags))
    return Graded(verdict, exhibits, facts, session.tape, judged.missed)


def refused(setting: Setting, submission: Submission) -> Graded | None:
    """The verdict of a submission that is not run at all: a bad file, or too much code. None for any other."""
    if submission.problem is not None:
        return ungraded(setting, submission, submission.problem, submission.problem_text)
    too_large = over_source_limit(submission, setting.limits)
    return ungraded(setting, submission, Ending.TOO_LARGE, too_large) if too_large else None


def over_source_limit(submission: Submission, limits: Limits) -> str:
    """What to tell a student whose notebook has more code than the lab allows; "" where it has not."""
    size = code_bytes(submission.cells)
    if size <= limits.source_kb << 10:
        return ""
    return f"the notebook has {size >> 10:,} kB of code, this lab allows {limits.source_kb:,}: load data from files"


def carried_data(submission: Submission) -> list[Flag]:
    """A flag where the notebook carries data in its source: a table of answers, weights, somebody's data set."""
    found = large_literals(submission.cells)
    if not found:
        return []
    places = "; ".join(
        f"code cell {literal.cell}, line {literal.line}: {literal.length:,} characters that hold {literal.held:,} bytes"
        for literal in found[:5]
    )
    return [Flag(kind="large literal", message=f"the source carries data: {places}")]


def ungraded(setting: Setting, submission: Submission, ending: Ending, detail: str) -> Graded:
    """The verdict of a submission that was never run: a bad file, a failure of ours, or one that waits for a GPU."""
    why = detail or ending.value
    results = unrun(setting.lab.checks, why, UNRUN.get(ending, Outcome.FAILED))
    facts = RunFacts(ending=ending, ending_detail=detail)
    verdict = make_verdict(setting, submission, facts, with_run(Judged(results=results), facts), ())
    return Graded(verdict, Exhibits(), facts, Tape())


def deferred(setting: Setting, submission: Submission, gpus: Gpus | None) -> Graded | None:
    """The verdict of a submission that has to wait for another machine; None where this one will do.

    A lab that demands a GPU is not run without one: it would cost every student the same points.
    """
    if setting.lab.gpu != "required" or (gpus and gpus.cards):
        return None
    why = gpus.problem if gpus and gpus.problem else "there is none"
    detail = f"this lab needs a GPU, and the machine that took it offers none ({why})"
    return ungraded(setting, submission, Ending.DEFERRED, detail)


def _job(zygote: Zygote, setting: Setting, submission: Submission, seed: int, gpus: Gpus | None) -> Job:
    lab = setting.lab
    dataset = setting.mounted.name if setting.mounted else ""
    inside = zygote.backend.data_folders(zygote.data, dataset) if dataset else []
    names = [wire_name(contract, lab) for contract in lab.contract.values()]
    return Job(
        cells=tuple(SourceCell(cell.kind, cell.source) for cell in submission.cells),
        seed=seed,
        limits=setting.limits,
        keep=lab.keep,
        models=tuple(name for name in names if name.kind == "model"),
        probes=tuple(name for name in names if name.kind != "model"),
        snapshots=lab.snapshots,
        dataset=dataset,
        overlays=dict(overlays_for(lab.data, interpreter(zygote.python).inside_site, inside, setting.mounted)),
        gpus=gpus if lab.gpu != "no" else None,
        logical_cpus=lab.logical_cpus,
    )


class CleanRoom:
    """Starts the clean sandbox when it is first needed, and ends it."""

    def __init__(self, zygote: Zygote, seed: int, limits: Limits) -> None:
        self._zygote, self._seed, self._limits = zygote, seed, limits
        self._watch: Any = None

    def open(self) -> Link:
        try:
            link, self._watch = open_clean(self._zygote, self._seed, self._limits)
        except ChannelError as error:
            raise SandboxError(f"the clean sandbox did not start: {error}") from None
        return link

    def close(self) -> None:
        if self._watch is not None:
            self._watch.end()


def _otherwise(question: str) -> str:
    return f"asked again later, among others and in another order, `{question[:200]}` was answered otherwise"


def make_exhibits(setting: Setting, bench: Bench, heldout: heldouts.Heldout | None) -> tuple[Exhibits, list[Flag]]:
    """What the card shows besides the checks. A failure here costs the card a picture, never anyone a point."""
    with running(Mark("exhibits", 0, Evidence.OBSERVED)):
        try:
            student = Student(bench)
            drawn = heldout and as_trained_or_same(student, setting.lab, heldout)
            shown, flags = exhibit(setting.lab, bench, student, drawn)
            if drawn and drawn.dataset.kind == "image":
                shown = msgspec.structs.replace(shown, asked=(drawn.low, drawn.high))
            return shown, flags
        except CheckFailed:  # there is no such model: the checks say so
            return Exhibits(curves=curves(bench.facts.observed)), []
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost the student the verdict
            return Exhibits(), [
                Flag(kind="exhibits", message=f"the card lacks its pictures: {type(error).__name__}: {error}"[:300])
            ]


def as_trained_or_same(student: Student, lab: Lab, heldout: heldouts.Heldout) -> heldouts.Heldout:
    """The draw in the range the lab's first model was trained on, where there is such a model."""
    for contract in lab.contract.values():
        if contract.kind == "model":
            return as_trained(getattr(student, contract.name), heldout)
    return heldout


# ---------------------------------------------------------------- the verdict


def make_verdict(
    setting: Setting, submission: Submission, facts: RunFacts, judged: Judged, flags: tuple[Flag, ...]
) -> Verdict:
    language = submission.language if setting.language == "en" else setting.language
    code = read_code([cell.source for cell in submission.cells if cell.kind == "code"])
    errors = explain(facts.cell_errors, code, language)
    ahead = still_ahead(foreseen(setting.lab, code, language, facts.environment), errors, facts.cells_run)
    score, max_score = rubric.total(judged.results)
    attention = [
        f"{result.id}: {_last_line(result.staff_note)}"
        for result in judged.results
        if result.outcome is Outcome.ERRORED
    ]
    if facts.ending is Ending.OURS:
        attention = [facts.ending_detail or "the run could not be done"]
    return Verdict(
        lab=setting.lab.id,
        lab_title=setting.lab.title_zh if language == "zh" and setting.lab.title_zh else setting.lab.title,
        student=submission.student,
        submission=submission.sha256,
        attempt=submission.attempt,
        ending=facts.ending,
        ending_detail=facts.ending_detail,
        score=score,
        max_score=max_score,
        checks=judged.results,
        level=setting.level,
        tier=setting.tier,
        data=setting.lab.data,
        environment=facts.environment,
        cell_errors=errors,
        foreseen=ahead,
        needs_attention=tuple(attention),
        notes=(*_received(submission), *_notes(setting, facts)),
        flags=flags,
        artifacts=facts.artifacts,
        timings={**facts.timings, "judging": judged.seconds},
        peak_memory_mb=facts.peak_memory_mb,
        limits=setting.limits,
        graded_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        language=language,
    )


def with_run(judged: Judged, facts: RunFacts) -> Judged:
    """Put first what every lab asks for: a notebook that runs from top to bottom. It earns nothing by itself."""
    return msgspec.structs.replace(judged, results=(_runs(facts), *judged.results))


def _runs(facts: RunFacts) -> CheckResult:
    passed = facts.ending is Ending.OK
    outcome = Outcome.PASSED if passed else UNRUN.get(facts.ending, Outcome.FAILED)
    undecided = facts.ending in UNRUN
    return CheckResult(
        id="runs",
        description="Your notebook runs from top to bottom on a fresh kernel.",
        points=0.0,
        score=0.0,
        outcome=outcome,
        required=Evidence.OBSERVED,
        evidence=None if undecided else Evidence.OBSERVED,
        found="" if passed else f"{facts.ending.value}: {facts.ending_detail}".rstrip(": "),
        expected="" if passed else "no error, within the limits of time, memory and output",
        hint="" if passed else "Restart the kernel, run all cells, and mend the first one that fails.",
    )


def foreseen(lab: Lab, code: Code, language: str, environment: Environment | None = None) -> tuple[Foreseen, ...]:
    """What reading the notebook finds, given what this lab's room has. Advice only: nothing of it is scored."""
    dataset = DATASETS.get(lab.data)
    files = [PurePosixPath(file.path).name for file in dataset.files] if dataset else []
    tensorflow = environment.packages.get("tensorflow", "") if environment else ""
    return foresee(code, data=lab.data, files=files, tensorflow=tensorflow, language=language)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "no details"


def _received(submission: Submission) -> list[str]:
    """When it was handed in, and how that is known; nothing where no gradebook was asked."""
    received = submission.received
    if received is None:
        return []
    at = received.at.replace("T", " ").replace("+00:00", " UTC")
    if received.known == "first seen":
        return [f"Attempt {submission.attempt}, first seen by the grader {at}; when it was handed in is not known."]
    source = received.lms.capitalize() if received.known == "lms" else "the staff"
    return [f"Attempt {submission.attempt}, handed in {at}, as {source} says."]


def _notes(setting: Setting, facts: RunFacts) -> list[str]:
    """What the student should know about how they were graded."""
    notes = []
    for found in facts.found:
        if found.how == "alias":
            notes.append(f"Your `{found.found_as}` was graded as `{found.name}`.")
        elif found.how == "alias_last":
            notes.append(f"Your `{found.found_as}` was graded as `{found.name}`: it was trained last.")
        elif found.how == "alias_trained":
            notes.append(f"Your `{found.found_as}` was graded as `{found.name}`: no other candidate was trained.")
        elif found.how == "instead":
            notes.append(f"Your `{found.name}` was never trained; `{found.found_as}`, which was, was graded instead.")
        elif found.how in ("trained", "only"):
            shown = f"`{found.found_as}`" if found.found_as else "a model without a name"
            why = (
                "the last model trained in the notebook" if found.how == "trained" else "the only model in the notebook"
            )
            notes.append(f"There is no `{found.name}`; {shown}, {why}, was graded instead.")
        if found.note:
            notes.append(f"`{found.name}`: {found.note}")
    met = {"python": facts.environment.python, **facts.environment.packages}
    tensorflow = met.get("tensorflow", "")
    cuda = CUDA if facts.gpus and facts.gpus.cards else ()
    notes += [
        f"This machine has {package} {met[package]}, and TensorFlow {tensorflow} needs `{wanted}`."
        for package in ("python", "keras", "numpy", *cuda)
        if (wanted := unfit(tensorflow, package, met.get(package, "")))
    ]
    if facts.gpus and facts.gpus.cards:
        notes.append(f"Run on a machine with {', '.join(facts.gpus.cards)[:200]}.")
    for path, why in list(facts.refused.items())[:10]:
        notes.append(f"`{path}` was not collected: {why}.")
    if setting.lab.data in ("iris", "auto_mpg"):
        notes.append("This data set is small and public: accuracy on it proves skill, not where the model came from.")
    return notes
