"""Control groups: the kernel's own limits on the memory and the number of processes of one run, and its end as a whole.

Theory of operation. Before the driver of a run is told anything, it is moved into a group made for that run; whatever
it starts afterwards is in there too and cannot leave, because no control group is visible inside. The group is made
below the grader's own one, so that limits around the grader hold for its runs as well. Three kinds of machine:

- version 1: one folder for each of ``memory`` and ``pids``, below the grader's own in either hierarchy, and for
  ``cpuacct``, which only counts, where it is there;
- version 2, delegated (systemd: ``Delegate=yes``) or a hierarchy of its own: below the grader's own group. Only a group
  without processes may have limited children ("no internal processes", kernel documentation, cgroup-v2), so the
  grader's processes move into a group of their own first, if nobody else is in theirs;
- version 2, root in a session that systemd did not delegate: beside the grader's own group.

A group is removed when its run has ended, after the kernel has confirmed that nobody is left in it. Each one's folder is
locked by its grader: where the lock is free the grader was killed, and the next one sweeps what it left.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from grader.errors import SandboxError

PREFIX = "grader-"
#: Where the grader's own processes go on version 2; its name never ends like a run's group.
HOST = "grader.host"
REMOVE_S = 10.0
#: Where a group tells its limit and its use, by controller: version 1, version 2.
LIMIT_FILES = {
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    "": ("memory.max", "memory.current"),
}


@dataclass(frozen=True)
class Place:
    """Where groups can be made: one folder on version 2, on version 1 one for each controller."""

    version: int
    memory: Path
    pids: Path
    cpu: Path | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(folder for folder in (self.memory, self.pids, self.cpu) if folder is not None))


@dataclass
class Group:
    """The group of one run. ``close`` ends every process in it and removes it."""

    place: Place
    name: str
    locks: tuple[int, ...]

    @property
    def memory(self) -> Path:
        return self.place.memory / self.name

    @property
    def pids(self) -> Path:
        return self.place.pids / self.name

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(folder / self.name for folder in self.place.folders)

    def add(self, pid: int) -> None:
        """Move a process, which has no children yet, into the group. Raises SandboxError."""
        try:
            for folder in self.folders:
                _write(folder / "cgroup.procs", str(pid))
        except OSError as error:
            raise SandboxError(f"a run could not be put into its control group: {error}") from None

    def out_of_memory(self) -> bool:
        """Whether the kernel has ended a process of the group for want of memory."""
        name = "memory.events" if self.place.version == 2 else "memory.oom_control"
        return _counter(self.memory / name, "oom_kill") > 0

    def processes_refused(self) -> bool:
        """Whether the kernel has refused the group another process or thread."""
        return _counter(self.pids / "pids.events", "max") > 0

    def private_mb(self) -> float:
        """Memory of its processes that no file backs and nobody outside the group has paid for, in MiB."""
        return _counter(self.memory / "memory.stat", "anon" if self.place.version == 2 else "rss") / (1 << 20)

    def cpu_s(self) -> float | None:
        """Processor time of everyone who was ever in the group, in seconds; None where the kernel does not count it."""
        if self.place.version == 2:
            return _counter(self.memory / "cpu.stat", "usage_usec") / 1e6
        text = _read(self.place.cpu / self.name / "cpuacct.usage").strip() if self.place.cpu else ""
        return int(text) / 1e9 if text.isdigit() else None

    def exists(self) -> bool:
        """Whether it has not been removed."""
        return any(folder.exists() for folder in self.folders)

    def processes(self) -> list[int]:
        """Who is in the group."""
        return [int(line) for folder in self.folders for line in _read(folder / "cgroup.procs").split()]

    def close(self) -> bool:
        """End everyone in the group and remove it; False if somebody would not end. Idempotent."""
        left = [folder for folder in self.folders if not _remove(folder, self.place.version)]
        for lock in self.locks:
            os.close(lock)
        self.locks = ()
        return not left


def make(limit_mb: int, processes: int) -> Group | None:
    """A group with these limits, or None where none can be made. Raises SandboxError where it suddenly cannot."""
    place = find()
    if place is None:
        return None
    name = PREFIX + secrets.token_hex(8)
    try:
        return _make(place, name, limit_mb, processes)
    except OSError as error:
        for folder in place.folders:
            _remove(folder / name, place.version)
        raise SandboxError(f"a control group could not be made: {error}") from None


def _make(place: Place, name: str, limit_mb: int, processes: int) -> Group:
    import fcntl  # Unix only, as control groups are; the self-check imports this module on Windows too

    locks = []
    for folder in place.folders:
        (folder / name).mkdir()
        lock = os.open(folder / name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        locks.append(lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
    group = Group(place, name, tuple(locks))
    limit = str(limit_mb << 20)
    if place.version == 2:
        _write(group.memory / "memory.max", limit)
        swap, swap_limit = group.memory / "memory.swap.max", "0"
    else:
        _write(group.memory / "memory.limit_in_bytes", limit)
        swap, swap_limit = group.memory / "memory.memsw.limit_in_bytes", limit  # memory and swap together
    if swap.exists():  # a kernel without accounting of swap has no such file
        _write(swap, swap_limit)
    _write(group.pids / "pids.max", str(processes))
    return group


def left_mb() -> float:
    """Memory that the groups around this process still allow, in MiB; infinite where none limits it."""
    left = math.inf
    mounts, own = _mounts(_read(Path("/proc/self/mountinfo"))), _own(_read(Path("/proc/self/cgroup")))
    for controller, names in LIMIT_FILES.items():
        if controller not in mounts or controller not in own:
            continue
        top = Path(mounts[controller][0])
        folder = _folder(mounts[controller], own[controller])
        for group in (folder, *folder.parents):
            if not group.is_relative_to(top):
                break
            limit, used = (_read(group / name).strip() for name in names)
            if limit.isdigit() and used.isdigit():  # "max", or the root, which has none
                cache = _counter(group / "memory.stat", "inactive_file")  # given back when it is needed
                left = min(left, (int(limit) - int(used) + cache) / (1 << 20))
    return left


# ---------------------------------------------------------------- finding a place


@functools.cache
def find() -> Place | None:
    """Where this process may make groups that hold, tried with a process; what killed graders left there is swept."""
    if sys.platform != "linux":
        return None
    for place in _candidates(_mounts(_read(Path("/proc/self/mountinfo"))), _own(_read(Path("/proc/self/cgroup")))):
        with contextlib.suppress(OSError, SandboxError):
            if _works(place):
                sweep(place)
                return place
    return None


def _works(place: Place) -> bool:
    """Make a group, put a process in, and see it end with the group."""
    group = _make(place, PREFIX + secrets.token_hex(8), 64, 16)
    with contextlib.closing(group):
        command = [sys.executable, "-I", "-S", "-c", "input()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            try:
                group.add(process.pid)
                inside = process.pid in group.processes()
                return group.close() and inside and process.wait(REMOVE_S) == -signal.SIGKILL
            finally:
                process.kill()


def _candidates(mounts: dict[str, tuple[str, str]], own: dict[str, str]) -> list[Place]:
    """Places worth trying. ``mounts`` and ``own`` are by controller, version 2 under ""."""
    places = []
    if {"memory", "pids"} <= mounts.keys() & own.keys():
        names = [name for name in ("memory", "pids", "cpuacct") if name in mounts and name in own]
        places.append(Place(1, *(_folder(mounts[name], own[name]) for name in names)))
    if "" in mounts and "" in own:
        mine = _folder(mounts[""], own[""])
        if mine.name == HOST:
            mine = mine.parent
        seen = [folder for folder in (mine, mine.parent) if folder.is_relative_to(mounts[""][0])]
        places += [Place(2, folder, folder) for folder in seen if _limits_children(folder, ours=folder == mine)]
    return places


def _limits_children(folder: Path, *, ours: bool) -> bool:
    """Whether children of that group have limits; in our own, after what can be done about it."""
    control = folder / "cgroup.subtree_control"
    if {"memory", "pids"} <= set(_read(control).split()):
        return True
    if not ours or not {"memory", "pids"} <= set(_read(folder / "cgroup.controllers").split()):
        return False
    try:
        if _is_ours(folder):
            (folder / HOST).mkdir(exist_ok=True)
            for pid in _read(folder / "cgroup.procs").split():
                _write(folder / HOST / "cgroup.procs", pid)
        _write(control, "+memory +pids")
    except OSError:
        return False
    return True


def _is_ours(folder: Path) -> bool:
    """Whether everyone in that group is this process or was started by it."""
    import psutil

    me = psutil.Process()
    family = {me.pid, *(child.pid for child in me.children(recursive=True))}
    members = {int(pid) for pid in _read(folder / "cgroup.procs").split()}
    return me.pid in members and members <= family


def _mounts(mountinfo: str) -> dict[str, tuple[str, str]]:
    """{controller: (mount point, root of what is mounted there)}; version 2 under ""."""
    found: dict[str, tuple[str, str]] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            found[""] = (fields[4], fields[3])
        elif kind[0] == "cgroup":
            found |= dict.fromkeys(kind[2].split(","), (fields[4], fields[3]))
    return found


def _own(cgroup: str) -> dict[str, str]:
    """{controller: the group this process is in}."""
    found: dict[str, str] = {}
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        found |= dict.fromkeys(controllers.split(","), path)
    return found


def _folder(mount: tuple[str, str], path: str) -> Path:
    """Where a group is in the file system: a container may see only the part of the hierarchy from ``root`` down."""
    point, root = mount
    below = os.path.relpath(path, root) if path.startswith(root.rstrip("/") + "/") or path == root else "."
    return Path(os.path.normpath(os.path.join(point, below)))


# ---------------------------------------------------------------- ending and removing


def sweep(place: Place) -> int:
    """Remove the groups of graders that are gone, and end who is left in them. Returns how many there were."""
    import fcntl

    swept = 0
    for parent in place.folders:
        for folder in parent.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    swept += _remove(folder, place.version)
                finally:
                    os.close(lock)
    return swept


def _remove(folder: Path, version: int) -> bool:
    """Kill until nobody is left, then remove. True once the folder is gone."""
    deadline = time.monotonic() + REMOVE_S
    while True:
        try:
            folder.rmdir()  # EBUSY while anybody is in it: the kernel's own word that it is empty
        except FileNotFoundError:
            return True
        except OSError:
            _kill(folder, version)
        else:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)


def _kill(folder: Path, version: int) -> None:
    """Version 2 kills a group at once; on version 1 whoever forks meanwhile is met in the next round."""
    if version == 2:
        with contextlib.suppress(OSError):
            _write(folder / "cgroup.kill", "1")
        return
    with contextlib.suppress(OSError):
        _write(folder / "pids.max", "0")
    for pid in map(int, _read(folder / "cgroup.procs").split()):
        if pid > 0:  # 0 is a process that this one's pid namespace does not show, and kill(0) would be our own group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _counter(path: Path, name: str) -> int:
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
