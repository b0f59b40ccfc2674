"""Starts the portable driver. Stands where the runner has a zygote: it gives rooms and channels, without a sandbox.

Every channel is a process of its own (nothing is forked) that runs in a fresh temporary folder and sees, of this
package, the same few modules that a sandboxed run sees. It calls back on the loopback interface with a token that it
was given on its standard input.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil

from grader.errors import SandboxError
from grader.sandbox.backends import ISLAND_FILES, PACKAGE, Backend, Launched

LOOPBACK = "127.0.0.1"
#: The driver imports Jupyter, and as a clean process TensorFlow: 3 to 11 s here, longer under a virus scanner.
START_S = 120.0
#: The driver ends its kernel within 0.3 s of our hanging up; then it is ended from here.
END_S = 10.0
#: How long a wait may go on without Python running: on Windows only between waits is Ctrl-C noticed.
STEP_S = 0.25
#: Our package in the child, wherever its interpreter looks for others. -P: no module of the student's instead.
BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from grader.driver.portable import main; main()"


class PatientSocket(socket.socket):
    """A socket that waits in short steps, so that Ctrl-C is noticed on every system."""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        seconds = self.gettimeout()
        deadline = None if seconds is None else time.monotonic() + seconds
        while not select.select([self], [], [], STEP_S)[0]:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError("timed out")
        return super().recv(size, flags)


class Laptop:
    """Drivers on this machine. Use as a context manager: at its end every process and folder of its is gone."""

    def __init__(self, python: str, folders: tuple[str, ...] = (), *, clean: bool = False) -> None:
        self.python, self.folders, self.clean = python, folders, clean
        self.backend: Backend = self
        self.launched: Any = None
        self.data: Path | None = None
        self._base = Path(tempfile.mkdtemp(prefix="grader-check-"))
        self._drivers: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []

    # what the runner asks of a backend

    name = "none"

    def launch(
        self,
        python: str,
        options: Mapping[str, Any],
        control: int,
        data: Path | None,
        slot: int,
        devices: Sequence[str] = (),
    ) -> Launched:
        raise SandboxError("a laptop has no zygote: every run is a process of its own")

    def rooms(self, launched: Launched) -> tuple[str, str]:
        """A new work folder and a new temporary folder."""
        room = Path(tempfile.mkdtemp(prefix="r", dir=self._base))
        for name in ("work", "tmp"):
            (room / name).mkdir()
        return str(room / "work"), str(room / "tmp")

    def plan(self, disk_mb: int, overlays: Mapping[str, str], dataset: str = "") -> dict[str, Any]:
        return {"disk_mb": disk_mb, "overlays": dict(overlays)}

    def data_folders(self, data: Path | None, dataset: str) -> list[str]:
        return list(self.folders)

    # what the runner asks of a zygote

    def fork(self, request: Mapping[str, Any]) -> socket.socket:
        """Start a driver; returns the judge's end of its channel. Raises SandboxError when it does not start."""
        token = secrets.token_hex(32)
        with socket.create_server((LOOPBACK, 0)) as server:
            told = {
                "port": server.getsockname()[1],
                "token": token,
                "tmp": request["tmp"],
                "folders": list(self.folders),
                "clean": self.clean,
            }
            process, errors = self._start(request["plan"]["work"])
            with contextlib.suppress(OSError):  # it has ended already: the wait below says why
                assert process.stdin is not None  # noqa: S101 - a pipe was asked for
                process.stdin.write(json.dumps(told).encode() + b"\n")
                process.stdin.close()
            return self._accept(server, token, process, errors)

    def _start(self, work: str) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        errors = tempfile.TemporaryFile(dir=self._base)  # noqa: SIM115 - closed with its process
        apart: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        try:
            process = subprocess.Popen(
                [self.python, "-P", "-c", BOOT, str(self._island())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=work,
                **apart,  # Ctrl-C is for us: we end the driver
            )
        except OSError as error:
            errors.close()
            fix = "set [kernel] python in course.toml"
            raise SandboxError(f"the kernel's Python does not run: {error}", where=self.python, fix=fix) from None
        self._drivers.append((process, errors))
        return process, errors

    def _island(self) -> Path:
        """The modules the driver may see, copied: Windows needs rights for links. `import grader` there is a stub."""
        island = self._base / "island"
        package = island / "grader"
        if not package.is_dir():
            package.mkdir(parents=True)
            shutil.copyfile(PACKAGE / "_inside.py", package / "__init__.py")
            for name in ISLAND_FILES:
                if (PACKAGE / name).is_dir():
                    shutil.copytree(PACKAGE / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copyfile(PACKAGE / name, package / name)
        return island

    def _accept(
        self, server: socket.socket, token: str, process: subprocess.Popen[bytes], errors: IO[bytes]
    ) -> socket.socket:
        deadline = time.monotonic() + START_S
        server.settimeout(STEP_S)
        while time.monotonic() < deadline:
            try:
                caller, _ = server.accept()
            except TimeoutError:
                if process.poll() is not None:
                    what = f"the notebook cannot be run: {_last_line(errors) or f'exit {process.returncode}'}"
                    raise SandboxError(what, where=self.python, fix="run `grader doctor`") from None
                continue
            with contextlib.suppress(OSError):
                caller.settimeout(10.0)
                if hmac.compare_digest(_exactly(caller, len(token)), token.encode()):
                    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return PatientSocket(fileno=caller.detach())
            caller.close()  # somebody else on this machine
        raise SandboxError("the notebook's driver did not start in time", fix="close other programs and try again")

    def close(self) -> None:
        """End every process and remove every folder. Drivers whose channel was closed before end themselves."""
        for process, errors in self._drivers:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                _end_tree(process.pid)
                process.wait()
            errors.close()
        self._drivers.clear()
        with contextlib.suppress(RecursionError):  # a notebook may nest folders deeper than this can follow
            shutil.rmtree(self._base, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError("hung up")
        data += piece
    return data


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read(200_000).decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


def _end_tree(pid: int) -> None:
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [*root.children(recursive=True), root]:
            with contextlib.suppress(psutil.Error):
                process.kill()
