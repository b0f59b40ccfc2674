"""The trusted handle of a zygote: start it in a sandbox, have it fork runs, end it.

One zygote serves one worker. It is started once (seconds: TensorFlow's import) and forks a child for each run
(milliseconds). If it dies, the next run starts another: its death is ours, never the student's.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from grader.errors import SandboxDied, SandboxError
from grader.sandbox import Backend

#: TensorFlow's import took up to 11 s on a cold disk cache (measured); a busy grader may need longer.
START_S = 180.0
FORK_S = 60.0


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
        devices: Sequence[str] = (),
    ) -> None:
        self.backend = backend
        self.data = data
        self.python = python
        self.control, theirs = socket.socketpair()
        self._buffer = b""
        self._asking = (
            threading.Lock()
        )  # of two threads that ask, one could read both answers, and the other would wait
        start = time.perf_counter()
        try:
            self.launched = backend.launch(python, options or {}, theirs.fileno(), data, slot, devices)
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
        """Fork a child for one run, as the next user of this zygote's block; returns the judge's end of its channel."""
        users = self.launched.users
        plan = {**request["plan"], "user": next(users.numbers) if users else None}
        ours, theirs = socket.socketpair()
        try:
            if hasattr(socket, "SO_PASSCRED"):  # the first report then tells the child's pid as seen from here
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            with self._asking:
                socket.send_fds(self.control, [json.dumps({**request, "plan": plan}).encode()], [theirs.fileno()])
                self._answer(FORK_S)
        except OSError as error:
            ours.close()
            raise SandboxDied(f"the zygote is gone: {error}") from None
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
                raise SandboxDied(f"the zygote did not answer within {seconds:.0f} s")
            data = self.control.recv(1 << 16)
            if not data:
                raise self._ended()
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        found: dict[str, Any] = json.loads(line)
        return found

    def _ended(self) -> SandboxError:
        """Why: killed, or by its own exit, as where the machine allows no namespaces."""
        process = self.launched.process
        with contextlib.suppress(Exception):
            process.wait(5)
        text, code = self.stderr_text(), process.returncode
        # What encloses the zygote tells its signal in the exit status: 128 + 9 by bubblewrap, -9 & 0xFF by confine.py.
        died = code is None or code < 0 or code > 128
        words = text.splitlines()[-1][:400] if text else f"exit {code}"
        return (SandboxDied if died else SandboxError)(f"the zygote ended: {words}", fix="run `grader doctor`")

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
        if self.launched.users:
            self.launched.users.close()
        # Not shutil.rmtree, which recurses: a notebook in no sandbox can leave 3,000 folders in each other there.
        with contextlib.suppress(OSError):
            subprocess.run(["/bin/rm", "-rf", "--", *self.launched.folders], stderr=subprocess.DEVNULL, check=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
