"""Where lines go while a batch runs: a file, a pipe or a FIFO that can neither hold the batch up nor end it.

Each line is written at once where it can be. A reader that does not keep up, is not there yet, or goes away costs only
its own lines: they wait in memory up to `WAITING` bytes, are given up beyond it, and stderr says so once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
from pathlib import Path

from grader.cli.show import complain
from grader.errors import UsageError

#: All events of some 5,000 runs.
WAITING = 16 * 2**20
#: Seconds that a reader is given at the end to take what waits.
LAST = 5.0


class Sink:
    """A file, a pipe or a FIFO that takes lines, and whose trouble is nobody else's. Not for several threads at once."""

    def __init__(self, to: Path | int, what: str) -> None:
        """``to``: a path, or a descriptor, which stays the caller's. Raises UsageError where a path cannot be written."""
        self._to, self._what = to, what
        self._file: int | None = os.dup(to) if isinstance(to, int) else None
        self._pending = bytearray()
        self._lost = False
        if isinstance(to, Path):
            try:
                to.parent.mkdir(parents=True, exist_ok=True)
                self._open(to)
            except OSError as error:
                fix = "name another file"
                raise UsageError(f"cannot be written: {error.strerror}", where=str(to), fix=fix) from None

    def write(self, line: bytes) -> None:
        if self._lost:
            return
        self._pending += line
        try:
            self._drain()
        except OSError as error:
            self._lose(error.strerror or str(error))
        if len(self._pending) > WAITING:
            self._lose("its reader does not keep up")

    def close(self) -> None:
        """Give the reader a moment for what waits, and let go. Nobody is waited for who has not come yet."""
        deadline = time.monotonic() + LAST
        with contextlib.suppress(OSError):
            self._drain()
            while self._pending and not self._lost and self._file is not None and time.monotonic() < deadline:
                self._drain(100)
        if self._pending:
            self._lose("its reader did not take the last lines" if self._file is not None else "nobody reads it")
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _drain(self, wait_ms: int = 0) -> None:
        """Write what can be written without waiting longer than that."""
        if self._file is None and isinstance(self._to, Path):
            self._open(self._to)
        if self._file is None:
            return
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        # A pipe that is ready takes PIPE_BUF bytes without blocking; a standard output is not ours to make non-blocking.
        with contextlib.suppress(BlockingIOError):
            while self._pending and poll.poll(wait_ms):
                del self._pending[: os.write(self._file, self._pending[: select.PIPE_BUF])]

    def _open(self, path: Path) -> None:
        """Open to append. A FIFO that nobody reads yet is tried again with the next line."""
        try:
            # 0600: it names students and their scores.
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(path.stat().st_mode):
                raise

    def _lose(self, why: str) -> None:
        self._pending.clear()
        if not self._lost:
            self._lost = True
            complain(f"{self._what} ends here: {why}", kind="warning")
