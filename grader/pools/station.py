"""The grading process of one Dask worker: where runs are started and judged, outside Dask's own process and threads.

Judging needs a process to itself: pytest takes over the standard streams, and a sandbox ends with the thread that
launched it. Dask's nanny makes its workers daemons, which may start no process by `multiprocessing`; so this one is an
ordinary subprocess, with a socket pair for its work. It ends when its standard input does, that is with the Dask worker.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from grader.errors import OursError
from grader.pools.protocol import Done
from grader.pools.serve import GRACE_S, serve

#: A zygote that nobody needs holds half a gigabyte; another is made in seconds.
IDLE_S = 600.0
START = "from grader.pools.station import main; main()"


class StationLost(OursError):
    """The grading process ended in the middle of a task. The task may be tried again."""


class Station:
    """Starts the grading process when there is something to do, again if it died, until it is closed."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self._turn = threading.Lock()  # one task at a time, whatever the number of Dask's threads
        self._change = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._closed = False

    def ask(self, task: Any, tell: Callable[[str], None]) -> Done:
        """Do one task there. Raises StationLost when the process dies at it, or is closed."""
        with self._turn:
            try:
                connection = self._running()
                connection.send((0, task))
                while not isinstance(message := connection.recv(), Done):
                    tell(message.text)
            except (EOFError, OSError):
                code = self._end()
                raise StationLost(f"the grading process ended at this run (exit {code})") from None
            return message

    def _running(self) -> Connection:
        with self._change:
            if self._closed:
                raise StationLost("the batch is over on this worker")
            if self._connection is None:
                ours, theirs = multiprocessing.Pipe()
                self._process, self._connection = _start(theirs), ours
                theirs.close()
                ours.send(self._factory)
            return self._connection

    def _end(self) -> int | None:
        """End the process and all it started."""
        with self._change:
            process, connection = self._process, self._connection
            self._process = self._connection = None
        if process is None or connection is None or process.stdin is None:
            return None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(GRACE_S + 2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        connection.close()
        return process.returncode

    def close(self) -> None:
        """End it for good. A task that is under way there is lost."""
        with self._change:
            self._closed = True
        self._end()


def _start(connection: Connection) -> subprocess.Popen[bytes]:
    """The process at the other end. -P: where a Dask worker was started, a module of any name may lie."""
    command = [sys.executable, "-P", "-c", START, str(connection.fileno())]
    try:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=(connection.fileno(),)
        )
    except OSError as error:
        raise OursError(f"the grading process cannot be started: {error}") from None


def main() -> None:
    """The grading process."""
    connection = Connection(int(sys.argv[1]))
    try:
        factory = connection.recv()
    except (EOFError, OSError):
        return
    serve(connection, factory, 0, sys.stdin, IDLE_S)
