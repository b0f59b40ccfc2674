"""Runs the old code of tests/unit/diagnosis/calls.toml and records what it raises: ``python tools/diagnosis_messages.py``.

The messages are TensorFlow's, Keras's and their kin's own, so that no test believes a message that nobody sends. With
``--check`` nothing is written, and the exit status is 1 where a message is another than the recorded one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
import os
import platform
import re
import sys
import tempfile
import tomllib
import traceback
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent / "tests" / "unit" / "diagnosis"
PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn", "matplotlib", "ipython")
MAGIC = re.compile(r"^\s*[%!]", re.MULTILINE)
#: Counters, addresses and places that differ from run to run: (pattern, what is recorded).
VARYING = (
    (re.compile(r'(?:  File "[^"]*", line \d+, in \S+\n+)+'), "  …\n"),
    (re.compile(r"(_on_iterator)_\d+"), r"\1"),
    (re.compile(r"0x[0-9a-f]{6,}"), "0x…"),
    (re.compile(r"\(/[^)\s]*\)"), "(…)"),
    (
        re.compile(r"\b((?:sequential|dense|functional|keras_tensor|conv2d|my_dense|data|flatten)(?:_[a-z]+)*)_\d+"),
        r"\1",
    ),
    (re.compile(r"filepath=/\S*/"), "filepath=…/"),
)


def setup() -> dict[str, Any]:
    """The namespace that each call starts with."""
    import keras
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd
    import tensorflow as tf

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((2, 3), "float32"), np.ones((2, 1), "float32")
    return {"tf": tf, "keras": keras, "np": np, "pd": pd, "plt": plt, "model": model, "x": x, "y": y}


def run(code: str) -> list[Any] | None:
    """Class, message and line of what the code raises, as a notebook's cell would report it; None if nothing."""
    space = setup()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if MAGIC.search(code):
                from IPython.core.interactiveshell import InteractiveShell

                shell = InteractiveShell.instance(user_ns=space)
                shell.enable_gui = lambda gui=None: None  # a notebook's shell has a loop to hook into
                space["get_ipython"] = lambda: shell
                code = shell.transform_cell(code)
            exec(compile(code, "<cell>", "exec"), space)  # noqa: S102 - our own list of old code
    except BaseException as error:  # noqa: BLE001 - whatever it raises is what is recorded
        message = str(error)
        for pattern, recorded in VARYING:
            message = pattern.sub(recorded, message)
        frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<cell>"]
        line = error.lineno if isinstance(error, SyntaxError) else frames[0] if frames else 1
        return [type(error).__name__, message if len(message) <= 2000 else f"{message[:1000]} … {message[-990:]}", line]
    return None


def collect() -> dict[str, Any]:
    """All messages, with the versions that gave them."""
    table = tomllib.loads((HERE / "calls.toml").read_text("utf-8"))
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    warnings.simplefilter("ignore")
    messages: dict[str, list[Any] | None] = {}
    home = Path.cwd()
    for call in (*table["call"], *table["quiet"], *table["fine"]):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            code = call["code"].strip("\n")
            messages[code] = run(code)
            os.chdir(home)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "versions": versions, "messages": messages}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    chosen = parser.parse_args()
    path = HERE / "messages.json"
    found = collect()
    if not chosen.check:
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return 0
    recorded = json.loads(path.read_text("utf-8"))["messages"]
    changed = [code for code, message in found["messages"].items() if recorded.get(code) != message]
    for code in changed:
        sys.stdout.write(f"{code!r}\n  recorded {recorded.get(code)}\n  now      {found['messages'][code]}\n")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
