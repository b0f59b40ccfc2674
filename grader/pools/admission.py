"""Which runs may be under way together: those whose limits of memory fit into this machine's.

Theory of operation. A limit of memory is a promise that a run may take so much. Where more is promised than there is, the
kernel of the machine ends some process when the promises are called in, and it may be anybody's. So a run starts when
what it and the runs under way may take, and what their workers hold, fits into the *room*: the memory that was
available when the batch began (of the machine, or of the control groups around the grader, whichever is less), less a
reserve. One run is always admitted, or nothing would ever be graded. The next in line waits for its turn; nobody overtakes
it, or a large one would wait for ever.

Limits are ceilings that few runs come near. Who knows their labs may promise more than there is (``[run] room_mb``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from grader.records import Limits
from grader.runner import ceiling_mb
from grader.sandbox import cgroups

#: What a worker holds by itself: its zygote 690 MiB with TensorFlow, the judge 60 to 200 (measured).
WORKER_MB = 900
#: A worker that judges from tapes alone has no zygote: the judge, with the withheld rows of the largest data set.
JUDGE_MB = 200
#: A clean sandbox with a kept model. Its limit is the run's, but what it loads was part of the run (one that asks for far
#: more meets its limit or is ended first, see `runner`, and the run is tried once more).
CLEAN_MB = 512
#: For everybody else on the machine: so much, or this share.
RESERVE_MB, RESERVE = 1024, 1 / 16


@dataclass(frozen=True)
class Admission:
    """``room_mb`` for all runs and workers; ``cost`` tells what a task's run may take."""

    room_mb: float
    cost: Callable[[Any], float]

    def admits(self, task: Any, running: Iterable[Any], workers: int) -> bool:
        """Whether that task may start now, on one of so many workers."""
        under_way = [self.cost(other) for other in running]
        return not under_way or sum(under_way) + self.cost(task) + WORKER_MB * workers <= self.room_mb


def run_mb(limits: Limits) -> float:
    """What one run may take: its processes, its files (they lie in memory), and the clean sandbox beside it."""
    return ceiling_mb(limits.memory_mb) + limits.disk_mb + CLEAN_MB


def judges(jobs: int, room: float) -> int:
    """How many workers judge from tapes together where so many were asked for: they only compute, and have to fit."""
    return max(1, min(jobs, default_jobs(), int(room // JUDGE_MB)))


def default_jobs() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def room_mb(promised: int = 0) -> float:
    """The room for runs and workers now; ``promised`` is the setting, 0 where nobody set it."""
    if promised:
        return float(promised)
    memory = psutil.virtual_memory()
    left = min(memory.available / (1 << 20), cgroups.left_mb())
    return max(0.0, left - max(RESERVE_MB, RESERVE * memory.total / (1 << 20)))


def crowded(labs: Mapping[str, Limits], room: float, jobs: int) -> list[str]:
    """What to say before a batch of these labs: which run fewer at a time than asked for, and which may not fit at all."""
    said = []
    for lab, limits in labs.items():
        one = run_mb(limits) + WORKER_MB
        fit = int(room // one)
        may = f"{lab}: a run may take {one:,.0f} MiB with its worker, and there is room for {room:,.0f}"
        if fit < 1:
            said.append(
                f"{may}: one at a time, and it may not fit (lower memory_mb in [limits], or set room_mb in [run])"
            )
        elif fit < jobs:
            said.append(f"{may}: {fit} at a time instead of {jobs} (room_mb in [run] changes that)")
    return said
