"""The trusted handle of a zygote: start it in a sandbox, have it fork runs, end it.

One zygote serves one worker. It is started once (seconds: TensorFlow's import) and forks a child for each run
(milliseconds). If it dies, the next run starts another: its death is ours, never the student's.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from grader.errors import SandboxError
from grader.sandbox import Backend

#: TensorFlow's import took up to 11 s on a cold disk cache (measured); a busy grader may need longer.
START_S = 180.0
FORK_S = 30.0


class Zygote:
    """A running zygote. Use as a context manager. Raises SandboxError when it cannot start or fork."""

    def __init__(
        self,
        backend: Backend,
        python: str,
        *,
        data: Path | None = None,
        slot: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.backend = backend
        self.data = data
        self.python = python
        self.control, theirs = socket.socketpair()
        self._buffer = b""
        start = time.perf_counter()
        try:
            self.launched = backend.launch(python, options or {}, theirs.fileno(), data, slot)
        except BaseException:
            self.control.close()
            raise
        finally:
            theirs.close()
        try:
            ready = self._answer(START_S)
        except BaseException:  # an interruption too: nothing may be left running
            self.close()
            raise
        self.packages: dict[str, str] = ready["packages"]
        self.start_s = time.perf_counter() - start

    def fork(self, request: Mapping[str, Any]) -> socket.socket:
        """Fork a child for one run; returns the judge's end of its channel."""
        ours, theirs = socket.socketpair()
        try:
            if hasattr(socket, "SO_PASSCRED"):  # the first report then tells the child's pid as seen from here
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            socket.send_fds(self.control, [json.dumps(dict(request)).encode()], [theirs.fileno()])
            self._answer(FORK_S)
        except OSError as error:
            ours.close()
            raise SandboxError(f"the zygote is gone: {error}") from None
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    def _answer(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.control], [], [], left)[0]:
                raise SandboxError(f"the zygote did not answer within {seconds:.0f} s")
            data = self.control.recv(1 << 16)
            if not data:
                raise SandboxError(f"the zygote ended: {self._last_words()}", fix="run `grader doctor`")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        found: dict[str, Any] = json.loads(line)
        return found

    def _last_words(self) -> str:
        process = self.launched.process
        with contextlib.suppress(Exception):
            process.wait(5)
        text = self.stderr_text()
        return text.splitlines()[-1][:400] if text else f"exit {process.returncode}"

    def stderr_text(self) -> str:
        """What the zygote said on stderr (its children's is dropped unless debugging), bounded."""
        self.launched.stderr.seek(0)
        return self.launched.stderr.read(200_000).decode("utf-8", "replace").strip()

    def alive(self) -> bool:
        return self.launched.process.poll() is None

    def close(self) -> None:
        """End the zygote and everything it forked."""
        self.control.close()
        process = getattr(self, "launched", None) and self.launched.process
        if not process:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        self.launched.stderr.close()
        for folder in self.launched.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
