"""The zygote: imports TensorFlow once, then forks a child for every run.

    python -m grader.driver.zygote CONTROL_FD OPTIONS_JSON

The control socket carries, from the master, one JSON line with one descriptor (the run's channel) each; the
zygote answers each with the child's pid (in its own pid namespace). It ends when the master's end closes.
TensorFlow starts its thread pools on first use, so a fork before that is sound (spikes: measured); Python 3.12
warns when a multi-threaded process forks, so importing must leave no Python thread behind.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from typing import Any

#: What every child would otherwise import by itself: found by comparing sys.modules in a child before its kernel starts
#: and after its first cells. debugpy alone, which ipykernel imports for its debugger, is two thirds of a kernel's start.
WARM = (
    "grader.driver.notebook",
    "grader.driver.kernel",
    "grader.driver.run",
    "grader.probe.helpers",
    "ipykernel.debugger",
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "ipykernel.zmqshell",
    "jupyter_client.asynchronous.client",
    "IPython.core.completerlib",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "IPython.core.pylabtools",
    "IPython.extensions.storemagic",
    "IPython.utils.wildcard",
    "tornado.platform.asyncio",
    "tornado.queues",
    "xmlrpc.server",
)
WARM_SCIENCE = (
    "grader.probe.keep",
    "matplotlib.backends.backend_agg",
    "matplotlib_inline.backend_inline",
    "pandas.io.formats.html",
    "pandas.io.formats.string",
    "PIL.PngImagePlugin",
    "h5py",
    "sklearn.datasets",
    "tensorflow.python.data.ops.concatenate_op",
    "tensorflow.python.data.ops.flat_map_op",
    "tensorflow.python.data.ops.from_tensors_op",
    "tensorflow.python.data.ops.range_op",
    "tensorflow.python.data.ops.zip_op",
)
#: Linux's: the size of a huge page on x86_64 and aarch64, and the advice to make some now (5.x: refused, and no harm).
HUGE = 2 << 20
MADV_COLLAPSE = 25


def _import(name: str) -> None:
    """Import for warmth only: a library that renamed a module costs time, never a run."""
    with contextlib.suppress(ImportError):
        importlib.import_module(name)


def preload(options: dict[str, Any]) -> dict[str, str]:
    """Import what notebooks import, hook it, and return the versions."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    os.environ["MPLCONFIGDIR"] = _matplotlib_folder(options.get("matplotlib_cache"))
    _without_debugger()
    for name in WARM:
        _import(name)
    versions = {}
    if options.get("tensorflow", True):
        import keras
        import matplotlib.pyplot
        import numpy
        import pandas
        import tensorflow

        import grader.probe.data
        import grader.probe.hooks
        import grader.probe.lean
        from grader.driver import run

        _touch_lazy(keras)
        grader.probe.hooks.install()
        grader.probe.lean.install()
        grader.probe.data.install()
        for name in WARM_SCIENCE:
            _import(name)
        modules = (tensorflow, keras, numpy, pandas, matplotlib)
        versions = {module.__name__: str(module.__version__) for module in modules}
        versions |= run.installed(run.CUDA)
    _touch_jupyter()
    return versions


def _without_debugger() -> None:
    """Have ipykernel find no debugger: nobody attaches one here, and debugpy is slow to import and to set up."""
    sys.modules["debugpy"] = None  # type: ignore[assignment]  # what makes an import fail
    _import("ipykernel.debugger")
    del sys.modules["debugpy"]


def _touch_lazy(keras: Any) -> None:
    """Keras and TensorFlow load lazily: touch what every notebook touches, so that no child pays for it."""
    import tensorflow as tf

    for name in ("layers", "models", "optimizers", "losses", "metrics", "callbacks", "datasets", "utils", "Sequential"):
        getattr(keras, name)
        getattr(tf.keras, name)


def _touch_jupyter() -> None:
    """Have ready what nbformat and ipykernel make once for each process.

    The schema of a notebook, compiled (40 ms), and the files of all modules, which TensorFlow's look up slowly the first
    time (10 ms).
    """
    import nbformat

    make: Any = nbformat.v4.new_code_cell  # without types
    make("")
    for module in list(sys.modules.values()):
        getattr(module, "__file__", None)


def _matplotlib_folder(cache: str | None) -> str:
    """A writable folder with the font list in it: building that list costs seconds, once per machine is enough."""
    import shutil
    import tempfile

    folder = os.path.join(tempfile.gettempdir(), f"grader-matplotlib-{os.getpid()}")
    os.makedirs(folder, exist_ok=True)
    if cache and os.path.isdir(cache):
        for name in os.listdir(cache):
            shutil.copyfile(os.path.join(cache, name), os.path.join(folder, name))
    return folder


def join_pages() -> None:
    """Put this process's own memory into huge pages where Linux can.

    A fork then copies half as many entries of page tables and its end frees half as many, and each run has five forks:
    12 ms became 6, and 13 of its end 7 (measured). A child that writes still copies 4 kB: Linux splits a shared huge
    page. Pages that cannot be joined stay as they are.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    with contextlib.suppress(OSError), open("/proc/self/maps") as file:
        for line in file:
            place, mode, _, _, inode, *_ = line.split()
            if inode != "0" or mode != "rw-p":
                continue
            low, high = (int(end, 16) for end in place.split("-"))
            low, high = -(-low // HUGE) * HUGE, high // HUGE * HUGE
            if low < high:
                libc.madvise(ctypes.c_void_p(low), ctypes.c_size_t(high - low), MADV_COLLAPSE)


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    options = json.loads(sys.argv[2])
    start = time.perf_counter()
    versions = preload(options)
    gc.collect()
    join_pages()
    gc.freeze()  # so that the collector does not touch, and so copy, every page in every child
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready = {"ready": True, "seconds": time.perf_counter() - start, "packages": versions}
    control.sendall(json.dumps(ready).encode() + b"\n")
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 1)
        if not data:
            os._exit(0)
        request = json.loads(data)
        child = os.fork()
        if child == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _child(request, descriptors[0], versions)
        for descriptor in descriptors:
            os.close(descriptor)
        control.sendall(json.dumps({"pid": child}).encode() + b"\n")


def _child(request: dict[str, Any], descriptor: int, versions: dict[str, str]) -> None:
    """Confine this process, then serve the run. Never returns."""
    code = 1
    try:
        from grader import confine, seccomp
        from grader.driver import run

        try:
            null = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1) if request.get("debug") else (0, 1, 2):
                os.dup2(null, standard)
            if not request["plan"]["namespaces"]:
                confine.die_with_parent()
            confine.enter_run(request["plan"])
            if request["plan"]["seccomp"]:
                seccomp.apply()
        except Exception as error:  # told to the judge: this is our fault, never the student's
            from grader import wire
            from grader.driver.channel import Channel

            Channel(socket.socket(fileno=descriptor)).send(
                wire.Hello(wire.VERSION, "", "", {}, f"{type(error).__name__}: {error}"[:500])
            )
            os._exit(98)
        code = run.serve(socket.socket(fileno=descriptor), request, versions)
    except BaseException:
        import traceback

        text = traceback.format_exc()
        try:
            os.write(2, text.encode())
        except OSError:
            code = 2
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
