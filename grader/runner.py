"""Run one notebook in a sandbox: start it, watch it, end it, and say how it ended.

What the sandbox reports (cells, output, files) is bounded and kept as data. What decides the ending is seen from
outside as far as possible: the run's own time (`owntime`), the memory of its processes, and whether its channel still
stands. The driver is told when time is up, and ends the notebook politely; one that does not is killed.
The run's live kernel stays up for questions until `Run.close`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psutil

from grader import wire
from grader.confine import OOM_SCORE, OOM_SCORE_KERNEL
from grader.errors import ChannelError, SandboxDied, SandboxError
from grader.gpu import Meter, Window
from grader.owntime import Clock, OwnTime, Patience, Wall
from grader.records import Artifact, CellError, Ending, Environment, GpuActivity, Gpus, Limits, Record
from grader.sandbox import cgroups
from grader.sandbox.backends import GROUP_PROCESSES
from grader.session import ChannelTimeout, Link, Session, Tape
from grader.version import __version__
from grader.zygote import Zygote

#: From the fork to the kernel's first answer; 0.2 s on a quiet machine, so this much only when it is drowning.
START_S = 120.0
#: After the notebook's time: interrupting it twice (6 s) and killing it; then the files. All in the run's own time.
GRACE_S = 30.0
FILES_S = 120.0
#: What a run's control group may have above the processes' ceiling and the files: page tables, sockets, pages of files.
GROUP_MARGIN_MB = 256
WATCH_EVERY_S = 0.25
#: A run above its memory limit loses its kernel this many times before it loses everything.
STRIKES = 8
#: Before its files are sent a run sends nothing above a piece of a file, or 1 MiB of text in UTF-8.
STORY_CAP = 8 << 20
HELLO_CAP = 1 << 16
#: How an object was found (see probe.find); what else a run says means that it was not.
HOW_FOUND = frozenset({"name", "alias", "alias_last", "alias_trained", "trained", "only", "instead", "missing"})
#: The kernel tells at most 1 MiB of its training record (driver.kernel), six levels deep.
OBSERVED_CAP = 1 << 20
OBSERVED_DEPTH = 16
#: Times that `fit` ran, of one run; a search over models may call it for each.
FITS_CAP = 1_000
#: TensorFlow ends a process that asks for more than it gets; these exceptions are the polite form.
MEMORY_ERRORS = frozenset({"MemoryError", "ResourceExhaustedError", "_ArrayMemoryError"})

#: Endings that a run may tell of itself. That something is our fault, say, is not for it to claim.
TOLD = {
    ending.value: ending
    for ending in (
        Ending.OK,
        Ending.CELL_ERROR,
        Ending.TIMEOUT,
        Ending.OUT_OF_MEMORY,
        Ending.KERNEL_DIED,
        Ending.OUTPUT_FLOOD,
    )
}

OnEvent = Callable[[str], None]


class Job(Record, frozen=True):
    """What to run. ``models`` are kept for the clean sandbox, ``probes`` only looked for.

    ``gpus``: what the host offers, where the lab asks for it; None where nobody looked. ``snapshots``: the epochs after
    which the models are kept too.
    """

    cells: tuple[wire.SourceCell, ...]
    seed: int
    limits: Limits
    keep: tuple[str, ...] = ()
    models: tuple[wire.Name, ...] = ()
    probes: tuple[wire.Name, ...] = ()
    dataset: str = ""
    overlays: dict[str, str] = {}
    attachments: dict[str, bytes] = {}
    gpus: Gpus | None = None
    logical_cpus: int = 1
    snapshots: tuple[int, ...] = ()


class Found(Record, frozen=True):
    """Which object stands for a contracted name: ``how`` is one of HOW_FOUND (what they mean: `probe.find`)."""

    name: str
    found_as: str
    how: str
    type_name: str
    note: str = ""


class RunFacts(Record, frozen=True):
    """Everything recorded of a run except its answers.

    ``files`` maps work-folder paths to bytes; ``kept`` maps the paths of kept models to their sha256. ``snapshots`` are
    the epochs that the run was told to keep. ``gpus`` is what the host offered (None: the lab did not ask),
    ``gpu_training`` what the run did there while it trained.
    """

    ending: Ending
    ending_detail: str = ""
    cell_errors: tuple[CellError, ...] = ()
    cells_run: int = 0
    files: dict[str, bytes] = {}
    kept: dict[str, str] = {}
    snapshots: tuple[int, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    refused: dict[str, str] = {}
    found: tuple[Found, ...] = ()
    observed: dict[str, Any] = {}
    executed: bytes = b""
    environment: Environment = Environment(grader=__version__, python="", platform="")
    timings: dict[str, float] = {}
    peak_memory_mb: float = 0.0
    gpus: Gpus | None = None
    gpu_training: GpuActivity | None = None


class Run:
    """A run whose notebook is over; ``link`` is None when its kernel is gone. Use as a context manager."""

    def __init__(self, facts: RunFacts, link: Link | None, watch: _Watch | None, meter: Meter | None = None) -> None:
        self.facts = facts
        self.link = link
        self.meter = meter
        self._watch = watch

    def peak_memory_mb(self) -> float:
        return self._watch.peak_mb if self._watch else 0.0

    def pids(self) -> list[int]:
        """Its processes now, the driver first."""
        return self._watch.pids() if self._watch else []

    @property
    def group(self) -> cgroups.Group | None:
        """Its control group, where it has one."""
        return self._watch.group if self._watch else None

    def close(self) -> None:
        """End every process of the run."""
        if self.meter:
            self.meter.close()
        if self._watch:
            self._watch.end()
        if self.link:
            self.link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def run_notebook(zygote: Zygote, job: Job, on_event: OnEvent = lambda text: None) -> Run:
    """Run the job. Raises SandboxError when the sandbox, not the notebook, is at fault."""
    start = time.monotonic()
    link, watch, hello, _ = open_link(zygote, job)
    meter = Meter(watch.pids) if _measurable(job) else None
    collector = _Collector(hello, job, on_event)
    try:
        alive = _collect(collector, link, watch)
        training = meter.activity(collector.training()) if meter else None
        if not alive:
            watch.end()
            link.close()
        facts = collector.facts(watch, time.monotonic() - start, training)
    except BaseException:
        if meter:
            meter.close()
        watch.end()
        link.close()
        raise
    return Run(facts, link if alive else None, watch, meter)


def _measurable(job: Job) -> bool:
    """Whether the lab asks for the GPU, and the host offers one and can tell who is busy there."""
    return job.gpus is not None and bool(job.gpus.cards) and not job.gpus.problem


def _collect(collector: _Collector, link: Link, watch: _Watch) -> bool:
    """Give the order and read the reports. True if the kernel lives."""
    try:
        for path, data in collector.job.attachments.items():
            link.send(wire.PutFile(path, data))
        link.send(_order(collector.job))
        return collector.collect(link)
    except ChannelError as error:
        collector.broke(error, watch)
        return False


def open_link(zygote: Zygote, job: Job) -> tuple[Link, _Watch, wire.Hello, str]:
    """Fork a child for this job and wait for its greeting. Raises SandboxError."""
    work, tmp = zygote.backend.rooms(zygote.launched)
    plan = {**zygote.backend.plan(job.limits.disk_mb, job.overlays, job.dataset), "work": work}
    request = {
        "plan": plan,
        "tmp": tmp,
        "threads": job.limits.threads,
        "memory_mb": job.limits.memory_mb,
        "data": zygote.backend.data_folders(zygote.data, job.dataset) if job.dataset else [],
        "debug": bool(os.environ.get("GRADER_DEBUG_RUNS")),
    }
    link = Link(zygote.fork(request))
    try:
        hello = link.receive(time.monotonic() + START_S, HELLO_CAP)
    except ChannelError as error:
        link.close()
        raise SandboxDied(f"a run did not start: {error}", fix="run `grader doctor`") from None
    if not isinstance(hello, wire.Hello) or hello.note:
        link.close()
        note = hello.note if isinstance(hello, wire.Hello) else "it did not greet"
        raise SandboxError(f"a run could not be confined: {note}", fix="run `grader doctor`")
    if hello.version != wire.VERSION:
        link.close()
        spoken = f"version {hello.version} of the protocol, and the judge version {wire.VERSION}"
        raise SandboxError(f"the sandbox speaks {spoken}", fix="install the grader again")
    try:
        watch = _Watch(link.pid, job.limits, _group(plan, job.limits, link.pid))
        link.clock = watch.own
        return link, watch, hello, work
    except SandboxError:
        link.close()
        raise


def _group(plan: Mapping[str, Any], limits: Limits, pid: int) -> cgroups.Group | None:
    """The control group of a run that has not been told anything yet, with its first process in it; None where none is."""
    if not plan.get("namespaces") or not pid:
        return None
    group = cgroups.make(ceiling_mb(limits.memory_mb) + limits.disk_mb + GROUP_MARGIN_MB, GROUP_PROCESSES)
    if group is not None:
        try:
            group.add(pid)
        except SandboxError:
            group.close()
            raise
    return group


def open_clean(zygote: Zygote, seed: int, limits: Limits) -> tuple[Link, _Watch]:
    """A clean sandbox: the same rooms, no student code. Raises SandboxError."""
    limits = msgspec.structs.replace(
        limits, disk_mb=2 * limits.disk_mb
    )  # saved models are repacked before they are loaded
    link, watch, _, _ = open_link(zygote, Job(cells=(), seed=seed, limits=limits))
    link.send(wire.ServeFiles(seed))
    return link, watch


def gpus_inside(zygote: Zygote) -> int:
    """How many GPUs TensorFlow sees in that zygote's sandbox, where no student code is."""
    link, watch = open_clean(zygote, 0, Limits())
    session = Session(None, lambda: link, Tape(), seed=0, deadline_s=START_S)
    try:
        answer = session.ask("clean", wire.Call(wire.Helper("gpus")), want="value")
    finally:
        session.close()
        watch.end()
    return len(answer.value.items) if isinstance(answer.value, wire.Seq) else 0


def _order(job: Job) -> wire.RunNotebook:
    return wire.RunNotebook(
        cells=job.cells,
        seed=job.seed,
        output_bytes=job.limits.output_mb << 20,
        keep=job.keep,
        keep_bytes=job.limits.disk_mb << 20,
        models=job.models,
        probes=job.probes,
        logical_cpus=job.logical_cpus,
        tell_fits=_measurable(job),
        snapshots=job.snapshots,
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
        self.started = False
        self.started_s = 0.0
        self.cells_run = 0
        self.patience = Patience(START_S, Wall())
        self.told = False
        self.own_since = self.own_s = 0.0
        self.left = (job.limits.disk_mb << 20) + (64 << 20) + (wire.SNAPSHOTS_CAP if job.snapshots else 0)
        self.ending: tuple[Ending, str] | None = None
        self.fits: list[Window] = []
        self.fit_since: float | None = None
        self.cells_since = self.over_at = time.time()

    def collect(self, link: Link) -> bool:
        """Read until the run is ready for questions. True if its kernel lives. Raises ChannelError.

        Each stage has its patience once: a run that repeats itself gets no more time by it.
        """
        self.patience = Patience(START_S, link.clock)
        while True:
            report = self._next(link)
            match report:
                case wire.Started(seconds) if not self.started:
                    self.started, self.started_s = True, _seconds(seconds)
                    self.cells_since = time.time()
                    self.patience = Patience(self.job.limits.wall_s, link.clock)
                    self.own_since = self._now(link)
                case wire.CellStarted(cell):
                    if self.cells_run < cell <= len(self.job.cells):
                        self.cells_run = cell
                        self.on_event(f"cell {cell}")
                case wire.CellDone():
                    self._cell(report)
                case wire.Fitting(active) if self.started and self.ended is None:
                    self._fitting(active)
                case wire.Ended() if self.started and self.ended is None:
                    self.ended = report
                    self._fitting(active=False)
                    self.over_at = time.time()
                    self.own_s = self._now(link) - self.own_since
                    self.patience = Patience(FILES_S, link.clock)
                case wire.FilePart(path, data, _, order):
                    self._file(path, data, order)
                case wire.FileRefused(path, why):
                    if len(self.refused) < 1000:
                        self.refused[path[:500]] = why[:200]
                case wire.Kept():
                    self._kept(report)
                case wire.Observed(record):
                    self.observed = parse_observed(record)
                case wire.Ready() if self.ended is not None:
                    return self.ended.alive
                case _:
                    raise ChannelError(f"the run sent a {type(report).__name__} out of turn")

    def _next(self, link: Link) -> wire.Report:
        """The next report. A notebook whose time is up is told so, and has a little more to end. Raises ChannelError."""
        try:
            return link.hear(self.patience, STORY_CAP)
        except ChannelTimeout:
            over = self.started and self.ended is None and not self.patience.left()
            if not over or self.told:
                raise
        self.told, self.patience = True, Patience(GRACE_S, link.clock)
        link.send(wire.TimeUp())
        return self._next(link)

    @staticmethod
    def _now(link: Link) -> float:
        """The run's own time, looked at: on a busy machine the watch may have been away for seconds."""
        link.clock.look()
        return link.clock.seconds()

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

    def _kept(self, kept: wire.Kept) -> None:
        if len(self.found) < 100:
            self.found.append(
                Found(
                    name=kept.name[:100],
                    found_as=kept.found_as[:100],
                    how=kept.how if kept.how in HOW_FOUND else "missing",
                    type_name=kept.type_name[:200],
                    note=kept.note[:300],
                )
            )

    def _fitting(self, active: bool) -> None:
        """A `fit` began or ended: now, by our own clock."""
        if self.fit_since is not None and not active and len(self.fits) < FITS_CAP:
            self.fits.append((self.fit_since, time.time()))
        self.fit_since = (self.fit_since or time.time()) if active else None

    def training(self) -> list[Window]:
        """When the run trained: while `fit` ran, or where it never did, while its cells did."""
        over = self.over_at if self.ended is not None else time.time()
        open_fit = [] if self.fit_since is None else [(self.fit_since, over)]
        return [*self.fits, *open_fit] or [(self.cells_since, over)]

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
        elif self.ended is not None:
            self.ending = (Ending.CHANNEL_BROKEN, str(error))
        elif isinstance(error, ChannelTimeout) and self.started:
            self.ending = (Ending.TIMEOUT, f"no answer after {self.job.limits.wall_s:.0f} s; the run was killed")
        elif isinstance(error, ChannelTimeout):
            raise SandboxDied("the kernel did not start in time", fix="the machine may be overloaded; try fewer --jobs")
        elif not self.started:
            raise SandboxDied(f"the kernel did not start: {error}", fix="run `grader doctor`")
        else:
            self.ending = (Ending.KERNEL_DIED, f"in code cell {self.cells_run}: {error}")

    def _end(self, watch: _Watch) -> tuple[Ending, str]:
        if self.ending:
            return self.ending
        if self.ended is None:
            return Ending.CHANNEL_BROKEN, "the run said it was ready before it had ended"
        ending = TOLD.get(self.ended.how, Ending.CHANNEL_BROKEN)
        out_of_memory = watch.over_limit or any(error.kind in MEMORY_ERRORS for error in self.errors)
        died_full = ending is Ending.KERNEL_DIED and watch.peak_mb > 0.8 * self.job.limits.memory_mb
        if (out_of_memory and ending in (Ending.CELL_ERROR, Ending.KERNEL_DIED)) or died_full:
            return Ending.OUT_OF_MEMORY, f"limit {self.job.limits.memory_mb} MiB, {self.ended.detail}"
        return ending, self.ended.detail[:500]

    def facts(self, watch: _Watch, wall: float, training: GpuActivity | None = None) -> RunFacts:
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
            snapshots=self.job.snapshots,
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
                "notebook": _seconds(self.ended.seconds) if self.ended else 0.0,
                "own": self.own_s,
                "run": wall,
            },
            peak_memory_mb=watch.peak_mb,
            gpus=self.job.gpus,
            gpu_training=training,
        )


def _seconds(claimed: float) -> float:
    """A duration the sandbox tells: JSON has no NaN, and a result that cannot be read back is ours to explain."""
    return claimed if 0.0 <= claimed < 1e9 else 0.0


def parse_observed(record: str) -> dict[str, Any]:
    """The training record as plain, bounded JSON; {} where it is none. NaN, which diverged losses are, becomes None."""
    if len(record) > OBSERVED_CAP:
        return {}
    try:
        parsed = _plain(json.loads(record), 0)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _plain(thing: Any, depth: int) -> Any:
    """What JSON can hold again: no NaN, no integer above 64 bits, no lone surrogate, no deep nesting."""
    if depth > OBSERVED_DEPTH:
        return None
    match thing:
        case dict():
            return {_plain(str(key), depth): _plain(item, depth + 1) for key, item in thing.items()}
        case list():
            return [_plain(item, depth + 1) for item in thing]
        case str():
            return thing.encode("utf-8", "replace").decode()
        case bool() | None:
            return thing
        case int():
            return thing if -(2**63) <= thing < 2**63 else None
        case float():
            return thing if math.isfinite(thing) else None
    return None


# ---------------------------------------------------------------- watching from outside


class _Watch:
    """Polls the memory and the own time of a run's processes, kills what is above its limit, and ends the run when asked.

    Processes are psutil's, which knows them by pid and start time: a number that was given to another process
    meanwhile is never killed.
    """

    def __init__(self, pid: int, limits: Limits, group: cgroups.Group | None = None) -> None:
        self.limit_mb = limits.memory_mb
        self.group = group
        self.own: Clock = Wall()
        self._pids = [pid]
        self.peak_mb = 0.0
        self._above = False
        self._root: psutil.Process | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="grader-watch", daemon=True)
        if pid:
            with contextlib.suppress(psutil.Error):
                self._root = psutil.Process(pid)
                self.own = OwnTime(limits.threads, lambda: self._pids, group.cpu_s if group else lambda: None)
                self.own.look()
                self._thread.start()

    @property
    def over_limit(self) -> bool:
        """Whether the run was killed for its memory: by this watch, or by the kernel that keeps its control group."""
        return self._above or (self.group is not None and self.group.out_of_memory())

    def _poll(self) -> None:
        strikes, full = 0, False
        while not self._over.wait(WATCH_EVERY_S):
            processes = self._tree()
            self._pids = [process.pid for process in processes]
            self.own.look()
            _offer_to_oom_killer(self._pids)
            used = self._used_mb(processes)
            self.peak_mb = max(self.peak_mb, used)
            # The machine may have ended one of many processes before they were seen together: the run is over all the same.
            before, full = full, self.group is not None and self.group.out_of_memory()
            if used > ceiling_mb(self.limit_mb) or full > before:
                self._above = True
                strikes += 1
                # The driver is spared at first: it still sends the files that earned credit before.
                _kill(processes[1:] if strikes <= STRIKES else processes)

    def _used_mb(self, processes: list[psutil.Process]) -> float:
        """What they cost together. The group counts it anyway; walking the page tables of a fork takes 10 ms each."""
        if self.group is not None:
            return self.group.private_mb()
        return sum(private_mb(process.pid) for process in processes)

    def _tree(self) -> list[psutil.Process]:
        """The run's first process (its driver) and all below it; nothing once that one is gone.

        Asked first, because psutil's `kill` trusts the number again after it has seen the process gone (7.0).
        """
        if self._root is not None and self._root.is_running():
            with contextlib.suppress(psutil.Error):
                return [self._root, *self._below(self._root)]
        return []

    def _below(self, root: psutil.Process) -> Iterator[psutil.Process]:
        """The processes below the driver; where a group lists them, without looking at every process of the machine."""
        if self.group is None:
            yield from root.children(recursive=True)
            return
        for pid in dict.fromkeys(self.group.processes()):
            with contextlib.suppress(psutil.Error):
                if pid != root.pid:
                    yield psutil.Process(pid)

    def pids(self) -> list[int]:
        """The run's processes now, as the host numbers them."""
        return [process.pid for process in self._tree()]

    def end(self) -> None:
        """Kill what is left of the run. Idempotent."""
        self._over.set()
        _kill(self._tree())
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(5)
        if self.group is not None:
            self._above = self.over_limit  # the group's own counter goes with it
            self.group.close()


def _offer_to_oom_killer(pids: list[int]) -> None:
    """Say again what the run has said of itself (confine, driver.kernel): a notebook could have taken it back."""
    for pid, score in zip(pids, (OOM_SCORE, *[OOM_SCORE_KERNEL] * len(pids)), strict=False):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(score))


def _kill(processes: list[psutil.Process]) -> None:
    for process in reversed(processes):  # in a pid namespace the first one's death is everyone's
        with contextlib.suppress(psutil.Error):
            process.kill()


def ceiling_mb(memory_mb: int) -> int:
    """What all processes of a run may have together. RLIMIT_DATA ends one process politely before; this is for many.

    What is above the notebook's own memory is for the driver, and for pages of the zygote's that a run has written to.
    """
    return int(memory_mb * 1.15) + 100


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
    """Files of installed packages to cover with held-out-reduced copies: scikit-learn ships all of iris.

    ``mounted`` is the data set's own folder; ``inside`` is where the run sees it.
    """
    if dataset != "iris" or mounted is None or not inside:
        return {}
    return {f"{site}/sklearn/datasets/data/iris.csv": f"{inside[0]}/iris.csv"}
