"""The well-known data loaders, served from the mounted copy.

Inside the sandbox there is no network and no home cache. `keras.datasets.*.load_data()`,
`keras.utils.get_file` and `pandas.read_csv` of a well-known address find the file of the same name in the
mounted folder (half of each test split is withheld there). The files cannot simply be put into Keras's
cache: `load_data` compares a sha256, and on a mismatch downloads and, when that fails, deletes the file
(Keras 3.15, keras/src/utils/file_utils.py). So `get_file` itself is redirected. A file that is not there
fails at once and says that there is no network here.
"""

from __future__ import annotations

import functools
import os
import sys
import urllib.parse
from collections.abc import Callable
from typing import Any

#: Where this process looks: empty in the zygote, set in each child after the fork.
FOLDERS: list[str] = []


def install() -> None:
    """Redirect the loaders to the first of FOLDERS that has the file."""
    if "keras" in sys.modules:
        _hook_keras(sys.modules["keras"], find)
    if "pandas" in sys.modules:
        _hook_pandas(sys.modules["pandas"], find)


def find(name: str | os.PathLike[Any]) -> str | None:
    """The mounted file that an address or a file name means, or None."""
    base = os.path.basename(urllib.parse.urlparse(str(name)).path)
    for folder in FOLDERS:
        for candidate in (base, f"fashion-mnist/{base}"):
            path = os.path.join(folder, candidate)
            if base and os.path.isfile(path):
                return path
    return None


def _hook_keras(keras: Any, find: Callable[[Any], str | None]) -> None:
    import importlib

    @functools.wraps(keras.utils.get_file)
    def get_file(fname: Any = None, origin: Any = None, *args: Any, **kwargs: Any) -> str:
        for name in (fname, origin):
            found = find(name) if isinstance(name, str | os.PathLike) else None
            if found:
                return found
        shown = str(origin or fname)[:300]
        raise OSError(
            f"URL fetch failure on {shown}: the grading sandbox has no network. Only the lab's own data set is there."
        )

    owners = [
        keras.utils,
        importlib.import_module("keras.src.utils.file_utils"),
        sys.modules.get("keras._tf_keras.keras.utils"),
    ]
    owners += [
        importlib.import_module(f"keras.src.datasets.{name}")
        for name in (
            "mnist",
            "fashion_mnist",
            "imdb",
            "cifar10",
            "cifar100",
            "reuters",
            "boston_housing",
            "california_housing",
        )
    ]
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        owners.append(tensorflow.keras.utils)
    for owner in owners:
        if owner is not None and hasattr(owner, "get_file"):
            owner.get_file = get_file


def _hook_pandas(pandas: Any, find: Callable[[Any], str | None]) -> None:
    original = pandas.read_csv

    @functools.wraps(original)
    def read_csv(filepath_or_buffer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(filepath_or_buffer, str) and filepath_or_buffer.startswith(("http://", "https://", "ftp://")):
            found = find(filepath_or_buffer)
            if found is None:
                raise OSError(
                    f"cannot read {filepath_or_buffer[:300]}: the grading sandbox has no network. "
                    "Only the lab's own data set is there."
                )
            filepath_or_buffer = found
        return original(filepath_or_buffer, *args, **kwargs)

    pandas.read_csv = read_csv
