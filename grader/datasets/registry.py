"""What the data sets are: their files, digests, sizes and labels. Facts only, nothing is opened here.

A data set is known by the files Keras (or the tutorial) puts into the cache folder. Each file is identified by
the sha256 of its bytes or, where the same content travels in several framings, by a digest of its content
(see ``files.content_digest``): an ``imdb.npz`` written by another NumPy is the same reviews in another zip file.
"""

from __future__ import annotations

import difflib
from typing import Literal

from grader.errors import UsageError
from grader.records import Record, Tier

_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_IRIS = "https://storage.googleapis.com/download.tensorflow.org/data/"
_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/"


class KnownFile(Record, frozen=True, kw_only=True):
    """One file of the full tier. ``path`` is relative to the cache folder; ``url`` is where the public finds it."""

    path: str
    sha256: tuple[str, ...]
    content: str
    url: str


class DataSet(Record, frozen=True, kw_only=True):
    """One data set; ``rows`` counts (train, test) and ``withheld`` the rows no sandbox sees, both by tier."""

    id: str
    title: str
    kind: Literal["image", "table", "text"]
    files: tuple[KnownFile, ...]
    lite: tuple[str, ...]
    rows: dict[Tier, tuple[int, int]]
    withheld: dict[Tier, int]
    label_names: tuple[str, ...]
    columns: tuple[str, ...] = ()
    licence: str


def _fashion(name: str, sha256: str, content: str) -> KnownFile:
    return KnownFile(path=f"fashion-mnist/{name}", sha256=(sha256,), content=content, url=_KERAS + name)


_ALL = (
    DataSet(
        id="mnist",
        title="MNIST handwritten digits",
        kind="image",
        files=(
            KnownFile(
                path="mnist.npz",
                # Keras's own hash (keras/src/datasets/mnist.py).
                sha256=("731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",),
                content="f414eaad9f3b8be27d5dc09cd210d019243dc27b772a5c00b1a1d610f3b60680",
                url=_KERAS + "mnist.npz",
            ),
        ),
        lite=("mnist.npz",),
        rows={Tier.FULL: (60_000, 10_000), Tier.LITE: (8_000, 2_000)},
        withheld={Tier.FULL: 5_000, Tier.LITE: 1_000},
        label_names=tuple("0123456789"),
        licence="CC BY-SA 3.0",
    ),
    DataSet(
        id="fashion_mnist",
        title="Fashion-MNIST clothing",
        kind="image",
        # Keras checks no hash here; these are the files of the Debian package dataset-fashion-mnist.
        files=(
            _fashion(
                "train-labels-idx1-ubyte.gz",
                "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            _fashion(
                "train-images-idx3-ubyte.gz",
                "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            _fashion(
                "t10k-labels-idx1-ubyte.gz",
                "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
            _fashion(
                "t10k-images-idx3-ubyte.gz",
                "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
        ),
        lite=("fashion_mnist.npz",),
        rows={Tier.FULL: (60_000, 10_000), Tier.LITE: (5_200, 1_300)},
        withheld={Tier.FULL: 5_000, Tier.LITE: 650},
        label_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        licence="MIT, Zalando SE",
    ),
    DataSet(
        id="imdb",
        title="IMDB film reviews",
        kind="text",
        files=(
            KnownFile(
                path="imdb.npz",
                sha256=(
                    # Keras's own hash (keras/src/datasets/imdb.py), and the same reviews saved by NumPy 2.
                    "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
                    "6814c0beea01878740d178d45caaf84fa878f5f452bd5f6bb6b5e3add8655f32",
                ),
                content="ca3301aa2b228a4f0b490a52d5dca8740c1f794cc405df511db24ccef79eb133",
                url=_KERAS + "imdb.npz",
            ),
            KnownFile(
                path="imdb_word_index.json",
                # Keras knows it by md5 bfafd718b763782e994055a2d397834f; this is the sha256 of that very file.
                sha256=("027313fe9a320280f3bf0fac5baf58c4a683cf39a7ed9c3d3d3912bde4284cf6",),
                content="027313fe9a320280f3bf0fac5baf58c4a683cf39a7ed9c3d3d3912bde4284cf6",
                url=_KERAS + "imdb_word_index.json",
            ),
        ),
        lite=("imdb.npz", "imdb_words.txt"),
        rows={Tier.FULL: (25_000, 25_000), Tier.LITE: (4_000, 2_000)},
        withheld={Tier.FULL: 12_500, Tier.LITE: 1_000},
        label_names=("negative", "positive"),
        licence="research use with citation (Maas et al. 2011); the lite tier is synthetic",
    ),
    DataSet(
        id="auto_mpg",
        title="Auto MPG fuel economy",
        kind="table",
        files=(
            KnownFile(
                path="auto-mpg.data",
                sha256=("48b830e11feee5572525f8f1691ddb9d38d3d7b7063edcd8fca672c2a5e17d8d",),
                content="48b830e11feee5572525f8f1691ddb9d38d3d7b7063edcd8fca672c2a5e17d8d",
                url=_UCI + "auto-mpg/auto-mpg.data",
            ),
        ),
        lite=("auto-mpg.data",),
        rows={Tier.FULL: (398, 0), Tier.LITE: (398, 0)},
        withheld={Tier.FULL: 78, Tier.LITE: 78},
        label_names=(),
        columns=("Cylinders", "Displacement", "Horsepower", "Weight", "Acceleration", "Model Year", "Origin"),
        licence="CC BY 4.0 (UCI)",
    ),
    DataSet(
        id="iris",
        title="Iris flowers",
        kind="table",
        files=(
            KnownFile(
                path="iris_training.csv",
                sha256=("c4c7652b14da06ba63b37f9f47d2e9aa4edced85701c9f8fce37501a1ca792e4",),
                content="c4c7652b14da06ba63b37f9f47d2e9aa4edced85701c9f8fce37501a1ca792e4",
                url=_IRIS + "iris_training.csv",
            ),
            KnownFile(
                path="iris_test.csv",
                sha256=("3b6dde8ad159a8545d4b4d8290a9cc7d49a9a8803d6ffe755884269371cc1eb1",),
                content="3b6dde8ad159a8545d4b4d8290a9cc7d49a9a8803d6ffe755884269371cc1eb1",
                url=_IRIS + "iris_test.csv",
            ),
        ),
        lite=("iris.csv",),
        rows={Tier.FULL: (120, 30), Tier.LITE: (150, 0)},
        withheld={Tier.FULL: 30, Tier.LITE: 30},
        label_names=("setosa", "versicolor", "virginica"),
        columns=("sepal_length", "sepal_width", "petal_length", "petal_width"),
        licence="CC BY 4.0 (UCI)",
    ),
)

DATASETS: dict[str, DataSet] = {dataset.id: dataset for dataset in _ALL}


def known(dataset_id: str) -> DataSet:
    """The data set of that id, or a UsageError with the nearest one."""
    if dataset_id in DATASETS:
        return DATASETS[dataset_id]
    near = difflib.get_close_matches(dataset_id, DATASETS, n=1)
    fix = f"did you mean {near[0]}?" if near else f"known are {', '.join(DATASETS)}"
    raise UsageError(f"there is no data set named {dataset_id!r}", fix=fix)
