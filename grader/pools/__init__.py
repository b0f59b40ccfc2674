"""A pool runs many tasks in worker processes, each with a warm zygote of its own.

`Pool` is the whole contract; `LocalPool` serves one machine, as many runs at a time as its memory admits. A worker that
dies costs its task one more try elsewhere and nobody else anything.
"""

from __future__ import annotations

from grader.pools.admission import Admission, crowded, default_jobs, judges, room_mb, run_mb
from grader.pools.local import LocalPool
from grader.pools.protocol import TRIES, Done, Pool, Progress, Worker

__all__ = [
    "TRIES",
    "Admission",
    "Done",
    "LocalPool",
    "Pool",
    "Progress",
    "Worker",
    "crowded",
    "default_jobs",
    "judges",
    "room_mb",
    "run_mb",
]
