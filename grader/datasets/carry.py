"""Moving full data: download it, pack it into one folder a teacher can carry, put such a folder in place.

Whatever the way, a file counts only once its digest is that of the published one, and it appears in the cache
folder in one step. Keras's loaders run in another process: they belong to the kernel's interpreter, and the trusted
side imports no Keras.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import msgspec

from grader.datasets.files import cache_folder, file_digest, missing_files, verify
from grader.datasets.registry import DATASETS, DataSet, KnownFile, known
from grader.errors import DataError
from grader.records import Record

MANIFEST = "manifest.json"
_CARRY = "on a machine with a network run `grader data export FOLDER`, carry it here and `grader data import FOLDER`"
# The largest published file has 26 MB; a mirror that sends more is not one.
_LARGEST = 64 * 2**20

# Runs in the kernel's interpreter with KERAS_HOME in a temporary folder: on a wrong hash Keras deletes what is there.
_KERAS_LOADER = """
import socket, sys
socket.setdefaulttimeout(float(sys.argv[2]))
import keras
name = sys.argv[1]
if hasattr(keras.datasets, name):
    getattr(keras.datasets, name).load_data()
    if name == "imdb":
        keras.datasets.imdb.get_word_index()
for pair in [] if hasattr(keras.datasets, name) else sys.argv[3:]:
    keras.utils.get_file(*pair.split("=", 1))
"""


class Packed(Record, frozen=True, kw_only=True):
    """One file in a carried folder."""

    dataset: str
    sha256: str
    size: int
    licence: str


class Manifest(Record, frozen=True, kw_only=True):
    """The list of a carried folder: what lies in it, by path."""

    files: dict[str, Packed]
    schema: int = 1


def fetch(
    dataset_id: str,
    mirror: str = "",
    *,
    data_folder: Path | None = None,
    python: Path | None = None,
    timeout: float = 20.0,
) -> Path:
    """Download one data set into the cache folder; ``timeout`` is how long the network may stay silent."""
    dataset, folder = known(dataset_id), cache_folder(data_folder)
    with _beside(folder) as temporary:
        if mirror:
            for file in dataset.files:
                _from_mirror(mirror, file, Path(temporary) / "datasets" / file.path, timeout)
        else:
            _by_keras(dataset, Path(temporary), python or Path(sys.executable), timeout)
        _place(Path(temporary) / "datasets", dataset.files, folder)
    return folder


def export(folder: Path, *, data_folder: Path | None = None, dataset_ids: Iterable[str] = ()) -> tuple[str, ...]:
    """Copy the full data that is here, or the sets named, into ``folder`` with a manifest; returns the sets' ids."""
    origin, named = cache_folder(data_folder), [known(name) for name in dataset_ids]
    chosen = named or [dataset for dataset in DATASETS.values() if not missing_files(dataset, origin)]
    if not chosen:
        raise DataError("there is no full data to export", where=str(origin), fix="run `grader data fetch` first")
    if folder.exists() and origin.exists() and folder.samefile(origin):
        raise DataError("is the data folder itself", where=str(folder), fix="name another folder")
    packed = {}
    for dataset in chosen:
        _complete(dataset, origin)
        for file in dataset.files:
            path = origin / file.path
            sha256 = verify(path, file)
            packed[file.path] = Packed(
                dataset=dataset.id, sha256=sha256, size=path.stat().st_size, licence=dataset.licence
            )
        _place(origin, dataset.files, folder)
    listing = msgspec.json.format(msgspec.json.encode(Manifest(files=packed), order="deterministic"), indent=1)
    _replace(folder / MANIFEST, listing)
    return tuple(dataset.id for dataset in chosen)


def import_(folder: Path, *, data_folder: Path | None = None) -> tuple[str, ...]:
    """Check a carried folder against its manifest, all of it before anything is moved, then put it in place."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except OSError as error:
        raise DataError(
            f"has no {MANIFEST}", where=str(folder), fix="name a folder made by `grader data export`"
        ) from error
    except msgspec.DecodeError as error:
        raise DataError(f"is damaged: {error}", where=str(folder / MANIFEST), fix="export it again") from error
    files = {file.path: (dataset, file) for dataset in DATASETS.values() for file in dataset.files}
    for path, packed in manifest.files.items():
        if path not in files:
            raise DataError(f"lists an unknown file {path!r}", where=str(folder / MANIFEST), fix="export it again")
        if not (folder / path).is_file():
            raise DataError("is listed in the manifest but missing", where=str(folder / path), fix="copy it again")
        found = file_digest(folder / path)
        if found != packed.sha256:
            raise DataError(
                f"was damaged on the way: its sha256 is {found[:16]}…, the manifest says {packed.sha256[:16]}…",
                where=str(folder / path),
                fix="copy it again",
            )
    chosen = [files[path] for path in manifest.files]
    _place(folder, [file for _, file in chosen], cache_folder(data_folder))
    return tuple(dict.fromkeys(dataset.id for dataset, _ in chosen))


# ---------------------------------------------------------------- how


def _from_mirror(mirror: str, file: KnownFile, target: Path, timeout: float) -> None:
    if not mirror.startswith(("https://", "http://", "file://")):
        raise DataError("a mirror begins with https://, http:// or file://", where=mirror, fix="check [data] mirror")
    target.parent.mkdir(parents=True, exist_ok=True)
    # A copy of a cache folder has sub-folders, a copy of Keras's bucket has none: both are mirrors.
    problem: Exception | None = None
    tries = dict.fromkeys(f"{mirror.rstrip('/')}/{name}" for name in (file.path, Path(file.path).name))
    for url in tries:
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer, target.open("wb") as out:
                left = _LARGEST
                while block := answer.read(min(2**20, left)):
                    out.write(block)
                    left -= len(block)
                if left == 0:
                    raise DataError("sends more than the published file", where=url, fix="check [data] mirror")
            return
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            problem = error
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = error
    raise DataError(
        f"cannot be downloaded: {_reason(problem)}", where=f"{mirror.rstrip('/')}/{file.path}", fix=_CARRY
    ) from problem


def _by_keras(dataset: DataSet, home: Path, python: Path, timeout: float) -> None:
    url = dataset.files[0].url
    try:
        # Asked first, because importing Keras only to learn that there is no network takes seconds.
        request = urllib.request.Request(url, method="HEAD")
        urllib.request.urlopen(request, timeout=timeout).close()
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"cannot be downloaded: {_reason(error)}", where=url, fix=_CARRY) from error
    pairs = [f"{file.path}={file.url}" for file in dataset.files]
    command = [str(python), "-I", "-c", _KERAS_LOADER, dataset.id, str(timeout), *pairs]
    environ = os.environ | {"KERAS_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, errors="replace", timeout=1800, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"Keras's loader did not finish: {error}", where=dataset.id, fix=_CARRY) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"Keras's loader failed: {last[:300]}", where=dataset.id, fix=_CARRY)


def _reason(error: Exception | None) -> str:
    """A network failure in a few words, on one line."""
    reason = str(error) if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", None) or error
    return " ".join(str(reason).split())[:200] or type(error).__name__


def _complete(dataset: DataSet, folder: Path) -> None:
    if missing := missing_files(dataset, folder):
        fix = f"run `grader data fetch {dataset.id}` first"
        raise DataError(f"{dataset.id} is incomplete: {', '.join(missing)} missing", where=str(folder), fix=fix)


def _place(origin: Path, files: Iterable[KnownFile], folder: Path) -> None:
    """Verify all files of ``origin``, then copy each into ``folder`` in one step."""
    files = list(files)
    for file in files:
        if not (origin / file.path).is_file():
            raise DataError("was not downloaded", where=file.path, fix=_CARRY)
        verify(origin / file.path, file)
    for file in files:
        _replace(folder / file.path, origin / file.path)


def _replace(target: Path, content: Path | bytes) -> None:
    """Write ``target`` beside its place and rename it, so that no reader meets half a file."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".incoming-", dir=target.parent)
    except OSError as error:
        raise DataError(
            f"cannot be written: {error.strerror}", where=str(target), fix="choose another folder"
        ) from error
    try:
        with os.fdopen(handle, "wb") as out:
            if isinstance(content, bytes):
                out.write(content)
            else:
                with content.open("rb") as stream:
                    shutil.copyfileobj(stream, out)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except OSError as error:
        raise DataError(
            f"cannot be written: {error.strerror}", where=str(target), fix="check space and rights"
        ) from error
    finally:
        Path(name).unlink(missing_ok=True)


def _beside(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder on the disk where the data will lie."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder)
    except OSError as error:
        raise DataError(
            f"cannot be written: {error.strerror}", where=str(folder), fix="choose another folder"
        ) from error
