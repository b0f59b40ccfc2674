"""``from grader import check; check("iris")``: ask the notebook one is in, in its own process.

The questions go to the same probe that answers in a sandbox, bound to the notebook's namespace. Training has to be
recorded while it happens, so the import itself installs the hooks (in a Jupyter kernel only; the command line and
scripts import this module too). Where a model is there already by then, what was trained before is unknown, and
checks on training say so instead of failing.

Kept models and saved files are asked through a second probe without a namespace. It is the same process, so a
class that the notebook registered is known there; only ``grader check`` and grading find out that it is missing.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec
import numpy as np

from grader import wire
from grader.checks.judge import judge
from grader.checks.marks import NotAssessable
from grader.checks.student import Bench, wire_name
from grader.errors import GraderError, LabError, UsageError, plain, suggest
from grader.grading import Setting, make_verdict
from grader.labs import Lab, lab_ids, load_lab
from grader.owntime import Patience
from grader.probe import Probe, find, hooks, keep
from grader.records import Artifact, Ending, Environment, Level, Verdict
from grader.reports import Phrases, phrases
from grader.runner import Found, RunFacts
from grader.selfcheck.fresh import SUITE, titled
from grader.selfcheck.show import as_html, as_text, not_checked, one_line
from grader.session import Link, Session, Tape
from grader.settings import Settings, limits_for, load_settings
from grader.submissions import Submission

NOT_RECORDED = "not recorded: run `from grader import check` in the first cell, then run all cells again"
IN_PROCESS = (
    "whether the notebook runs from top to bottom in a new kernel: `grader check NOTEBOOK` does that",
    "whether a saved model loads where your own classes are not known",
)
#: Files of a lab's ``keep`` patterns are looked for this deep and this many: the folder may be anybody's home.
FILES_CAP, FOLDERS_CAP, FILE_BYTES = 200, 2_000, 256 << 20

Recording = Literal["from the start", "late", "no"]


def check(lab_id: str) -> None:
    """Ask the lab's public checks of this notebook, as its objects are now, and show the result."""
    namespace = live_namespace()
    try:
        if namespace is None:
            fix = "in a terminal: grader check NOTEBOOK"
            raise UsageError("check() asks the notebook it is called in, and this is none", fix=fix)
        course = Path("course.toml")
        settings = load_settings(course if course.is_file() else None, os.environ)
        lab = find_lab(lab_id, settings)
        verdict = check_namespace(lab, settings, namespace)
        _show(verdict, not_checked(lab, *IN_PROCESS), phrases(verdict.language, lab.folder))
    except GraderError as error:
        sys.stderr.write(f"grader: {one_line(str(error), 600)}\n")


def find_lab(lab_id: str, settings: Settings) -> Lab:
    """The lab by its id. Raises UsageError that says where labs were looked for, and what to do."""
    folder = settings.labs
    if not lab_ids(folder):
        raise UsageError(
            "there are no labs here",
            where=str(folder.absolute()),
            fix="put the course's labs folder beside the notebook, or set the environment variable GRADER_LABS to it",
        )
    if lab_id not in lab_ids(folder):
        raise UsageError(f"unknown lab '{plain(str(lab_id), 60)}'", fix=suggest(str(lab_id), lab_ids(folder)))
    return load_lab(folder / lab_id)


def check_namespace(lab: Lab, settings: Settings, namespace: dict[str, Any]) -> Verdict:
    """The public suite's verdict on a namespace of this process."""
    if not lab.public_checks:
        raise LabError("the lab has no public checks", where=str(lab.folder / SUITE), fix="there is nothing to check")
    limits = limits_for(settings, lab.limits)
    setting = Setting(titled(lab), None, None, "", limits, Level.L0, settings.language)
    facts = look(lab, namespace)
    with tempfile.TemporaryDirectory(prefix="grader-check-", ignore_cleanup_errors=True) as folder, _same_chance():
        live, clean = Here(Probe(namespace), Path(folder)), Here(Probe({}), Path(folder))
        session = Session(live, lambda: clean, Tape(), seed=1, deadline_s=limits.question_s)
        bench = Bench(lab, facts, session, lambda path: _read(facts, path))
        try:
            result = judge(lab, bench, None, setting.tier, suite=SUITE, specs=lab.public_checks)
        except LabError:
            if live.interrupted or clean.interrupted:  # pytest has turned it into a suite that did not finish
                raise KeyboardInterrupt from None
            raise
    submission = Submission(
        student="", slug="", lab=lab.id, source="this notebook", sha256="", size=0, language=settings.language
    )
    return make_verdict(setting, submission, facts, result, ())


# ---------------------------------------------------------------- what is there


def live_namespace() -> dict[str, Any] | None:
    """The namespace of the Jupyter kernel this is, or None."""
    shells = sys.modules.get("IPython.core.interactiveshell")
    if shells is None or "ipykernel" not in sys.modules or not shells.InteractiveShell.initialized():
        return None
    shell = shells.InteractiveShell.instance()
    return shell.user_ns if hasattr(shell, "kernel") else None


def look(lab: Lab, namespace: dict[str, Any]) -> RunFacts:
    """The facts a run would have left: which objects are meant, the kept models, the files of ``keep``."""
    found: list[Found] = []
    kept: dict[str, bytes] = {}
    for name in [wire_name(contract, lab) for contract in lab.contract.values()]:
        thing = find.find(name, namespace)
        if thing is None:
            found.append(Found(name=name.name, found_as="", how="missing", type_name=""))
            continue
        note = ""
        if name.kind == "model":
            try:
                kept[f".kept/{name.name}"], note = keep.keep(thing.thing)
            except Exception as error:  # noqa: BLE001 - the student's class may raise anything
                note = f"not kept: {error}"[:300]
        kind = type(thing.thing)
        type_name = f"{kind.__module__}.{kind.__qualname__}"[:200]
        found.append(Found(name=name.name, found_as=thing.found_as, how=thing.how, type_name=type_name, note=note))
    return RunFacts(
        ending=Ending.OK,
        files=kept,
        kept={path: hashlib.sha256(data).hexdigest() for path, data in kept.items()},
        artifacts=_artifacts(Path.cwd(), lab.keep),
        found=tuple(found),
        observed=hooks.summary(),
        environment=Environment(grader="", python=sys.version.split()[0], platform=sys.platform),
    )


def _artifacts(work: Path, patterns: tuple[str, ...]) -> tuple[Artifact, ...]:
    """Files that match, looked for below the part of each pattern that is no pattern."""
    paths: dict[str, Path] = {}
    for pattern in patterns:
        plain_parts = []
        for part in PurePosixPath(pattern).parts[:-1]:
            if any(char in part for char in "*?["):
                break
            plain_parts.append(part)
        for seen, (folder, names, files) in enumerate(os.walk(work.joinpath(*plain_parts))):
            names[:] = [name for name in names if not name.startswith(".")]
            if seen >= FOLDERS_CAP or len(paths) >= FILES_CAP:
                break
            for name in files:
                file = Path(folder, name)
                path = file.relative_to(work).as_posix()
                if fnmatch.fnmatchcase(path, pattern) and file.is_file() and file.stat().st_size <= FILE_BYTES:
                    paths[path] = file
    by_time = sorted(paths, key=lambda path: paths[path].stat().st_mtime_ns)
    return tuple(
        Artifact(
            path=path,
            size=paths[path].stat().st_size,
            sha256=hashlib.sha256(paths[path].read_bytes()).hexdigest(),
            order=order,
        )
        for order, path in enumerate(by_time, start=1)
    )


def _read(facts: RunFacts, path: str) -> bytes:
    return facts.files[path] if path in facts.files else Path(path).read_bytes()


# ---------------------------------------------------------------- asking without a channel


class Here(Link):
    """A link to a probe in this process. Files that are put land in ``folder``, and questions find them there."""

    def __init__(self, probe: Probe, folder: Path) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # no socket: nothing of Link's that would use one is left
        self.probe, self.folder = probe, folder
        self.put: dict[str, Path] = {}
        self.interrupted = False
        self._answer: wire.Answer | None = None

    def send(self, order: wire.Order, seconds: float = 60.0) -> None:
        match order:
            case wire.PutFile(path, data, first):
                target = self.put.setdefault(path, self.folder.joinpath("put", *PurePosixPath(path).parts))
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb" if first else "ab") as file:
                    file.write(data)
            case wire.Ask():
                _refuse_unrecorded(order.expr)
                self._answer = self.probe.answer(msgspec.structs.replace(order, expr=self._placed(order.expr)))
                if self._answer.fault is not None and self._answer.fault.kind == "KeyboardInterrupt":
                    self.interrupted = True  # the student's own Ctrl-C, not an answer of their code
                    raise KeyboardInterrupt

    def hear(self, patience: Patience, cap: int = wire.REPORT_CAP) -> wire.Report:
        assert self._answer is not None  # noqa: S101 - a session receives only what it has asked for
        return self._answer

    def close(self) -> None:
        self.probe.handles.clear()

    def _placed(self, expr: wire.Expr) -> wire.Expr:
        """The question with the paths of put files (or of the folder or checkpoint they make up) where they are."""
        match expr:
            case wire.Call(fn, args, kwargs):
                return wire.Call(fn, tuple(self._placed(arg) for arg in args), kwargs)
            case wire.Const(wire.Lit(str() as text)) if text and any(path.startswith(text) for path in self.put):
                return wire.Const(wire.Lit(str(self.folder.joinpath("put", *PurePosixPath(text).parts))))
            case _:
                return expr


def _refuse_unrecorded(expr: wire.Expr) -> None:
    """A question about training that nobody watched cannot be assessed; "nothing was trained" would be wrong."""
    match expr:
        case wire.Call(wire.Helper("training" | "training_summary")) if RECORDING != "from the start":
            seen = hooks.summary()
            if not (seen["fits"] or seen["tape_gradients"] or seen["optimizer_applies"]):
                raise NotAssessable(NOT_RECORDED)


@contextlib.contextmanager
def _same_chance() -> Iterator[None]:
    """Questions set seeds; the notebook's own random numbers go on afterwards as if nothing had been asked."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


# ---------------------------------------------------------------- recording and showing


def start_recording(namespace: Mapping[str, Any] | None) -> Recording:
    """Install the hooks in this kernel, once. "late": a model was there before them. "no": no kernel, no TensorFlow."""
    if namespace is None:
        return "no"
    late = any(find.is_model(thing) for thing in list(namespace.values()))
    try:
        if not _hooked():
            hooks.install()
    except ImportError:
        return "no"
    return "late" if late else "from the start"


def _hooked() -> bool:
    keras = sys.modules.get("keras")
    apply = getattr(getattr(getattr(keras, "optimizers", None), "Optimizer", None), "apply", None)
    return getattr(getattr(apply, "__code__", None), "co_filename", "") == hooks.__file__


RECORDING: Recording = start_recording(live_namespace())


class Shown:
    """A result as Jupyter shows it: a table where there is HTML, else text."""

    def __init__(self, text: str, html: str) -> None:
        self.text, self.html = text, html

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def _show(verdict: Verdict, left_out: tuple[str, ...], said: Phrases) -> None:
    shown = Shown(as_text(verdict, left_out, said), as_html(verdict, left_out, said))
    display = sys.modules.get("IPython.display")
    if display is None:
        sys.stdout.write(f"{shown!r}\n")
    else:
        display.display(shown)
