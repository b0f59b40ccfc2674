"""The real command with zygotes that do not import TensorFlow, and a wall clock that somebody else may move.

    python -m tests.hostile.quick grade …       with the file $CLOCK_FILE, which holds the seconds the clock is off

The lab needs no TensorFlow, and a zygote is up in a second instead of five: so more faults meet more runs. The clock is
moved in the grader and its workers alone; see test_faults.py for why not the machine's.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable

from grader import batch, worker
from grader.cli import main
from grader.zygote import Zygote

_now = time.time


def moved() -> float:
    """The wall clock, off by what the file says."""
    off = 0.0
    with contextlib.suppress(OSError, ValueError), open(os.environ["CLOCK_FILE"]) as file:
        off = float(file.read())
    return _now() + off


class Factory(worker.GradingWorker.Factory):
    """Travels to the worker process, and moves its clock, too."""

    def __call__(self, slot: int) -> worker.GradingWorker:
        begin()
        return super().__call__(slot)


def begin() -> None:
    """From here on."""
    time.time = moved
    worker.Zygote = _without_tensorflow


def _without_tensorflow(*args: object, options: dict[str, object], **named: object) -> Zygote:
    start: Callable[..., Zygote] = Zygote
    return start(*args, options={**options, "tensorflow": False}, **named)


if __name__ == "__main__":
    from tests.hostile import quick

    quick.begin()
    batch.grade = functools.partial(batch.grade, workers=quick.Factory)
    main()
