"""Serve one run: read orders, run the notebook or answer as a clean sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import platform
import random
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from grader import wire
from grader.driver.channel import Channel

#: What lies beside a TensorFlow that was installed for a GPU: the card tells where it is not what TensorFlow needs.
CUDA = ("nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12")


def installed(names: Sequence[str]) -> dict[str, str]:
    """The versions of these packages, of those that are there, without importing them."""
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def serve(sock: socket.socket, request: dict[str, Any], versions: dict[str, str]) -> int:
    """Until the judge hangs up. Returns the process's exit code."""
    _environment(request)
    channel = Channel(sock)
    channel.send(wire.Hello(wire.VERSION, platform.python_version(), platform.platform(), versions))
    while True:
        order = channel.receive()
        match order:
            case None | wire.Stop():
                return 0
            case wire.PutFile(path, data, first):
                put_file(path, data, first)
            case wire.ServeFiles(seed):
                if request["memory_mb"]:  # a saved model of 11 kB can ask for more than the machine has
                    limit_memory(request["memory_mb"])
                return serve_clean(channel, seed)
            case wire.RunNotebook():
                from grader.driver import kernel, notebook

                # fork first: a kernel must not inherit a running event loop
                forked = kernel.fork_kernel(order, {**request, "channel_fd": sock.fileno()})
                if request["plan"]["namespaces"]:  # the notebook is the same user, and could open /proc/1/mem
                    from grader.confine import hide_memory

                    hide_memory()
                return asyncio.run(notebook.run(channel, order, forked))
            case wire.Ask(nonce):
                channel.send(wire.Answer(nonce, "died", None, wire.Fault("NotRunning", "nothing has been run yet")))


def put_file(path: str, data: bytes, first: bool) -> None:
    """Write a file of the judge's below the work folder."""
    target = os.path.normpath(os.path.join(os.getcwd(), path))
    if not target.startswith(os.getcwd() + os.sep):
        raise wire.WireError(f"{path!r} is not below the work folder")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb" if first else "ab") as file:
        file.write(data)


def serve_clean(channel: Channel, seed: int) -> int:
    """A clean sandbox: helpers and files, no student code."""
    from grader.probe import Probe

    set_seeds(seed)
    probe = Probe({})
    while True:
        order = channel.receive()
        match order:
            case None | wire.Stop():
                return 0
            case wire.PutFile(path, data, first):
                put_file(path, data, first)
            case wire.Ask():
                channel.send_raw(probe.reply(order))
            case _:
                raise wire.WireError("a clean sandbox runs no notebook")


def _environment(request: dict[str, Any]) -> None:
    threads = str(request["threads"])
    work = request["plan"]["work"]
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = threads
    os.environ["TF_NUM_INTEROP_THREADS"] = "1" if threads == "1" else "2"
    os.environ |= {"HOME": work, "TMPDIR": request["tmp"], "PWD": work, "IPYTHONDIR": f"{request['tmp']}/ipython"}
    os.environ["MPLCONFIGDIR"] = f"{request['tmp']}/matplotlib"
    os.environ["KERAS_HOME"] = f"{work}/.keras"
    import tempfile

    from grader.probe import data

    tempfile.tempdir = None
    data.FOLDERS[:] = request.get("data", [])


def set_seeds(seed: int) -> None:
    """Seeds of the draw, set after the fork: forked children share NumPy's state (measured)."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed & 0xFFFFFFFF)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(seed & 0xFFFFFFFF)


def limit_memory(megabytes: int) -> None:
    """RLIMIT_DATA above what the fork inherited: a clean MemoryError. RLIMIT_AS kills TensorFlow (measured)."""
    import resource

    inherited = 0
    if not os.path.exists("/proc/self/status"):  # macOS has neither this file nor a working RLIMIT_DATA
        return
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmData:"):
                inherited = int(line.split()[1]) << 10
    limit = inherited + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def now() -> float:
    return time.perf_counter()
