"""A run's own time: what its limits of time count, so that a busy machine costs no student anything.

Theory of operation. Own time runs with the wall clock, except that it stands still while the run waits for a core. The
kernel tells for each thread how long it was runnable and waited (``/proc/PID/task/TID/schedstat``). With ``ran`` and
``waited`` added up over all threads of the run in a window of about ten seconds:

- a window in which nothing was runnable counts in full: sleeping, and waiting for a disk or a GPU, is the run's own;
- of a window in which something was, the share ``ran / (ran + waited)`` counts: with ten times as many busy threads as
  cores a second of own time takes ten seconds. Threads that run at once count once, as on the wall;
- at least ``ran / lanes`` counts, where ``lanes`` is what the run may use at once: threads that only wait, started to
  slow the clock down, buy no more processor time than an idle machine would have given;
- never more than the wall shows.

For one thread this is exactly the wall time less its waiting. Processes that came and went between two looks are missing
from ``waited`` and so count in full. Where the kernel keeps no such statistics, own time is wall time.

`Patience` is a limit in own time with an end on the wall: `most_s` of it, however busy the machine is.

An island, standard library only: the trusted side judges by it, and the driver and the probe, who end an answer politely
before that, go by the same clock.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

#: A limit may take this many times as long on the wall, and this much longer at most.
STRETCH = 20.0
STRETCH_S = 4 * 3600.0
#: A thread's waiting is told when it gets its turn, which beside many busy threads is late: a window is long against that.
#: Notebooks that trained with TensorFlow beside five busy processes for each core were counted 4 to 7 s for 2.6 s of
#: processor time and 13 to 42 s on the wall (measured; what the rest consists of was not found).
WINDOW_S = 10.0
#: A slow clock nears its end in ever smaller steps: none is smaller than this.
LOOK_S = 0.05
#: What a run may use besides its ``threads``: TensorFlow's input pipeline and Python's own thread run beside them.
BESIDE = 1


def most_s(seconds: float) -> float:
    """How long the wall may show for a limit of so many seconds of own time."""
    return min(STRETCH * seconds, seconds + STRETCH_S)


def counted(elapsed: float, ran: float, waited: float, lanes: float) -> float:
    """The own time of a window. All in seconds; ``ran`` and ``waited`` are summed over all threads."""
    if waited <= 0 or elapsed <= 0:
        return max(elapsed, 0.0)
    wanted = min(1.0, (ran + waited) / elapsed)
    own = elapsed * (1 - wanted) + elapsed * wanted * ran / (ran + waited)
    return min(elapsed, max(own, ran / lanes))


class Clock(Protocol):
    """Tells time: ``seconds`` is cheap and may be a little ahead, until ``look`` brings it up to date."""

    def seconds(self) -> float: ...

    def look(self) -> None: ...


class Wall:
    """The wall clock, where nobody measures own time."""

    def seconds(self) -> float:
        return time.monotonic()

    def look(self) -> None:
        return


class OwnTime:
    """The own time of some processes since the first look at them. Look every now and then. Safe from several threads.

    ``cpu_s`` tells the processor time of them all until now; None: it is read from each.
    """

    def __init__(
        self, threads: int, pids: Callable[[], Iterable[int]], cpu_s: Callable[[], float | None] = lambda: None
    ) -> None:
        self.lanes = min(os.cpu_count() or 1, threads + BESIDE)
        self._pids, self._cpu_s = pids, cpu_s
        self._lock = threading.Lock()
        self._waits: dict[tuple[int, int], int] | None = None
        self._cpu = self._waited = self._closed = self._window = 0.0
        self._begun = self._looked = time.monotonic()

    def seconds(self) -> float:
        """The own time until now; what has passed since the last look counts in full."""
        with self._lock:
            return self._closed + self._window + time.monotonic() - self._looked

    def look(self) -> None:
        with self._lock:
            self._look()

    def _look(self) -> None:
        pids = list(self._pids())
        waits, told = _waits(pids), self._cpu_s()
        cpu, now = _cpu(pids) if told is None else told, time.monotonic()
        if self._waits is None:
            self._cpu, self._begun = cpu, now
        else:
            for key, wait in waits.items():  # a number given to another thread begins anew
                before = self._waits.get(key, 0)
                self._waited += (wait - before if wait >= before else wait) / 1e9
        self._waits, self._looked = waits, now
        self._window = counted(now - self._begun, max(0.0, cpu - self._cpu), self._waited, self.lanes)
        if now - self._begun >= WINDOW_S:
            self._closed += self._window
            self._window, self._waited, self._cpu, self._begun = 0.0, 0.0, cpu, now


def _waits(pids: Iterable[int]) -> dict[tuple[int, int], int]:
    """{(process, thread): nanoseconds it has waited for a core}."""
    found = {}
    for pid in pids:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            text = _read(f"/proc/{pid}/task/{thread}/schedstat").split()
            if len(text) > 1:
                found[pid, int(thread)] = int(text[1])
    return found


def _cpu(pids: Iterable[int]) -> float:
    """Seconds of processor time of these processes, their ended threads, and the children they have waited for."""
    ticks = 0
    for pid in pids:
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime (proc_pid_stat(5) counts from the pid)
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


class Patience:
    """Whether so many seconds have passed on a clock of own time, which is looked at no more often than it has to be."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        now = time.monotonic()
        self._clock = clock
        self._until = clock.seconds() + seconds
        self._until_wall = now + most_s(seconds)
        self._earliest = now + seconds  # own time is never faster than the wall

    def left(self) -> float:
        """Seconds of the wall for which it will not be over; 0 when it is."""
        now = time.monotonic()
        if now >= self._earliest:
            self._clock.look()
            left = min(self._until - self._clock.seconds(), self._until_wall - now)
            self._earliest = now + (max(left, LOOK_S) if left > 0 else 0.0)
        return max(0.0, self._earliest - now)
