"""The portable driver: the same work as a forked run, with nothing that only Linux has. For a student's own machine.

Theory of operation. Two processes and two loopback connections, each opened by the child with a token that its parent
gave it, because neither a fork nor a socket pair crosses to a child on Windows:

    judge ──127.0.0.1, token── driver (this module) ──127.0.0.1, token── kernel + probe (this module again)
                                    └─ Jupyter's own sockets (ipc where a path is short enough, else tcp) ─┘

The kernel is an ordinary ipykernel under an ordinary AsyncKernelManager, which knows how to interrupt one on every
system. Student code runs as the student, unconfined: what is learnt here is advisory.

No orphans: the driver ends the kernel and all below it when the judge hangs up, however busy the kernel is, and the
kernel ends itself when the driver is gone (ipykernel's parent poller).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import importlib
import json
import os
import platform
import secrets
import select
import socket
import sys
import threading
import time
from typing import Any

import psutil
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from grader import wire
from grader.driver import kernel as kernels
from grader.driver import notebook
from grader.driver.channel import Channel, read_exactly
from grader.driver.run import CUDA, installed, put_file, serve_clean

#: Tells a process of this module that it is the kernel, and what it needs; gone before a cell runs.
KERNEL_VARIABLE = "GRADER_PORTABLE_KERNEL"
LOOPBACK = "127.0.0.1"
#: From the kernel's start until it calls back, TensorFlow imported: 3 to 11 s here, longer under a virus scanner.
#: Below the 120 s the judge waits for the notebook to start.
KERNEL_START_S = 100.0
HANGUP_CHECK_S = 0.25
#: An ipc socket's path has at most 107 bytes (103 on macOS), and Jupyter adds "-5".
IPC_PATH_CAP = 96
#: Finds our package in the child, whose interpreter may not have it. With -P a student's random.py stays out of it.
BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from grader.driver.portable import main; main()"
PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "matplotlib")


def main() -> None:
    """Be the driver, or the kernel where the environment says so."""
    options = os.environ.pop(KERNEL_VARIABLE, "")
    if options:
        become_kernel(json.loads(options), sys.argv[1])
        return
    request = json.loads(sys.stdin.buffer.readline())
    channel = Channel(dial(request["port"], request["token"]))
    code = 1
    try:
        code = serve(channel, request)
    except (ConnectionError, wire.WireError):  # the judge is gone; there is nobody to tell
        code = 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)  # threads that wait for the judge or the kernel must not keep a finished driver


def serve(channel: Channel, request: dict[str, Any]) -> int:
    """Until the judge hangs up: run the notebook, or answer as a clean process. Returns the exit code."""
    import tempfile

    tempfile.tempdir = request["tmp"]
    if request["clean"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the kernel has claimed the GPU's memory already
        preload([])
    channel.send(wire.Hello(wire.VERSION, platform.python_version(), platform.platform(), installed(PACKAGES + CUDA)))
    while True:
        order = channel.receive()
        match order:
            case None | wire.Stop():
                return 0
            case wire.PutFile(path, data, first):
                put_file(path, data, first)
            case wire.ServeFiles(seed):
                return serve_clean(channel, seed)
            case wire.RunNotebook():
                # Windows: zmq needs a loop that watches sockets. Nothing here starts a process through asyncio.
                factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
                with asyncio.Runner(loop_factory=factory) as runner:
                    return runner.run(_run(channel, order, request))
            case wire.Ask(nonce):
                channel.send(wire.Answer(nonce, "died", None, wire.Fault("NotRunning", "nothing has been run yet")))


# ---------------------------------------------------------------- the driver


async def _run(channel: Channel, order: wire.RunNotebook, request: dict[str, Any]) -> int:
    manager = _manager(request["tmp"])
    with socket.create_server((LOOPBACK, 0)) as server:
        token = secrets.token_hex(32)
        options = {
            "port": server.getsockname()[1],
            "token": token,
            "seed": order.seed,
            "snapshots": order.snapshots,
            "folders": request["folders"],
            "logical_cpus": order.logical_cpus,
        }
        environ = {**os.environ, KERNEL_VARIABLE: json.dumps(options), "TF_CPP_MIN_LOG_LEVEL": _quiet()}
        environ |= {"IPYTHONDIR": f"{request['tmp']}/ipython"}  # no start-up scripts or history of the student's own
        await manager.start_kernel(env=environ, cwd=os.getcwd())
        pid = int(manager.provisioner.pid)
        threading.Thread(target=_end_on_hangup, args=(channel.sock, pid), daemon=True).start()
        try:
            probe = await asyncio.to_thread(_accept, server, token, pid)
            kernel = kernels.Kernel(manager, probe, pid)
            return await notebook.run(channel, order, kernel)
        finally:
            end_tree(pid)


def _quiet() -> str:
    return os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")


def _manager(tmp: str) -> Any:
    """A kernel manager whose kernel is this module; the student's kernelspecs are not looked at."""
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    argv = [sys.executable, "-P", "-c", BOOT, package_parent, "{connection_file}"]

    class OwnSpec(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(argv=argv, display_name="grader", language="python", interrupt_mode="signal")

    manager = AsyncKernelManager(kernel_spec_manager=OwnSpec(), connection_file=os.path.join(tmp, "c.json"))
    prefix = os.path.join(tmp, "s")
    if hasattr(socket, "AF_UNIX") and os.name == "posix" and len(os.fsencode(prefix)) <= IPC_PATH_CAP:
        manager.transport, manager.ip = "ipc", prefix
    return manager


def _accept(server: socket.socket, token: str, pid: int) -> socket.socket:
    """The kernel's call. Raises RuntimeError when it died before, or is too late."""
    deadline = time.monotonic() + KERNEL_START_S
    server.settimeout(0.5)
    while time.monotonic() < deadline:
        try:
            caller, _ = server.accept()
        except TimeoutError:
            if not _running(pid):
                raise RuntimeError("the kernel ended before it was ready") from None
            continue
        with contextlib.suppress(OSError):
            caller.settimeout(10.0)
            given = read_exactly(caller, len(token))
            if given is not None and hmac.compare_digest(given, token.encode()):
                caller.settimeout(None)
                return caller
        caller.close()  # somebody else on this machine
    raise RuntimeError("the kernel did not start in time")


def dial(port: int, token: str) -> socket.socket:
    """Call the parent back."""
    sock = socket.create_connection((LOOPBACK, port), timeout=30)
    sock.sendall(token.encode())
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _end_on_hangup(sock: socket.socket, pid: int) -> None:
    """End the kernel and this process as soon as the judge is gone, also in the middle of a cell."""
    while True:
        try:
            readable = select.select([sock], [], [], HANGUP_CHECK_S)[0]
            if readable and not sock.recv(1, socket.MSG_PEEK):
                break
        except (OSError, ValueError):
            break
        if readable:  # a question waits to be read by the relay
            time.sleep(HANGUP_CHECK_S)
    end_tree(pid)
    os._exit(1)


def _running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def end_tree(pid: int) -> None:
    """End a process, all below it, and (where there are process groups) what it left behind in its own group."""
    family = []
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()
    if hasattr(os, "killpg"):
        import signal

        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)  # jupyter_client starts a kernel as the leader of its own group
    psutil.wait_procs(family, timeout=5)


# ---------------------------------------------------------------- the kernel


def become_kernel(options: dict[str, Any], connection: str) -> None:
    """Import and hook what the zygote would have, call the driver, then be its kernel."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    preload(options["folders"])
    probe = dial(options["port"], options["token"])
    kernels.serve_kernel(connection, probe, options["seed"], options["logical_cpus"], tuple(options["snapshots"]))


def preload(folders: list[str]) -> None:
    """Import and hook TensorFlow, so that training is recorded. ``folders``: data to serve instead of the cache's."""
    try:
        for name in ("keras", "pandas", "tensorflow"):
            importlib.import_module(name)
    except ImportError:  # the cell that imports it will say so, and the advice on it is the student's to read
        return
    from grader.probe import data, hooks

    hooks.install()
    if folders:
        data.FOLDERS[:] = folders
        data.install()
