"""Is this file the one it claims to be? Lookup in the cache folder, and identification by digest.

First the bytes are hashed. Only when that hash is unknown is the content digested, which costs seconds for IMDB
but forgives another zip framing, another gzip level or another line ending.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from grader.datasets import read
from grader.datasets.registry import DataSet, KnownFile
from grader.errors import DataError


def cache_folder(data_folder: Path | None, environ: Mapping[str, str] | None = None) -> Path:
    """Where full data lives: the folder given, else Keras's own cache, which KERAS_HOME moves."""
    if data_folder is not None:
        return data_folder
    home = (os.environ if environ is None else environ).get("KERAS_HOME") or str(Path.home() / ".keras")
    return Path(home) / "datasets"


def missing_files(dataset: DataSet, folder: Path) -> list[str]:
    """The files of a data set which that folder lacks."""
    return [known.path for known in dataset.files if not (folder / known.path).is_file()]


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes; remembered until its size or time changes."""
    try:
        facts = path.stat()
        return _digest_at(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix="check its permissions") from error


@functools.lru_cache(maxsize=64)
def _digest_at(path: Path, *_facts: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(path: Path, known: KnownFile) -> str:
    """The sha256 of a file that is the known one; anything else is a DataError."""
    found = file_digest(path)
    if found in known.sha256:
        return found
    try:
        same = content_digest(path) == known.content
    except (OSError, ValueError, EOFError):
        same = False
    if same:
        return found
    raise DataError(
        f"is not {known.path} as published: its sha256 is {found[:16]}…, expected {known.sha256[0][:16]}…",
        where=str(path),
        fix="delete it and run `grader data fetch` or `grader data import FOLDER`; without it the lite data is used",
    )


def content_digest(path: Path) -> str:
    """sha256 of what a file says, whatever its framing: arrays, unpacked bytes, or lines ended by LF."""
    hashed = hashlib.sha256()
    if path.suffix == ".npz":
        for name, array in sorted(read.npz(path).items()):
            rows = array if array.dtype == object else [array]
            hashed.update(f"{name}:{array.shape}:".encode())
            for row in rows:
                hashed.update(f"{row.size}:".encode())
                hashed.update(np.ascontiguousarray(row, dtype="<i8" if row.dtype != np.uint8 else "u1").data)
    elif path.suffix == ".gz":
        with gzip.open(path) as stream:
            hashed = hashlib.file_digest(stream, "sha256")
    else:
        hashed.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return hashed.hexdigest()
