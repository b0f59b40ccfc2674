"""What a worker process does, whoever started it: tasks in, progress and results out, until its pipe closes.

It holds the course's secret, labels and thresholds, so its memory is closed to other processes. It ends with whoever
started it, also in the middle of a run: a killed grader, or a killed Dask worker, leaves nothing behind.
"""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from grader.confine import hide_memory
from grader.errors import GraderError, OursError
from grader.pools.protocol import Done, Progress

#: What a worker that has to end may take to end its zygote and its run by itself; they would end with it anyway.
GRACE_S = 8.0


def serve(connection: Connection, factory: Any, slot: int, parent: Any, idle_s: float | None = None) -> None:
    """Work until the pipe closes. ``parent`` becomes readable when whoever started this process is gone.

    After ``idle_s`` without a task the worker is closed, with its zygote; the next task makes another.
    """
    hide_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    line = _Line(connection)
    signal.signal(signal.SIGTERM, line.end)
    threading.Thread(target=_end_with, args=(parent,), name="grader-parent", daemon=True).start()
    worker: Any = None
    try:
        while True:
            if worker is not None and not connection.poll(idle_s):
                worker.close()
                worker = None
            try:
                index, task = connection.recv()
            except (EOFError, OSError):
                return
            try:
                worker = worker or factory(slot)
                result = worker(task, lambda text, index=index: line.say(Progress(task=index, text=text)))
                line.say(Done(index, result))
            except OursError as error:
                if worker is not None:  # a broken zygote must not cost the next run anything
                    worker.close()
                    worker = None
                line.say(Done(index, failure=str(error)))
            except GraderError as error:  # a lab's or its data's: the worker is as good as before
                line.say(Done(index, failure=str(error)))
            except OSError as error:
                if isinstance(error, BrokenPipeError):
                    raise
                line.say(Done(index, failure=unexpected(error)))
            except Exception as error:  # noqa: BLE001 - ours, and the same a second time: no reason to lose the worker
                line.say(Done(index, failure=unexpected(error)))
    except (BrokenPipeError, _Terminated):
        return
    finally:
        line.ending = True
        if worker is not None:
            worker.close()


def unexpected(error: BaseException) -> str:
    """A mistake of the grader's, with the line it was made at."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"unexpected {type(error).__name__}: {str(error)[:300]}{place}"


def _end_with(parent: Any) -> None:
    """End this process when its parent is gone, and for certain: a check may swallow what SIGTERM raises."""
    if parent is None:
        return
    multiprocessing.connection.wait([parent])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


class _Terminated(KeyboardInterrupt):
    """This worker has to end now. Pytest and our judge take an interrupt for nobody's mistake, and pass it on."""


class _Line:
    """What a worker says, until it has to end. It speaks before it writes anything, so afterwards nothing is written."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.ending = connection, False

    def end(self, *_: Any) -> None:
        """SIGTERM came."""
        if not self.ending:  # once: a second one must not interrupt the cleaning up
            self.ending = True
            raise _Terminated

    def say(self, message: Progress | Done) -> None:
        if self.ending:  # a suite, or Python in a finalizer, has swallowed what `end` raised
            raise _Terminated
        self.connection.send(message)
