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


def _import(name: str) -> None:
    """Import for warmth only: a library that renamed a module costs time, never a run."""
    with contextlib.suppress(ImportError):
        importlib.import_module(name)


def preload(options: dict[str, Any]) -> dict[str, str]:
    """Import what notebooks import, hook it, and return the versions."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    os.environ["MPLCONFIGDIR"] = _matplotlib_folder(options.get("matplotlib_cache"))
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

        _touch_lazy(keras)
        grader.probe.hooks.install()
        grader.probe.data.install()
        for name in WARM_SCIENCE:
            _import(name)
        modules = (tensorflow, keras, numpy, pandas, matplotlib)
        versions = {module.__name__: str(module.__version__) for module in modules}
    return versions


def _touch_lazy(keras: Any) -> None:
    """Keras and TensorFlow load lazily: touch what every notebook touches, so that no child pays for it."""
    import tensorflow as tf

    for name in ("layers", "models", "optimizers", "losses", "metrics", "callbacks", "datasets", "utils", "Sequential"):
        getattr(keras, name)
        getattr(tf.keras, name)


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


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    options = json.loads(sys.argv[2])
    start = time.perf_counter()
    versions = preload(options)
    gc.collect()
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
        from grader import confine
        from grader.driver import run

        try:
            null = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1) if request.get("debug") else (0, 1, 2):
                os.dup2(null, standard)
            if not request["plan"]["namespaces"]:
                confine.die_with_parent()
            confine.enter_run(request["plan"])
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
