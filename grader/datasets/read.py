"""Readers of the file formats, into plain arrays. None of them runs anything a file says.

IMDB's npz holds pickled lists. It is read by an unpickler that can rebuild NumPy arrays and nothing else.
"""

from __future__ import annotations

import gzip
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_CORE = frozenset({"numpy.core.multiarray", "numpy._core.multiarray"})


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _CORE and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in {"ndarray", "dtype"}:
            return getattr(np, name)
        raise ValueError(f"the file would load {module}.{name}")


def npz(path: Path, names: Sequence[str] = ()) -> dict[str, Array]:
    """The arrays of an npz file; lists of unequal length come back as an object array of int32 rows."""
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in names or [member.removesuffix(".npy") for member in archive.namelist()]:
                with archive.open(f"{name}.npy") as stream:
                    arrays[name] = _npy(stream)
    except (zipfile.BadZipFile, KeyError, pickle.UnpicklingError, AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"not a readable npz file: {error}") from error
    return arrays


def _npy(stream: IO[bytes]) -> Array:
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(stream)
    if fortran:
        raise ValueError("the array is in Fortran order")
    if not dtype.hasobject:
        return np.frombuffer(stream.read(), dtype).reshape(shape)
    rows = _ArraysOnly(stream, encoding="latin1").load()
    return ragged([np.asarray(row, dtype=np.int32) for row in rows])


def ragged(rows: Sequence[Array]) -> Array:
    """Rows of unequal length as one object array."""
    out = np.empty(len(rows), dtype=object)
    for at, row in enumerate(rows):
        out[at] = row
    return out


def idx_gz(path: Path) -> Array:
    """An IDX file of bytes (magic 0x0801 for labels, 0x0803 for images), gzipped."""
    with gzip.open(path) as stream:
        raw = stream.read()
    axes = raw[3]
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", count=axes, offset=4))
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def iris_csv(path: Path) -> tuple[tuple[str, ...], Array, Array]:
    """Lines, measurements and species of an iris CSV whose first line is ``n,4,setosa,versicolor,virginica``."""
    lines = tuple(path.read_text("ascii").split()[1:])
    table = np.array([[float(cell) for cell in line.split(",")] for line in lines])
    return lines, table[:, :4].astype(np.float32), table[:, 4].astype(np.int64)


def auto_mpg(path: Path) -> tuple[tuple[str, ...], Array, Array]:
    """Lines, the seven features (missing horsepower is NaN) and the MPG of UCI's raw table."""
    lines = tuple(line for line in path.read_text("ascii").splitlines() if line.strip())
    cells = [line.split("\t")[0].split() for line in lines]
    table = np.array([[np.nan if cell == "?" else float(cell) for cell in row] for row in cells])
    return lines, table[:, 1:].astype(np.float32), table[:, 0].astype(np.float32)


def flat_text(path: Path) -> dict[str, Array]:
    """The lite reviews: token ids end to end with a length for each row, so that no pickle is needed."""
    arrays = npz(path)
    for split in ("train", "test"):
        tokens = arrays.pop(f"tokens_{split}").astype(np.int32)
        ends = np.cumsum(arrays.pop(f"lengths_{split}"), dtype=np.int64)
        arrays[f"x_{split}"] = ragged(np.split(tokens, ends[:-1]))
    return arrays
