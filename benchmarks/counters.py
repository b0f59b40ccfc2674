"""Wall time, processor time and memory of a group of processes, whoever their parents are and however they end."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

GROUPS = Path("/sys/fs/cgroup")
SAMPLE_S = 0.2
MIB = 1 << 20


class Counter:
    """Counts what enters it: call `enter` in each child before it executes. Use as a context manager.

    Version 1 of control groups counts processor time and memory in two hierarchies, version 2 in one. Memory is what no
    file backs, pages that several processes share counted once. Without control groups the whole machine is counted.
    """

    def __init__(self) -> None:
        name = f"bench-{secrets.token_hex(4)}"
        two = (GROUPS / "cgroup.controllers").exists()
        self.folders = [GROUPS / name] if two else [GROUPS / "cpuacct" / name, GROUPS / "memory" / name]
        try:
            for folder in self.folders:
                folder.mkdir()
        except OSError:
            self._remove()
            self.folders = []
        self.wall_s = self.cpu_s = self.peak_mb = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def enter(self) -> None:
        for folder in self.folders:
            with (folder / "cgroup.procs").open("w") as file:
                file.write(str(os.getpid()))

    def leave(self) -> None:
        """Back to the groups' parents, so that the groups can be removed."""
        for folder in self.folders:
            with (folder.parent / "cgroup.procs").open("w") as file:
                file.write(str(os.getpid()))

    def cpu(self) -> float:
        if not self.folders:
            user, nice, system = Path("/proc/stat").read_text("ascii").split()[1:4]
            return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")
        folder = self.folders[0]
        if (folder / "cpuacct.usage").exists():
            return int((folder / "cpuacct.usage").read_text("ascii")) / 1e9
        return _field(folder / "cpu.stat", "usage_usec") / 1e6

    def _memory(self) -> float:
        if not self.folders:
            return -_field(Path("/proc/meminfo"), "MemAvailable:") / 1024
        name = "anon" if len(self.folders) == 1 else "total_rss"
        return _field(self.folders[-1] / "memory.stat", name) / MIB

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            with contextlib.suppress(OSError):
                self.peak_mb = max(self.peak_mb, self._memory() - self._memory_before)

    def __enter__(self) -> Self:
        self._memory_before = 0.0 if self.folders else self._memory()
        self._thread.start()
        self._cpu_before, self._begun = self.cpu(), time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.wall_s, self.cpu_s = time.perf_counter() - self._begun, self.cpu() - self._cpu_before
        self._over.set()
        self._thread.join()
        self._remove()

    def _remove(self) -> None:
        for folder in self.folders:
            for _ in range(50):  # what was killed a moment ago may still be in it
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.1)


def _field(path: Path, name: str) -> float:
    for line in path.read_text("ascii").splitlines():
        key, value, *_ = line.split()
        if key == name:
            return float(value)
    raise KeyError(f"{path}: {name}")


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """The machine in words: figures of two machines do not compare."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{cores()} cores of {model}, {system}, Python {platform.python_version()}"
