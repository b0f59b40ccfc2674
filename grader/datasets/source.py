"""Which copy of a data set is used, and its rows.

``resolve`` looks for the full tier and falls back to the lite one that ships with the package. A wrong file is an
error, never a silent fallback. ``load`` parses; it remembers the last few sources because a class is graded lab by lab.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grader.datasets import read
from grader.datasets.files import cache_folder, file_digest, missing_files, verify
from grader.datasets.read import Array
from grader.datasets.registry import DATASETS, DataSet, known
from grader.errors import DataError, OursError
from grader.records import Record, Tier

LITE = Path(__file__).resolve().parent.parent / "lite"


class Source(Record, frozen=True, kw_only=True):
    """A verified copy of one data set. ``digest`` names its content, so a cache of it can be keyed."""

    dataset: str
    tier: Tier
    folder: Path
    digest: str


class Status(Record, frozen=True, kw_only=True):
    """What ``grader data status`` says of one data set."""

    dataset: str
    title: str
    tier: Tier
    folder: Path
    missing: tuple[str, ...] = ()
    problem: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Split:
    """Inputs and labels of one split, row by row; ``lines`` are a table's rows in their original spelling."""

    inputs: Array
    labels: Array
    lines: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Array) -> Split:
        """Those rows, in that order."""
        lines = tuple(self.lines[row] for row in rows) if self.lines else ()
        return Split(self.inputs[rows], self.labels[rows], lines)


@dataclass(frozen=True)
class Data:
    """Both splits. Images are uint8 (n, 28, 28), tables float32, reviews an object array of raw token ids."""

    train: Split
    test: Split


def resolve(dataset_id: str, data_folder: Path | None = None, tier: Tier | None = None) -> Source:
    """The full data where it is complete, else the lite tier; ``tier`` insists on one of them."""
    dataset = known(dataset_id)
    if tier is not Tier.LITE:
        source = _full(dataset, data_folder, insist=tier is Tier.FULL)
        if source is not None:
            return source
    digests = []
    for name in dataset.lite:
        if not (LITE / name).is_file():
            raise OursError("the lite data is missing from the installation", where=name, fix="install grader again")
        digests.append(file_digest(LITE / name))
    return Source(dataset=dataset_id, tier=Tier.LITE, folder=LITE, digest=_join(digests))


def _full(dataset: DataSet, data_folder: Path | None, *, insist: bool) -> Source | None:
    folder = cache_folder(data_folder)
    if data_folder is not None and not folder.is_dir():
        raise DataError("the data folder does not exist", where=str(folder), fix="check --data and [data] folder")
    missing = missing_files(dataset, folder)
    # Keras fetches imdb.npz without its word index, so its cache may be incomplete through nobody's fault;
    # a folder that a teacher named must not be.
    partly = data_folder is not None and 0 < len(missing) < len(dataset.files)
    if missing and (insist or partly):
        raise DataError(
            f"the full {dataset.id} data is incomplete: {', '.join(missing)} missing",
            where=str(folder),
            fix=f"run `grader data fetch {dataset.id}` or `grader data import FOLDER`",
        )
    if missing:
        return None
    digests = [verify(folder / file.path, file) for file in dataset.files]
    return Source(dataset=dataset.id, tier=Tier.FULL, folder=folder, digest=_join(digests))


def _join(digests: list[str]) -> str:
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def status(data_folder: Path | None = None) -> tuple[Status, ...]:
    """One line for each data set; a wrong file is reported, not raised."""
    rows = []
    for dataset in DATASETS.values():
        folder = cache_folder(data_folder)
        problem, tier, where = "", Tier.LITE, LITE
        try:
            source = resolve(dataset.id, data_folder)
            tier, where = source.tier, source.folder
        except (DataError, OursError) as error:
            problem, where = str(error), folder
        missing = tuple(missing_files(dataset, folder))
        rows.append(
            Status(
                dataset=dataset.id,
                title=dataset.title,
                tier=tier,
                folder=where,
                missing=missing,
                problem=problem,
                licence=dataset.licence,
            )
        )
    return tuple(rows)


@functools.lru_cache(maxsize=4)
def load(source: Source) -> Data:
    """The rows of a source. Its arrays are shared: they are read-only."""
    try:
        data = _parse(source)
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(f"the {source.dataset} data cannot be read: {error}", where=str(source.folder)) from error
    for split in (data.train, data.test):
        split.inputs.flags.writeable = False
        split.labels.flags.writeable = False
    return data


def _parse(source: Source) -> Data:
    folder, dataset, full = source.folder, known(source.dataset), source.tier is Tier.FULL
    if dataset.id == "iris":
        train = _table(read.iris_csv(folder / ("iris_training.csv" if full else "iris.csv")))
        return Data(train, _table(read.iris_csv(folder / "iris_test.csv")) if full else train.take(np.arange(0)))
    if dataset.id == "auto_mpg":
        train = _table(read.auto_mpg(folder / "auto-mpg.data"))
        return Data(train, train.take(np.arange(0)))
    if dataset.id == "fashion_mnist" and full:
        parts = [read.idx_gz(folder / file.path) for file in dataset.files]
        return Data(Split(parts[1], parts[0]), Split(parts[3], parts[2]))
    path = folder / (dataset.files[0].path if full else dataset.lite[0])
    arrays = read.flat_text(path) if dataset.id == "imdb" and not full else read.npz(path)
    return Data(Split(arrays["x_train"], arrays["y_train"]), Split(arrays["x_test"], arrays["y_test"]))


def _table(parts: tuple[tuple[str, ...], Array, Array]) -> Split:
    lines, inputs, labels = parts
    return Split(inputs, labels, lines)


def word_index(source: Source) -> dict[str, int]:
    """The word to id table of the reviews, ids as in Keras's imdb_word_index.json (before ``index_from``)."""
    if source.tier is Tier.FULL:
        index: dict[str, int] = json.loads((source.folder / "imdb_word_index.json").read_text("utf-8"))
        return index
    words = (source.folder / "imdb_words.txt").read_text("utf-8").split()
    return {word: at for at, word in enumerate(words, start=1)}
