"""A pool runs many tasks in worker processes, each with a warm zygote of its own.

`Pool` is the whole contract; `LocalPool` serves one machine. A worker that dies costs its task one more try elsewhere
and nobody else anything. What a worker sends back is small: cards and evidence are written by the worker.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from grader.errors import GraderError, OursError
from grader.records import Record

#: A task whose worker died is tried this many times in all: the second time on a fresh worker.
TRIES = 2


class Progress(Record, frozen=True):
    """What a worker says while it works: the index of its task and a word."""

    task: int
    text: str


@dataclass(frozen=True)
class Done:
    """A task's end: its result, or the text of what went wrong (ours)."""

    task: int
    result: Any = None
    failure: str = ""


class Worker(Protocol):
    """What runs in a worker process: made once by a picklable factory, then called for each task."""

    def __call__(self, task: Any, tell: Any) -> Any: ...

    def close(self) -> None: ...


class Pool(Protocol):
    """Runs tasks; yields `Progress` and exactly one `Done` for each task, in the order they end."""

    def run(self, tasks: Sequence[Any]) -> Generator[Progress | Done, None, None]: ...


@dataclass
class _Process:
    process: Any
    connection: Connection
    task: int | None = None


@dataclass
class LocalPool:
    """``jobs`` spawned worker processes. ``factory(slot)`` makes the `Worker` there."""

    factory: Any
    jobs: int
    _workers: list[_Process] = field(default_factory=list)

    def run(self, tasks: Sequence[Any]) -> Generator[Progress | Done, None, None]:
        waiting = deque(range(len(tasks)))
        tries = [0] * len(tasks)
        try:
            for slot in range(min(self.jobs, len(tasks))):
                self._workers.append(self._start(slot))
            while waiting or any(worker.task is not None for worker in self._workers):
                for worker in self._workers:
                    if worker.task is None and waiting:
                        self._give(worker, waiting.popleft(), tasks, tries)
                yield from self._listen(waiting, tries)
        finally:
            self.close()

    def _start(self, slot: int) -> _Process:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_work, args=(theirs, self.factory, slot), name=f"grader-worker-{slot}", daemon=False
        )
        with _importable_main():
            process.start()
        theirs.close()
        return _Process(process, ours)

    def _give(self, worker: _Process, task: int, tasks: Sequence[Any], tries: list[int]) -> None:
        tries[task] += 1
        worker.task = task
        with contextlib.suppress(OSError):  # a worker that just died is noticed by _listen
            worker.connection.send((task, tasks[task]))

    def _listen(self, waiting: deque[int], tries: list[int]) -> Iterator[Progress | Done]:
        busy = {
            worker.connection: (slot, worker) for slot, worker in enumerate(self._workers) if worker.task is not None
        }
        for ready in multiprocessing.connection.wait(list(busy), timeout=1.0):
            slot, worker = busy[ready]  # type: ignore[index]  # wait returns what it was given
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                yield from self._replace(slot, worker, waiting, tries)
                continue
            if isinstance(message, Done):
                worker.task = None
            yield message

    def _replace(self, slot: int, worker: _Process, waiting: deque[int], tries: list[int]) -> Iterator[Done]:
        worker.process.join(5)
        task = worker.task
        code = worker.process.exitcode
        worker.connection.close()
        self._workers[slot] = self._start(slot)
        if task is None:
            return
        if tries[task] < TRIES:
            waiting.appendleft(task)
        else:
            yield Done(task, failure=f"the worker process died twice at this run (exit {code})")

    def close(self) -> None:
        """End the workers and everything they started."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.connection.close()
        for worker in self._workers:
            if worker.task is not None and worker.process.is_alive():
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()


@contextlib.contextmanager
def _importable_main() -> Iterator[None]:
    """Spawned children run the parent's main module again; ours is a console script that must not run twice."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    main.__spec__ = None
    if file is not None:
        del main.__file__
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


def _work(connection: Connection, factory: Any, slot: int) -> None:
    """The worker process: tasks in, progress and results out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_end_with_parent, name="grader-parent", daemon=True).start()
    worker: Any = None
    try:
        while True:
            try:
                index, task = connection.recv()
            except (EOFError, OSError):
                return
            try:
                worker = worker or factory(slot)
                result = worker(task, lambda text, index=index: connection.send(Progress(task=index, text=text)))
                connection.send(Done(index, result))
            except OursError as error:
                if worker is not None:  # a broken zygote must not cost the next run anything
                    worker.close()
                    worker = None
                connection.send(Done(index, failure=str(error)))
            except GraderError as error:  # a lab's or its data's: the worker is as good as before
                connection.send(Done(index, failure=str(error)))
            except OSError as error:
                if isinstance(error, BrokenPipeError):
                    raise
                connection.send(Done(index, failure=_unexpected(error)))
            except Exception as error:  # noqa: BLE001 - ours, and the same a second time: no reason to lose the worker
                connection.send(Done(index, failure=_unexpected(error)))
    except (BrokenPipeError, _Terminated):
        return
    finally:
        if worker is not None:
            worker.close()


def _unexpected(error: Exception) -> str:
    """A mistake of the grader's, with the line it was made at."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {type(error).__name__}: {str(error)[:300]} ({Path(frame.filename).name}:{frame.lineno})"


def _end_with_parent() -> None:
    """End this worker when the grader is gone, also in the middle of a run: a killed grader leaves nothing behind."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    multiprocessing.connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


class _Terminated(BaseException):
    """The pool asks this worker to end now."""


def _terminate(*_: Any) -> None:
    raise _Terminated


def default_jobs() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
