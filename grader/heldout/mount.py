"""The folder the sandbox sees: the data set under its well-known file names, without a single withheld row.

What remains of a reduced split is repeated ("tiled") up to the length every tutorial expects. A folder is built once
per data set, tier and secret: in a temporary folder that is renamed when complete, so a reader never sees half of one.
Dates, modes and bytes are fixed: two machines with one secret build the same folder.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from grader.datasets import Source, Split, known, word_index
from grader.datasets.read import Array
from grader.heldout.chance import permutation, seed_of, short
from grader.heldout.division import divide

# Part of the folder's name: raise it when the content of a mounted folder changes.
_LAYOUT = 2
_EPOCH = 1_577_836_800  # 2020-01-01, also the date of zip members
_SPECIES = ("Iris-setosa", "Iris-versicolor", "Iris-virginica")


def mounted(dataset_id: str, source: Source, secret: str, cache_dir: Path) -> Path:
    """The folder to mount read-only, laid out as a Keras cache; built if it is not there yet."""
    label = short(seed_of(secret, "mounted", str(_LAYOUT), dataset_id, source.tier.value, source.digest))
    final = cache_dir / f"{dataset_id}-{source.tier.value}-{label}"
    if final.is_dir():
        return final
    if not cache_dir.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        cache_dir.chmod(0o755)  # whatever the umask: it is read by the sandbox's unprivileged user
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=cache_dir))
    try:
        _write(source, secret, building)
        _publish(building)
        try:
            building.rename(final)
        except OSError:
            # Another worker was faster: a folder that is not empty cannot be replaced, and is the same one.
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return final


def _write(source: Source, secret: str, folder: Path) -> None:
    parts = divide(source, secret)
    rows_train, rows_test = known(source.dataset).rows[source.tier]
    if source.dataset == "iris":
        seed = seed_of(secret, "order", "iris")
        lines_train, lines_test = tile_by_label(parts.train, 120, seed), tile_by_label(parts.test, 30, seed)
        _write_lines(folder / "iris_training.csv", lines_train, "120,4,setosa,versicolor,virginica")
        _write_lines(folder / "iris_test.csv", lines_test, "30,4,setosa,versicolor,virginica")
        # scikit-learn's load_iris and UCI's own file list the flowers species by species.
        by_species = sorted(lines_train + lines_test, key=lambda line: line[-1])
        _write_lines(folder / "iris.csv", by_species, "150,4,setosa,versicolor,virginica")
        _write_lines(folder / "iris.data", [f"{line[:-1]}{_SPECIES[int(line[-1])]}" for line in by_species])
    elif source.dataset == "auto_mpg":
        _write_lines(folder / "auto-mpg.data", tile(parts.train, rows_train).lines)
    elif source.dataset == "fashion_mnist":
        (folder / "fashion-mnist").mkdir()
        for name, split in (("train", parts.train), ("t10k", tile(parts.test, rows_test))):
            _write_idx(folder / "fashion-mnist" / f"{name}-images-idx3-ubyte.gz", split.inputs)
            _write_idx(folder / "fashion-mnist" / f"{name}-labels-idx1-ubyte.gz", split.labels)
    else:
        test = tile(parts.test, rows_test)
        arrays = {"x_train": parts.train.inputs, "y_train": parts.train.labels}
        write_npz(folder / f"{source.dataset}.npz", arrays | {"x_test": test.inputs, "y_test": test.labels})
        if source.dataset == "imdb":
            text = json.dumps(word_index(source))
            (folder / "imdb_word_index.json").write_text(text, "ascii", newline="\n")


def tile(split: Split, length: int) -> Split:
    """The rows over and over until there are ``length`` of them."""
    return split.take(np.arange(length) % len(split))


def tile_by_label(split: Split, length: int, seed: int) -> tuple[str, ...]:
    """The lines tiled so that every label comes equally often, in an order that does not give the label away."""
    labels = np.unique(split.labels)
    each = [np.resize(np.flatnonzero(split.labels == label), length // len(labels)) for label in labels]
    rows = np.concatenate(each)
    return split.take(rows[permutation(seed, len(rows))]).lines


def _write_lines(path: Path, lines: Sequence[str], header: str = "") -> None:
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n", "ascii", newline="\n")


def _write_idx(path: Path, array: Array) -> None:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as stream:
        stream.write(head + np.ascontiguousarray(array, np.uint8).tobytes())


def write_npz(path: Path, arrays: Mapping[str, Array], *, compress: bool = False) -> None:
    """An npz file without today's date in it. Ragged rows become pickled lists, as in Keras's imdb.npz."""
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(2020, 1, 1, 0, 0, 0))
            member.compress_type = method
            member.external_attr = 0o644 << 16
            archive.writestr(member, _npy(array), compresslevel=9 if compress else None)


def _npy(array: Array) -> bytes:
    out = io.BytesIO()
    if array.dtype != object:
        np.lib.format.write_array(out, np.ascontiguousarray(array), version=(1, 0))
        return out.getvalue()
    lists = np.empty(len(array), dtype=object)
    for at, row in enumerate(array):
        lists[at] = row.tolist()
    np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(lists))
    pickle.dump(lists, out, protocol=4)
    return out.getvalue()


def _publish(folder: Path) -> None:
    """Readable by whichever uid the sandbox runs as, whatever the umask; dated alike everywhere."""
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (_EPOCH, _EPOCH))
