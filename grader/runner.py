"""Run one notebook in a sandbox: start it, watch it, end it, and say how it ended.

What the sandbox reports (cells, output, files) is bounded and kept as data. What decides the ending is seen from
outside as far as possible: the wall clock, the memory of the run's processes, and whether its channel still stands.
The run's live kernel stays up for questions until `Run.close`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import psutil

from grader import __version__, wire
from grader.errors import ChannelError, SandboxError
from grader.records import Artifact, CellError, Ending, Environment, Limits, Record
from grader.session import ChannelTimeout, Link
from grader.zygote import Zygote

#: From the fork to the kernel's first answer; 0.2 s on a quiet machine, so this much only when it is drowning.
START_S = 120.0
#: After the notebook's own time: interrupting it twice (6 s), killing it, and sending the files.
GRACE_S = 30.0
FILES_S = 120.0
WATCH_EVERY_S = 0.25
#: TensorFlow ends a process that asks for more than it gets; these exceptions are the polite form.
MEMORY_ERRORS = frozenset({"MemoryError", "ResourceExhaustedError", "_ArrayMemoryError"})

OnEvent = Callable[[str], None]


class Job(Record):
    """What to run. ``models`` are kept for the clean sandbox, ``probes`` only looked for."""

    cells: tuple[wire.SourceCell, ...]
    seed: int
    limits: Limits
    keep: tuple[str, ...] = ()
    models: tuple[wire.Name, ...] = ()
    probes: tuple[wire.Name, ...] = ()
    dataset: str = ""
    overlays: dict[str, str] = {}
    attachments: dict[str, bytes] = {}


class Found(Record):
    """Which object stands for a contracted name: ``how`` is name, alias, trained, only or missing."""

    name: str
    found_as: str
    how: str
    type_name: str
    note: str = ""


class RunFacts(Record):
    """Everything recorded of a run except its answers.

    ``files`` maps work-folder paths to bytes; ``kept`` maps the paths of kept models to their sha256.
    """

    ending: Ending
    ending_detail: str = ""
    cell_errors: tuple[CellError, ...] = ()
    cells_run: int = 0
    files: dict[str, bytes] = {}
    kept: dict[str, str] = {}
    artifacts: tuple[Artifact, ...] = ()
    refused: dict[str, str] = {}
    found: tuple[Found, ...] = ()
    observed: dict[str, Any] = {}
    executed: bytes = b""
    environment: Environment = Environment(grader=__version__, python="", platform="")
    timings: dict[str, float] = {}
    peak_memory_mb: float = 0.0


class Run:
    """A run whose notebook is over; ``link`` is None when its kernel is gone. Use as a context manager."""

    def __init__(self, facts: RunFacts, link: Link | None, watch: _Watch | None) -> None:
        self.facts = facts
        self.link = link
        self._watch = watch

    def peak_memory_mb(self) -> float:
        return self._watch.peak_mb if self._watch else 0.0

    def close(self) -> None:
        """End every process of the run."""
        if self._watch:
            self._watch.end()
        if self.link:
            self.link.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def run_notebook(zygote: Zygote, job: Job, on_event: OnEvent = lambda text: None) -> Run:
    """Run the job. Raises SandboxError when the sandbox, not the notebook, is at fault."""
    start = time.monotonic()
    link, watch, hello, _ = open_link(zygote, job)
    collector = _Collector(hello, job, on_event)
    try:
        for path, data in job.attachments.items():
            link.send(wire.PutFile(path, data))
        link.send(_order(job))
        alive = collector.collect(link, watch)
    except ChannelError as error:
        alive = False
        collector.broke(error, watch)
    except BaseException:
        watch.end()
        link.close()
        raise
    if not alive:
        watch.end()
        link.close()
    facts = collector.facts(watch, time.monotonic() - start)
    return Run(facts, link if alive else None, watch)


def open_link(zygote: Zygote, job: Job) -> tuple[Link, _Watch, wire.Hello, str]:
    """Fork a child for this job and wait for its greeting. Raises SandboxError."""
    work, tmp = zygote.backend.rooms()
    request = {
        "plan": {**zygote.backend.plan(job.limits.disk_mb, job.overlays), "work": work},
        "tmp": tmp,
        "threads": job.limits.threads,
        "memory_mb": job.limits.memory_mb,
        "data": zygote.backend.data_folders(zygote.data, job.dataset) if job.dataset else [],
        "debug": bool(os.environ.get("GRADER_DEBUG_RUNS")),
    }
    link = Link(zygote.fork(request))
    try:
        hello = link.receive(time.monotonic() + START_S)
    except ChannelError as error:
        link.close()
        raise SandboxError(f"a run did not start: {error}", fix="run `grader doctor`") from None
    if not isinstance(hello, wire.Hello) or hello.note:
        link.close()
        note = hello.note if isinstance(hello, wire.Hello) else "it did not greet"
        raise SandboxError(f"a run could not be confined: {note}", fix="run `grader doctor`")
    return link, _Watch(link.pid, job.limits.memory_mb), hello, work


def open_clean(zygote: Zygote, seed: int, limits: Limits) -> tuple[Link, _Watch]:
    """A clean sandbox: the same rooms, no student code. Raises SandboxError."""
    link, watch, _, _ = open_link(zygote, Job(cells=(), seed=seed, limits=limits))
    link.send(wire.ServeFiles(seed))
    return link, watch


def _order(job: Job) -> wire.RunNotebook:
    return wire.RunNotebook(
        cells=job.cells,
        seed=job.seed,
        wall_s=job.limits.wall_s,
        output_bytes=job.limits.output_mb << 20,
        keep=job.keep,
        keep_bytes=job.limits.disk_mb << 20,
        models=job.models,
        probes=job.probes,
    )


# ---------------------------------------------------------------- reading the reports


class _Collector:
    """Gathers a run's reports into facts, within caps."""

    def __init__(self, hello: wire.Hello, job: Job, on_event: OnEvent) -> None:
        self.hello, self.job, self.on_event = hello, job, on_event
        self.ended: wire.Ended | None = None
        self.errors: list[CellError] = []
        self.found: list[Found] = []
        self.files: dict[str, bytearray] = {}
        self.orders: dict[str, int] = {}
        self.refused: dict[str, str] = {}
        self.observed: dict[str, Any] = {}
        self.started_s = 0.0
        self.cells_run = 0
        self.begun = time.monotonic()
        self.left = (job.limits.disk_mb << 20) + (64 << 20)
        self.ending: tuple[Ending, str] | None = None

    def collect(self, link: Link, watch: _Watch) -> bool:
        """Read until the run is ready for questions. True if its kernel lives. Raises ChannelError."""
        deadline = self.begun + START_S
        while True:
            report = link.receive(deadline)
            match report:
                case wire.Started(seconds):
                    self.started_s = seconds
                    deadline = time.monotonic() + self.job.limits.wall_s + GRACE_S
                case wire.CellStarted(cell):
                    self.cells_run = cell
                    self.on_event(f"cell {cell}")
                case wire.CellDone():
                    self._cell(report)
                case wire.Ended():
                    self.ended = self.ended or report
                    deadline = time.monotonic() + FILES_S
                case wire.FilePart(path, data, _, order):
                    self._file(path, data, order)
                case wire.FileRefused(path, why):
                    if len(self.refused) < 1000:
                        self.refused[path[:500]] = why[:200]
                case wire.Kept(name, found_as, how, type_name, note):
                    if len(self.found) < 100:
                        fact = Found(name=name, found_as=found_as, how=how, type_name=type_name, note=note)
                        self.found.append(fact)
                case wire.Observed(record):
                    self.observed = _parse(record)
                case wire.Ready():
                    return bool(self.ended and self.ended.alive)
                case _:
                    raise ChannelError(f"the run sent a {type(report).__name__} out of turn")

    def _cell(self, done: wire.CellDone) -> None:
        if done.ok or len(self.errors) >= 50:
            return
        self.errors.append(
            CellError(
                cell=done.cell,
                kind=done.kind[:200],
                message=done.message[:2000],
                line=done.line,
                source_line=done.source_line[:300],
                traceback=done.traceback[:20_000],
            )
        )

    def _file(self, path: str, data: bytes, order: int) -> None:
        self.left -= len(data)
        if self.left < 0 or len(self.files) > 1000 or len(path) > 500:
            raise ChannelError("the run sent more files than its lab keeps")
        self.files.setdefault(path, bytearray()).extend(data)
        self.orders[path] = order

    def broke(self, error: ChannelError, watch: _Watch) -> None:
        """The channel ended early: what the host saw decides what that was."""
        if watch.over_limit:
            self.ending = (Ending.OUT_OF_MEMORY, f"more than {self.job.limits.memory_mb} MiB")
        elif isinstance(error, ChannelTimeout) and self.started_s:
            self.ending = (Ending.TIMEOUT, f"no answer after {self.job.limits.wall_s:.0f} s; the run was killed")
        elif isinstance(error, ChannelTimeout):
            raise SandboxError("the kernel did not start in time", fix="the machine may be overloaded; try fewer --jobs")
        elif not self.started_s:
            raise SandboxError(f"the kernel did not start: {error}", fix="run `grader doctor`")
        elif self.ended is not None:
            self.ending = (Ending.CHANNEL_BROKEN, str(error))
        else:
            self.ending = (Ending.KERNEL_DIED, f"in code cell {self.cells_run}: {error}")

    def _end(self, watch: _Watch) -> tuple[Ending, str]:
        if self.ending:
            return self.ending
        assert self.ended is not None
        known = {ending.value: ending for ending in Ending}
        ending = known.get(self.ended.how, Ending.CHANNEL_BROKEN)
        out_of_memory = watch.over_limit or any(error.kind in MEMORY_ERRORS for error in self.errors)
        died_full = ending is Ending.KERNEL_DIED and watch.peak_mb > 0.8 * self.job.limits.memory_mb
        if (out_of_memory and ending in (Ending.CELL_ERROR, Ending.KERNEL_DIED)) or died_full:
            return Ending.OUT_OF_MEMORY, f"limit {self.job.limits.memory_mb} MiB, {self.ended.detail}"
        return ending, self.ended.detail[:500]

    def facts(self, watch: _Watch, wall: float) -> RunFacts:
        ending, detail = self._end(watch)
        executed = bytes(self.files.pop(".executed.ipynb", b""))
        visible = {path: bytes(data) for path, data in self.files.items()}
        artifacts = tuple(
            Artifact(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), order=self.orders[path])
            for path, data in sorted(visible.items())
            if not path.startswith(".kept/")
        )
        return RunFacts(
            ending=ending,
            ending_detail=detail,
            cell_errors=tuple(self.errors),
            cells_run=self.cells_run,
            files=visible,
            kept={p: hashlib.sha256(data).hexdigest() for p, data in visible.items() if p.startswith(".kept/")},
            artifacts=artifacts,
            refused=self.refused,
            found=tuple(self.found),
            observed=self.observed,
            executed=executed,
            environment=Environment(
                grader=__version__,
                python=self.hello.python[:40],
                platform=self.hello.platform[:200],
                packages={k[:40]: v[:40] for k, v in list(self.hello.packages.items())[:50]},
            ),
            timings={
                "start": self.started_s,
                "notebook": self.ended.seconds if self.ended else 0.0,
                "run": wall,
            },
            peak_memory_mb=watch.peak_mb,
        )


def _parse(record: str) -> dict[str, Any]:
    try:
        parsed = msgspec.json.decode(record.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError, ValueError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


# ---------------------------------------------------------------- watching from outside


class _Watch:
    """Polls the memory of a run's processes, kills the run above its limit, and ends it when asked."""

    def __init__(self, pid: int, limit_mb: int) -> None:
        self.pid = pid
        self.limit_mb = limit_mb
        self.peak_mb = 0.0
        self.over_limit = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="grader-watch", daemon=True)
        if pid:
            self._thread.start()

    def _poll(self) -> None:
        while not self._over.wait(WATCH_EVERY_S):
            used = sum(private_mb(pid) for pid in self._tree())
            self.peak_mb = max(self.peak_mb, used)
            if used > self.limit_mb * 1.15 + 100:  # RLIMIT_DATA ends one process politely before; this is for many
                self.over_limit = True
                self._kill()
                return

    def _tree(self) -> list[int]:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(self.pid)
            return [self.pid, *(child.pid for child in root.children(recursive=True))]
        return []

    def _kill(self) -> None:
        for pid in reversed(self._tree()):  # in a pid namespace the first one's death is everyone's
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill what is left of the run. Idempotent."""
        self._over.set()
        if self.pid:
            self._kill()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(5)


def private_mb(pid: int) -> float:
    """Memory of a process that no other shares, in MiB: what a fork of a warm zygote really costs."""
    total = 0
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith(("Private_Clean:", "Private_Dirty:", "Swap:")):
                    total += int(line.split()[1])
    except (OSError, ValueError):
        return 0.0
    return total / 1024


def overlays_for(dataset: str, site: str, inside: list[str], mounted: Path | None) -> Mapping[str, str]:
    """Files of installed packages to cover with held-out-reduced copies: scikit-learn ships all of iris."""
    if dataset != "iris" or mounted is None or not inside or not (mounted / dataset / "iris.csv").exists():
        return {}
    return {f"{site}/sklearn/datasets/data/iris.csv": f"{inside[0]}/iris.csv"}
