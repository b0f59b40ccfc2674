"""Worker processes of this machine. What a worker sends back is small: cards and evidence are written by the worker."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from grader.pools.admission import Admission
from grader.pools.protocol import TRIES, Done, Progress
from grader.pools.serve import serve

#: What all workers together may take to end what they started. Then they are killed, and it ends with them.
GRACE_S = 10.0


@dataclass
class _Process:
    process: Any
    connection: Connection
    task: int | None = None


@dataclass
class LocalPool:
    """Up to ``jobs`` spawned worker processes. ``factory(slot)`` makes the `Worker` there.

    ``admission`` tells which tasks may be under way together; None: all.
    """

    factory: Any
    jobs: int
    admission: Admission | None = None
    _workers: list[_Process] = field(default_factory=list)

    def run(self, tasks: Sequence[Any]) -> Generator[Progress | Done, None, None]:
        waiting = deque(range(len(tasks)))
        tries = [0] * len(tasks)
        try:
            while waiting or any(worker.task is not None for worker in self._workers):
                while waiting and (worker := self._idle(tasks, waiting[0])):
                    self._give(worker, waiting.popleft(), tasks, tries)
                yield from self._listen(waiting, tries)
        finally:
            self.close()

    def _idle(self, tasks: Sequence[Any], task: int) -> _Process | None:
        """A worker for that task, started if need be; None while there is none, or no room."""
        running = [tasks[worker.task] for worker in self._workers if worker.task is not None]
        idle = next((worker for worker in self._workers if worker.task is None), None)
        workers = len(self._workers) + (idle is None)
        if workers > self.jobs or (self.admission and not self.admission.admits(tasks[task], running, workers)):
            return None
        if idle is None:
            idle = self._start(len(self._workers))
            self._workers.append(idle)
        return idle

    def _start(self, slot: int) -> _Process:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_work,
            args=(theirs, _Later(pickle.dumps(self.factory)), slot),
            name=f"grader-worker-{slot}",
            daemon=False,
        )
        with _importable_main(), _safe_path():
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
        """End the workers and everything they started. What is told of the batch afterwards is final: none writes then."""
        with _uninterrupted():
            for worker in self._workers:
                with contextlib.suppress(OSError):
                    worker.connection.close()
            for worker in self._workers:
                if worker.task is not None and worker.process.is_alive():
                    worker.process.terminate()
            deadline = time.monotonic() + GRACE_S
            for worker in self._workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
            for worker in self._workers:
                if worker.process.is_alive():
                    worker.process.kill()
                worker.process.join()
            self._workers.clear()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Another Ctrl-C changes nothing meanwhile. Only the main thread may say so, and only there one would arrive."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


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


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """A spawned Python runs ``-c …`` and looks for every module in the current folder first, where submissions may lie."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


@dataclass(frozen=True)
class _Later:
    """A factory that is unpickled when its first worker is made.

    Unpickled as an argument, it imports all that grades before a line of `serve` runs: a worker whose pool is killed in
    these seconds, which are a minute on a busy machine, would go on with them, and know nothing of it.
    """

    pickled: bytes

    def __call__(self, slot: int) -> Any:
        return pickle.loads(self.pickled)(slot)  # noqa: S301 - the pool's own, as are all arguments of a spawned process


def _work(connection: Connection, factory: _Later, slot: int) -> None:
    parent = multiprocessing.parent_process()
    serve(connection, factory, slot, parent.sentinel if parent else None)
