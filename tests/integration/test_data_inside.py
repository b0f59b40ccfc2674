"""Data inside the sandbox: the well-known loaders give the mounted copy, and nothing shows a withheld row."""

from __future__ import annotations

import hashlib
import json
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from grader import datasets, heldout, wire
from grader.heldout.division import divide
from grader.records import Ending, Limits, Tier
from grader.runner import Job, overlays_for, run_notebook
from grader.sandbox import backends
from grader.sandbox.backends import interpreter
from grader.zygote import Zygote
from tests.lacking import lacking

pytestmark = pytest.mark.slow

SECRET = "the course's secret"
LABS = ("iris", "auto_mpg", "mnist", "fashion_mnist", "imdb")


@pytest.fixture(scope="session")
def mounts(tmp_path_factory):
    """Every data set, as a course would mount it; and MNIST once more, divided by another secret."""
    folder = tmp_path_factory.mktemp("private") / "mounted"
    found = {name: heldout.mounted(name, datasets.resolve(name, None, Tier.LITE), SECRET, folder) for name in LABS}
    heldout.mounted("mnist", datasets.resolve("mnist", None, Tier.LITE), "another secret", folder)
    return found


@pytest.fixture(scope="session")
def warm(backend, mounts):
    """A zygote with TensorFlow that sees the mounted data."""
    if backend.name == "none":
        lacking("without a sandbox nothing is kept from a notebook")
    with Zygote(backend, sys.executable, data=mounts["iris"].parent, slot=3) as zygote:
        yield zygote


@pytest.fixture
def inside(warm, mounts):
    """Runs code with a lab's data mounted, and gives the value of its variable ``found``."""

    def run(source, dataset):
        name = mounts[dataset].name if dataset else ""
        folders = warm.backend.data_folders(warm.data, name) if name else []
        job = Job(
            cells=(wire.SourceCell("code", textwrap.dedent(source)),),
            seed=1,
            limits=Limits(wall_s=60, memory_mb=2048, disk_mb=64, threads=1),
            dataset=name,
            overlays=dict(overlays_for(dataset, interpreter(warm.python).inside_site, folders, mounts.get(dataset))),
        )
        with run_notebook(warm, job) as done:
            assert done.facts.ending is Ending.OK, done.facts.cell_errors
            done.link.send(wire.Ask("n", wire.Name("found")))
            answer = done.link.receive(time.monotonic() + 30)
            assert answer.status == "ok", answer.fault
            return wire.from_value(answer.value)

    return run


def withheld(dataset):
    """The rows that no sandbox may see, by the course's secret."""
    return divide(datasets.resolve(dataset, None, Tier.LITE), SECRET).withheld


def rows_of(lines):
    """Measurements as comparable tuples of numbers."""
    return {tuple(round(float(cell), 3) for cell in line) for line in lines}


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_load_data_gives_the_mounted_images(inside, mounts, dataset):
    """In the shapes every tutorial expects, and without a withheld image."""
    source = f"""
    import keras, hashlib
    (x_train, y_train), (x_test, y_test) = keras.datasets.{dataset}.load_data()
    shown = sorted({{hashlib.sha256(image.tobytes()).hexdigest() for image in (*x_train, *x_test)}})
    found = [list(x_train.shape), list(x_test.shape), str(x_test.dtype), shown]
    """
    train, test, dtype, shown = inside(source, dataset)
    assert (train[1:], test[1:], dtype) == ([28, 28], [28, 28], "uint8")
    assert (train[0], test[0]) == datasets.known(dataset).rows[Tier.LITE]
    hidden = {
        hashlib.sha256(np.ascontiguousarray(image, np.uint8).tobytes()).hexdigest()
        for image in withheld(dataset).inputs
    }
    assert not hidden & set(shown)


def test_every_spelling_of_the_loaders_finds_the_mounted_file(inside):
    """keras and tf.keras, get_file by name and by address, with a cache folder of the student's."""
    source = """
    import os, keras, tensorflow as tf, pandas as pd
    from tensorflow.keras.datasets import mnist as other
    url = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
    paths = [
        keras.utils.get_file("mnist.npz", url),
        keras.utils.get_file(origin=url),
        tf.keras.utils.get_file("mnist.npz", origin=url, cache_dir="/tmp/cache"),
    ]
    found = [all(os.path.getsize(path) > 100_000 for path in paths), len(other.load_data()[0][0]),
             len(tf.keras.datasets.mnist.load_data(path="mnist.npz")[0][0])]
    """
    assert inside(source, "mnist") == [True, 8000, 8000]


def test_reviews_load_with_their_word_index(inside):
    """Two files: the reviews, and the words."""
    source = """
    import keras
    (x, y), (a, b) = keras.datasets.imdb.load_data(num_words=1000)
    found = [len(x), len(a), max(max(review) for review in x[:100]) < 1000, len(keras.datasets.imdb.get_word_index()) > 100]
    """
    assert inside(source, "imdb") == [4000, 2000, True, True]


IRIS = """
import keras, pandas as pd, numpy as np
from sklearn.datasets import load_iris
train = "http://download.tensorflow.org/data/iris_training.csv"
test = "http://download.tensorflow.org/data/iris_test.csv"
a = pd.read_csv(keras.utils.get_file("iris_training.csv", train), header=0).to_numpy()
b = pd.read_csv(test, header=0).to_numpy()
c = pd.read_csv("https://archive.ics.uci.edu/ml/machine-learning-databases/iris/iris.data", header=None).iloc[:, :4].to_numpy()
bunch = load_iris()
found = [a[:, :4], b[:, :4], c.astype(float), bunch.data, [str(name) for name in bunch.target_names], list(bunch.data.shape),
         load_iris(as_frame=True).frame.iloc[:, :4].to_numpy()]
"""


def test_iris_is_the_reduced_copy_from_every_source(inside):
    """The tutorial's two files, UCI's own, and scikit-learn's load_iris: 150 flowers each, and none of the withheld."""
    *tables, names, shape, frame = inside(IRIS, "iris")
    assert names == ["setosa", "versicolor", "virginica"]
    assert shape == [150, 4]
    parts = divide(datasets.resolve("iris", None, Tier.LITE), SECRET)
    # Some flowers have twins: only a row that is nowhere among the shown ones must not appear.
    hidden = rows_of(parts.withheld.inputs) - rows_of(parts.train.inputs) - rows_of(parts.test.inputs)
    assert len(hidden) > 15
    for table in (*tables, frame):
        assert not hidden & rows_of(table)


def test_cars_are_the_reduced_copy(inside):
    """read_csv of UCI's address, as the tutorial calls it."""
    source = """
    import pandas as pd
    url = "http://archive.ics.uci.edu/ml/machine-learning-databases/auto-mpg/auto-mpg.data"
    names = ["MPG", "Cylinders", "Displacement", "Horsepower", "Weight", "Acceleration", "Model Year", "Origin"]
    frame = pd.read_csv(url, names=names, na_values="?", comment="\\t", sep=" ", skipinitialspace=True)
    found = [len(frame), frame[["Displacement", "Weight", "Acceleration"]].to_numpy()]
    """
    count, rows = inside(source, "auto_mpg")
    assert count == 398
    parts = divide(datasets.resolve("auto_mpg", None, Tier.LITE), SECRET)
    hidden = rows_of(parts.withheld.inputs[:, [1, 3, 4]]) - rows_of(parts.train.inputs[:, [1, 3, 4]])
    assert len(hidden) > 60
    assert not hidden & rows_of(rows)


def test_other_downloads_fail_at_once_and_say_why(inside):
    """Nobody waits for a connection that cannot be, and the message names what was wanted."""
    source = """
    import time, urllib.request, keras, pandas as pd
    def attempt(act):
        start = time.monotonic()
        try:
            act()
        except Exception as error:
            return [time.monotonic() - start < 2, str(error)]
    found = [
        attempt(lambda: keras.utils.get_file("flowers.tgz", "https://example.com/flowers.tgz")),
        attempt(lambda: keras.datasets.cifar10.load_data()),
        attempt(lambda: pd.read_csv("https://example.com/table.csv")),
        attempt(lambda: urllib.request.urlopen("https://example.com/")),
    ]
    """
    found = inside(source, "mnist")
    assert all(quick for quick, _ in found)
    assert [("no network" in message) for _, message in found] == [True, True, True, False]
    assert "flowers.tgz" in found[0][1]


def test_a_run_sees_the_data_of_its_own_lab_only(inside, mounts):
    """Another lab's, and the same data divided by another secret, would show withheld rows between them."""
    source = """
    import os
    found = sorted(os.path.relpath(os.path.join(folder, name), "/datasets")
                   for folder, _, names in os.walk("/datasets") for name in names)
    """
    shown = sorted(str(path.relative_to(mounts["mnist"])) for path in mounts["mnist"].rglob("*") if path.is_file())
    assert inside(source, "mnist") == shown
    assert inside(source, "") == []


def test_packages_that_bring_the_data_along_do_not_show_it(inside):
    """vega_datasets has all cars and flowers, scipy's tests have iris, a grader installed from a wheel has the lite data."""
    kernel = interpreter(sys.executable)
    assert Path(kernel.site, "vega_datasets/_data/cars.json").exists()
    names = [f"{kernel.inside_site}/{name}" for name in backends.COPIES_IN_SITE]
    source = f"""
    import os
    def size(path):
        if os.path.isdir(path):
            return len(os.listdir(path))
        return os.path.getsize(path) if os.path.exists(path) else 0
    found = [size(path) for path in {names!r}]
    """
    assert inside(source, "auto_mpg") == [0] * len(names)


def test_no_file_the_notebook_can_read_holds_the_flowers(inside):
    """A search through all of site-packages and /usr/share for a line of iris as tables spell it."""
    source = r"""
    import os, re, sysconfig
    line = re.compile(rb"6\.2,\s*3\.4,\s*5\.4,\s*2\.3[,\s].{0,40}\n5\.9,\s*3\.0?,\s*5\.1,\s*1\.8")
    found = []
    for root in (sysconfig.get_path("purelib"), "/usr/share"):
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                if name.endswith((".csv", ".data", ".arff", ".txt", ".json", ".py")) and os.path.isfile(path):
                    with open(path, "rb") as file:
                        if line.search(file.read()):
                            found.append(path)
    """
    assert inside(source, "iris") == []


def test_a_wheel_installed_grader_and_debians_fashion_mnist_are_masked(tmp_path, monkeypatch):
    """Wherever such a copy exists, something empty lies over it: a folder over a folder, a file over a file."""
    (tmp_path / "grader" / "lite").mkdir(parents=True)
    (tmp_path / "vega_datasets" / "_data").mkdir(parents=True)
    (tmp_path / "vega_datasets" / "_data" / "cars.json").write_text(json.dumps([1]))
    (tmp_path / "fashion").mkdir()
    monkeypatch.setattr(backends, "COPIES_IN_SYSTEM", (str(tmp_path / "fashion"),))
    kernel = backends.Interpreter("python", "python", {}, str(tmp_path), "/opt/venv/site")
    masks = backends._masks(kernel, "/empty")
    assert masks == {
        "/opt/venv/site/grader/lite": "/empty",
        "/opt/venv/site/vega_datasets/_data/cars.json": "/empty/file",
        str(tmp_path / "fashion"): "/empty",
    }


def test_the_reduced_copy_of_every_format_reads_back(mounts):
    """What the host mounts is what its own readers read: no withheld row is there to begin with."""
    with np.load(mounts["mnist"] / "mnist.npz") as arrays:
        shown = {image.tobytes() for image in (*arrays["x_train"], *arrays["x_test"])}
    assert not shown & {np.ascontiguousarray(image, np.uint8).tobytes() for image in withheld("mnist").inputs}
