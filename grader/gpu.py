"""What the host's GPUs are, and which processes keep them busy: asked of NVML by the trusted side, never of a notebook.

Theory of operation. `inventory` says what the host offers. While a run goes on, a `Meter` asks NVML several times a
second for the utilisation of the streaming multiprocessors by each process, and notes which of those processes are the
run's own (its first process and all below it, as the host sees them). `Meter.activity` then says how busy they were
within windows of time, by the host's clock. Memory is no evidence of work: TensorFlow claims it on every GPU it sees,
even for work that is pinned to the CPU. It is looked at between runs, by `Room`: nobody is given a GPU that an earlier
run still holds, for what its notebook would lose by that is not the student's.

Who cannot be told apart is not judged. NVML names processes by their number in the host's first pid namespace; a
grader that runs in another one (a container without ``--pid=host``) would compare different numbers, so there activity
is unknown for everybody, whatever a notebook does. What a notebook does decides only whether it was busy.

Not run on a real GPU yet: the rules below are NVML's documentation and a stand-in library in the tests.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from grader.errors import SandboxError
from grader.records import GpuActivity, Gpus

#: The kernel's number of the first pid namespace (PROC_PID_INIT_INO in include/linux/proc_ns.h).
FIRST_PID_NAMESPACE = "pid:[4026531836]"
#: A sample tells of the time before it, at most this long ("between 1 second and 1/6 second", nvml.h). One that lies
#: nearer to a window's beginning may tell of what was before, and does not count.
PERIOD_S = 1.0
POLL_S = 0.2
#: Samples kept of one run: ten processes, five times a second, for half an hour.
SAMPLES_CAP = 100_000
#: From here on a process computes: above what setting up a context and an idle one show.
BUSY_PERCENT = 10
#: Whole sample periods that must be busy; one may be a single stray kernel.
BUSY_PERIODS = 2
#: The memory of a process is given back while it ends. A GPU that is not free after this long will not be by waiting.
FREE_S = 30.0
#: Memory that may come to be held without a process to name for it: what the driver keeps for itself grows with use. A
#: notebook that is to be starved lacks gigabytes.
SLACK_MB = 1024
#: What CUDA opens, in /dev. WSL has one device instead.
DEVICES = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "dxg")

Window = tuple[float, float]


def inventory(pid_namespace: str | None = None, folder: Path = Path("/dev")) -> Gpus:
    """What this host offers, as NVML says."""
    try:
        with _nvml() as nvml:
            handles = _handles(nvml)
            cards = tuple(_text(nvml.nvmlDeviceGetName(handle)) for handle in handles)
            driver = _text(nvml.nvmlSystemGetDriverVersion())
            problem = _blindness(nvml, handles, pid_namespace)
    except OSError as error:
        return Gpus(problem=str(error))
    devices = sorted({str(path) for pattern in DEVICES for path in folder.glob(pattern)})
    return Gpus(cards=cards, devices=tuple(devices), driver=driver, problem=problem if cards else "")


def _blindness(nvml: Any, handles: list[Any], pid_namespace: str | None) -> str:
    """Why activity cannot be told on this host; "" where it can."""
    if pid_namespace is None:
        with contextlib.suppress(OSError):
            pid_namespace = str(Path("/proc/self/ns/pid").readlink())
    if pid_namespace != FIRST_PID_NAMESPACE:
        return "the grader runs in a container, where NVML's process numbers are not its own (docker: --pid=host)"
    try:
        for handle in handles:
            _utilisation(nvml, handle, 0)
    except nvml.NVMLError as error:
        return f"the driver does not tell which process is busy ({error})"
    return ""


@contextlib.contextmanager
def _nvml() -> Iterator[Any]:
    """NVML, initialised. Raises OSError with a sentence where there is none or it fails."""
    try:
        import pynvml
    except ImportError as error:
        raise OSError(str(error)) from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise OSError(str(error)) from None
    try:
        yield pynvml
    except pynvml.NVMLError as error:
        raise OSError(str(error)) from None
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _handles(nvml: Any) -> list[Any]:
    return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]


def _utilisation(nvml: Any, handle: Any, since: int) -> list[Any]:
    """Samples newer than ``since`` (microseconds since 1970), one for each process that was busy at all."""
    try:
        return list(nvml.nvmlDeviceGetProcessUtilization(handle, since))
    except nvml.NVMLError as error:
        # None: NVML answers "not found", or success with no room asked for, which the binding takes for an error too.
        if error.value in (nvml.NVML_SUCCESS, nvml.NVML_ERROR_NOT_FOUND):
            return []
        raise


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def joined(windows: Iterable[Window]) -> list[Window]:
    """The windows in order, those that lie within a sample period of each other as one: short ones in a row are seen."""
    found: list[Window] = []
    for begin, end in sorted(windows):
        if found and begin - found[-1][1] < PERIOD_S:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


class Sample(msgspec.Struct, frozen=True):
    """One process on one GPU over the sample period that ended at ``time``; ``percent`` of multiprocessor time."""

    time: float
    percent: int
    mine: bool


class Meter:
    """Watches the GPUs while a run goes on. ``pids`` tells the run's processes as the host numbers them now."""

    def __init__(self, pids: Callable[[], Collection[int]]) -> None:
        self._pids = pids
        self._samples: list[Sample] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failed = ""
        self._since: dict[int, int] = {}
        self._thread = threading.Thread(target=self._watch, name="grader-gpu", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        try:
            with _nvml() as nvml:
                handles = _handles(nvml)
                while not self._over.wait(POLL_S):
                    self._poll(nvml, handles)
        except OSError as error:
            self._failed = str(error)

    def _poll(self, nvml: Any, handles: list[Any]) -> None:
        mine = set(self._pids())
        for index, handle in enumerate(handles):
            since = self._since.get(index, 0)
            found = [found for found in _utilisation(nvml, handle, since) if found.timeStamp > since]
            self._since[index] = max((found.timeStamp for found in found), default=since)
            # Drivers were seen to fill unused entries with noise (above 100 per cent) by other users of this call.
            new = [Sample(f.timeStamp / 1e6, f.smUtil, f.pid in mine) for f in found if 0 < f.smUtil <= 100]
            with self._lock:
                self._samples += new[: SAMPLES_CAP - len(self._samples)]

    def activity(self, windows: Iterable[Window]) -> GpuActivity:
        """What the run's processes did within these windows, each (begin, end) of `time.time`."""
        windows = joined(windows)
        time.sleep(2 * POLL_S)  # what was sampled up to the end has been asked for by then
        if self._failed:
            return GpuActivity(problem=self._failed)
        with self._lock:
            inside = [s for s in self._samples if any(begin + PERIOD_S <= s.time <= end for begin, end in windows)]
        mine = [sample for sample in inside if sample.mine]
        return GpuActivity(
            seconds=round(sum(end - begin for begin, end in windows), 3),
            busy=len({sample.time for sample in mine if sample.percent >= BUSY_PERCENT}),
            peak=max((sample.percent for sample in mine), default=0),
            others=max((sample.percent for sample in inside if not sample.mine), default=0),
        )

    def close(self) -> None:
        """Ask NVML no more. Idempotent."""
        self._over.set()
        self._thread.join(5)


class Room:
    """Whether the GPUs are free of runs that are over. For a worker, which has one run at a time and asks between two.

    Free means two things. No process that NVML lists there was started by this one, or is gone from the host and still
    listed. And the memory that no listed process accounts for (the driver's own, and what nobody can be named for) is not
    more than the least that was seen, with some slack. Other people's processes, and the runs of other workers, are
    listed and may have what they have.
    """

    def __init__(self) -> None:
        self._least: dict[int, float] = {}

    def wait(self) -> None:
        """Until they are. Raises SandboxError where they do not come to be: the machine's fault, and no notebook is run."""
        until = time.monotonic() + FREE_S
        while held := self._held():
            if time.monotonic() > until:
                what = f"the GPU did not come free of the run before within {FREE_S:.0f} s: {held}"
                raise SandboxError(what, fix="see `nvidia-smi`; a GPU that nobody seems to use has to be reset")
            time.sleep(POLL_S)

    def _held(self) -> str:
        """By what they are held, for a person; "" where they are free, or the driver does not tell."""
        ours = {child.pid for child in psutil.Process().children(recursive=True)}
        try:
            with _nvml() as nvml:
                told = [self._held_on(nvml, index, handle, ours) for index, handle in enumerate(_handles(nvml))]
        except OSError as error:
            return str(error)
        return "; ".join(filter(None, told))

    def _held_on(self, nvml: Any, index: int, handle: Any, ours: Collection[int]) -> str:
        try:
            processes = _memory_mb(nvml, handle)
            used = nvml.nvmlDeviceGetMemoryInfo(handle).used / (1 << 20)
        except nvml.NVMLError as error:
            if error.value in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
                return ""
            raise
        over = {pid for pid in processes if pid in ours or not psutil.pid_exists(pid)}
        if over:
            return f"GPU {index} lists {len(over)} of its processes"
        if None in processes.values():  # as under WSL: whose memory is whose is not told
            return ""
        nobodys = used - sum(size or 0.0 for size in processes.values())
        least = self._least[index] = min(nobodys, self._least.get(index, nobodys))
        return f"nobody accounts for {nobodys - least:.0f} MiB of GPU {index}" if nobodys > least + SLACK_MB else ""


def _memory_mb(nvml: Any, handle: Any) -> dict[int, float | None]:
    """{process: MiB that it has of this GPU, None where that is not told}, whether it computes or draws."""
    kinds = nvml.nvmlDeviceGetComputeRunningProcesses_v3, nvml.nvmlDeviceGetGraphicsRunningProcesses_v3
    found = (process for listed in kinds for process in listed(handle))
    return {p.pid: None if p.usedGpuMemory is None else p.usedGpuMemory / (1 << 20) for p in found}
