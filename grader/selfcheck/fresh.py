"""``grader check NOTEBOOK``: run it fresh without a sandbox, ask the public checks, write a card."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from grader import datasets, heldout, store
from grader.checks.judge import judge
from grader.checks.student import Bench, wire_name
from grader.diagnosis import read_code
from grader.errors import ChannelError, LabError, SandboxError, UsageError
from grader.grading import Setting, foreseen, make_exhibits, make_verdict, over_source_limit, with_run
from grader.labs import Lab
from grader.records import CellError, Exhibits, Level, Record, Tier, Verdict
from grader.reports import phrases, render_card
from grader.reports.language import words
from grader.runner import Job, OnEvent, RunFacts, open_clean, run_notebook
from grader.selfcheck.laptop import Laptop
from grader.selfcheck.show import HINT_ONLY, foretold, not_checked, tier_text
from grader.session import Link, Session, Tape
from grader.settings import Settings, limits_for, secret
from grader.submissions import Submission, collect
from grader.wire import SourceCell
from grader.worker import kernel_python, mounted_folder

SUITE = "public_tests"
TITLE = {"en": "{} (self-check: public checks only)", "zh": "{}（自查：仅公开检查）"}
NOT_CHECKED = "What is not checked here:"
#: What the sandbox would have shown, and this machine does not.
WITHOUT_SANDBOX = (
    "whether the notebook keeps to the limit of memory, and to that of time on the grading machine",
    "whether it runs without a network, as it is graded",
)


class SelfCheck(Record, frozen=True):
    """A student's own check. ``not_checked`` is what it leaves open, in words; points are hints, not a grade."""

    verdict: Verdict
    card: Path
    not_checked: tuple[str, ...]
    tier: Tier


@dataclass(frozen=True)
class Data:
    """What the notebook's loaders find: the student's own cache (no ``folders``), or these folders instead of it."""

    source: datasets.Source | None
    folders: tuple[str, ...] = ()


def check_notebook(
    path: Path, lab: Lab, settings: Settings, out: Path, on_event: OnEvent = lambda _: None
) -> SelfCheck:
    """Run the notebook in a new kernel on this machine and judge it by the public suite.

    Raises UsageError for a file that is no notebook of this lab, LabError for a lab without public checks, DataError
    for a damaged data set, SandboxError where no kernel starts. A notebook that fails is a result, not an error.
    """
    submission = read(path, lab)
    if not lab.public_checks:
        raise LabError("the lab has no public checks", where=str(lab.folder / SUITE), fix="there is nothing to check")
    data = find_data(lab, settings)
    limits = limits_for(settings, lab.limits)
    setting = Setting(titled(lab), data.source, None, "", limits, Level.L0, settings.language)
    python = kernel_python(settings)
    seed = int(submission.sha256[:7], 16)
    on_event(f"data: {tier_text(setting.tier, cached=not data.folders)}")
    on_event("starting a kernel (TensorFlow takes some seconds to import)")
    with Laptop(python, data.folders) as laptop:
        # To the runner anything with rooms and a fork is a zygote.
        run = run_notebook(_as_zygote(laptop), _job(lab, submission, setting, seed), on_event)
        with run, _clean_room(python, seed, setting) as open_room:
            on_event("judging")
            session = Session(run.link, open_room, Tape(), seed=seed, deadline_s=limits.question_s)
            try:
                verdict, exhibits = judged(setting, submission, run.facts, session)
            finally:
                session.close()
    left_out = not_checked(lab, *WITHOUT_SANDBOX)
    too_large = over_source_limit(submission, limits)
    notes = (
        *((f"This would not be graded: {too_large}",) if too_large else ()),
        *_beside(path, verdict.cell_errors),
        *_data_notes(lab, data, settings),
        *verdict.notes,
    )
    open_list = "\n".join((NOT_CHECKED, *(f"– {line.strip()}" for line in left_out)))
    carded = msgspec.structs.replace(verdict, notes=(HINT_ONLY, *notes, open_list))
    card = out / lab.id / submission.slug / "self-check.html"
    card.parent.mkdir(parents=True, exist_ok=True)
    language = verdict.language
    html = render_card(
        carded,
        exhibits,
        edition="student",
        course_name=settings.course_name,
        language=language,
        phrases=phrases(language, lab.folder),
    )
    store.write_whole(card, html.encode())
    verdict = msgspec.structs.replace(verdict, notes=notes)
    return SelfCheck(verdict=verdict, card=card, not_checked=left_out, tier=setting.tier)


def before_running(submission: Submission, lab: Lab, settings: Settings) -> tuple[str, ...]:
    """What reading the notebook says it will meet, in lines: a minute earlier than the run says it."""
    language = submission.language if settings.language == "en" else settings.language
    code = read_code([cell.source for cell in submission.cells if cell.kind == "code"])
    return tuple(foretold(foreseen(lab, code, language), words(language)))


def read(path: Path, lab: Lab) -> Submission:
    """The notebook's cells, taken in as for grading."""
    intake = collect([path], [lab.id], lab.id)
    if messages := intake.messages():
        raise UsageError(messages[0])
    if len(intake.submissions) != 1:
        raise UsageError(f"holds {len(intake.submissions)} notebooks", where=str(path), fix="name one notebook")
    return intake.submissions[0]


def find_data(lab: Lab, settings: Settings) -> Data:
    """The student's own Keras cache where it is complete, else the lite tier; a folder that was set counts first."""
    if lab.data == "none":
        return Data(None)
    source = datasets.resolve(lab.data, settings.data)
    if source.tier is Tier.LITE:  # under its well-known names, as a graded run meets it
        return Data(source, (str(heldout.mounted(lab.data, source, secret(settings), mounted_folder())),))
    return Data(source, (str(source.folder),) if settings.data else ())


def titled(lab: Lab) -> Lab:
    """The lab under a title that cannot be taken for a grade."""
    return msgspec.structs.replace(
        lab, title=TITLE["en"].format(lab.title), title_zh=TITLE["zh"].format(lab.title_zh) if lab.title_zh else ""
    )


def judged(setting: Setting, submission: Submission, facts: RunFacts, session: Session) -> tuple[Verdict, Exhibits]:
    """The public suite's verdict, and what the card shows besides."""
    lab = setting.lab
    bench = Bench(lab, facts, session, lambda path: facts.files[path])
    result = judge(lab, bench, None, setting.tier, suite=SUITE, specs=lab.public_checks)
    exhibits, _ = make_exhibits(setting, bench, None)
    return make_verdict(setting, submission, facts, with_run(result, facts), ()), exhibits


def _job(lab: Lab, submission: Submission, setting: Setting, seed: int) -> Job:
    names = [wire_name(contract, lab) for contract in lab.contract.values()]
    return Job(
        cells=tuple(SourceCell(cell.kind, cell.source) for cell in submission.cells),
        seed=seed,
        limits=setting.limits,
        keep=lab.keep,
        logical_cpus=lab.logical_cpus,
        models=tuple(name for name in names if name.kind == "model"),
        probes=tuple(name for name in names if name.kind != "model"),
        snapshots=lab.snapshots,
    )


@contextmanager
def _clean_room(python: str, seed: int, setting: Setting) -> Iterator[Callable[[], Link]]:
    """What opens a process without student code, where kept models are asked; it is started only when asked for."""
    rooms: list[Laptop] = []

    def start() -> Link:
        room = Laptop(python, clean=True)
        rooms.append(room)
        try:
            return open_clean(_as_zygote(room), seed, setting.limits)[0]
        except ChannelError as error:
            raise SandboxError(f"the clean process did not start: {error}", fix="run `grader doctor`") from None

    try:
        yield start
    finally:
        for room in rooms:
            room.close()


def _as_zygote(laptop: Laptop) -> Any:
    return laptop


# ---------------------------------------------------------------- what the student should know


def _beside(path: Path, errors: tuple[CellError, ...]) -> list[str]:
    """Files that the notebook missed and that lie beside it: only the notebook is handed in."""
    notes = []
    for error in errors:
        if error.kind not in ("FileNotFoundError", "ModuleNotFoundError", "OSError"):
            continue
        for name in re.findall(r"['\"]([^'\"\n]{1,200})['\"]", error.message)[:5]:
            notes += [_lies_beside(near) for near in (name, f"{name}.py") if _is_beside(path, near)]
    return list(dict.fromkeys(notes))


def _lies_beside(name: str) -> str:
    return f"`{name}` lies beside your notebook, but only the notebook is graded: it runs in an empty folder, here as there."


def _is_beside(path: Path, name: str) -> bool:
    return not Path(name).is_absolute() and (path.parent / name).is_file()


def _data_notes(lab: Lab, data: Data, settings: Settings) -> list[str]:
    where = datasets.cache_folder(settings.data)
    if data.source is None:
        return []
    if data.source.tier is Tier.FULL:
        return [f"Data: the full {lab.data} data, from {where}."]
    note = f"Data: lite, the small copy that comes with the grader; the full {lab.data} data is not in {where}."
    return [f"{note} `grader data fetch {lab.data}` downloads it."]
