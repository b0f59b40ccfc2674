"""Data sets: which tier is used, when a file is believed, and how full data travels."""

import functools
import hashlib
import http.server
import json
import os
import socket
import threading
import time
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from grader import datasets
from grader.datasets import DATASETS, files, read
from grader.errors import DataError, UsageError
from grader.heldout.mount import write_npz
from grader.records import Tier

REAL = os.environ.get("GRADER_DATA", "")
needs_real_data = pytest.mark.skipif(not REAL, reason="GRADER_DATA names no folder with the full data")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder with an iris data set that counts as the published one, so that no test needs the network."""
    folder = tmp_path / "published"
    folder.mkdir()
    lines = (datasets.resolve("iris", tier=Tier.LITE).folder / "iris.csv").read_text().split()[1:]
    known = []
    for name, rows in (("iris_training.csv", lines[:120]), ("iris_test.csv", lines[120:])):
        content = "\n".join([f"{len(rows)},4,setosa,versicolor,virginica", *rows]) + "\n"
        (folder / name).write_text(content, newline="\n")
        digest = hashlib.sha256(content.encode()).hexdigest()
        known.append(datasets.KnownFile(path=name, sha256=(digest,), content=digest, url=f"http://127.0.0.1:9/{name}"))
    monkeypatch.setitem(DATASETS, "iris", msgspec.structs.replace(DATASETS["iris"], files=tuple(known)))
    return folder


@pytest.fixture
def served(published):
    """The address of a local web server that serves the published folder."""
    handler = functools.partial(_Quiet, directory=str(published))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):  # noqa: A002 - the name is http.server's
        pass


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


# ---------------------------------------------------------------- the lite tier


@pytest.mark.parametrize("name", DATASETS)
def test_every_lite_file_is_small_and_has_its_licence_written_down(name):
    """A lite file has at most 3 MB and is named in LICENCES.md."""
    source = datasets.resolve(name, tier=Tier.LITE)
    licences = (source.folder / "LICENCES.md").read_text("utf-8")
    for file in DATASETS[name].lite:
        assert (source.folder / file).stat().st_size <= 3_000_000
        assert f"`{file}`" in licences


@pytest.mark.parametrize("name", DATASETS)
def test_lite_data_has_the_sizes_that_the_registry_states(name):
    """Sizes are declared once, so that a draw need not open the data; they must be true."""
    data = datasets.load(datasets.resolve(name, tier=Tier.LITE))
    assert (len(data.train), len(data.test)) == DATASETS[name].rows[Tier.LITE]
    assert len(data.train.inputs) == len(data.train)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_lite_images_are_balanced_uint8_pictures(name):
    """Each split holds all ten classes in about the proportion of the original."""
    data = datasets.load(datasets.resolve(name, tier=Tier.LITE))
    for split in (data.train, data.test):
        assert split.inputs.dtype == np.uint8
        assert split.inputs.shape[1:] == (28, 28)
        shares = np.bincount(split.labels, minlength=10) / len(split)
        assert shares.min() > 0.085
        assert shares.max() < 0.115
        assert len({row.tobytes() for row in split.inputs}) > 0.995 * len(split)


def test_lite_reviews_use_the_encoding_of_the_real_ones():
    """Ids count from 1 by frequency, fit the word index, and both labels come equally often."""
    source = datasets.resolve("imdb", tier=Tier.LITE)
    data, words = datasets.load(source), datasets.word_index(source)
    every = np.concatenate(list(data.train.inputs))
    assert (every.min(), every.max()) >= (1, 10_000)
    assert every.max() <= len(words) == max(words.values())
    assert data.train.labels.mean() == 0.5
    counts = np.bincount(every)
    assert counts[words["the"]] == counts.max()


def test_lite_reviews_can_be_learnt_but_not_perfectly():
    """Adding up how often each word stood in good and bad training reviews reads 80 to 95 % of the test reviews."""
    data = datasets.load(datasets.resolve("imdb", tier=Tier.LITE))
    tallies = [
        np.bincount(np.concatenate(list(data.train.inputs[data.train.labels == label])), minlength=12_001)
        for label in (0, 1)
    ]
    weight = np.log(tallies[1] + 5.0) - np.log(tallies[0] + 5.0)
    right = np.mean(
        [(weight[row].sum() > 0) == label for row, label in zip(data.test.inputs, data.test.labels, strict=True)]
    )
    assert 0.80 < right < 0.95


def test_lite_cars_are_uci_s_table():
    """398 cars, six without horsepower, seven columns and MPG in its range."""
    split = datasets.load(datasets.resolve("auto_mpg", tier=Tier.LITE)).train
    assert split.inputs.shape == (398, 7)
    assert np.isnan(split.inputs[:, 2]).sum() == 6
    assert not np.isnan(np.delete(split.inputs, 2, axis=1)).any()
    assert (split.labels.min(), split.labels.max()) == (9, pytest.approx(46.6))
    assert "Acceleration" not in "".join(split.lines)


# ---------------------------------------------------------------- which tier


def test_without_full_data_the_lite_tier_is_used(tmp_path, monkeypatch):
    """An empty Keras cache means the lite tier, and KERAS_HOME says where the cache is."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert datasets.cache_folder(None) == tmp_path / "datasets"
    assert {datasets.resolve(name).tier for name in DATASETS} == {Tier.LITE}


def test_full_data_in_the_keras_cache_is_found(published, tmp_path, monkeypatch):
    """Files of a complete and genuine data set in KERAS_HOME give the full tier."""
    (tmp_path / "home").mkdir()
    published.rename(tmp_path / "home" / "datasets")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    source = datasets.resolve("iris")
    assert (source.tier, source.folder) == (Tier.FULL, tmp_path / "home" / "datasets")
    assert len(datasets.load(source).train) == 120


def test_a_tier_can_be_insisted_on(published, tmp_path):
    """Lite is given although full is there; full that is not there is an error that names the file and the way out."""
    assert datasets.resolve("iris", published, Tier.LITE).tier is Tier.LITE
    with pytest.raises(DataError) as error:
        datasets.resolve("mnist", tmp_path, Tier.FULL)
    assert "mnist.npz missing" in one_line(error)
    assert "grader data import" in error.value.fix


def test_a_data_folder_that_is_incomplete_or_absent_is_an_error(published, tmp_path):
    """A folder that was named is meant: half a data set in it must not quietly become the lite tier."""
    (published / "iris_test.csv").unlink()
    with pytest.raises(DataError, match=r"iris_test\.csv missing"):
        datasets.resolve("iris", published)
    with pytest.raises(DataError, match="does not exist"):
        datasets.resolve("iris", tmp_path / "nowhere")


def test_a_wrong_file_is_an_error_that_says_found_and_expected(tmp_path):
    """A file of that name with other bytes names itself, both digests and what to do; it never falls back to lite."""
    (tmp_path / "mnist.npz").write_bytes(b"an error page of a proxy")
    with pytest.raises(DataError) as error:
        datasets.resolve("mnist", tmp_path)
    found = hashlib.sha256(b"an error page of a proxy").hexdigest()
    text = one_line(error)
    assert str(tmp_path / "mnist.npz") in text
    assert found[:16] in text
    assert "731c5ac602752760" in text
    assert "grader data fetch" in text


def test_a_changed_table_is_refused_but_other_line_endings_are_not(published):
    """A copy that went through a Windows editor is the same flowers; one changed digit is not."""
    path = published / "iris_test.csv"
    original = path.read_bytes()
    path.write_bytes(original.replace(b"\n", b"\r\n"))
    assert datasets.resolve("iris", published).tier is Tier.FULL
    path.write_bytes(original.replace(b"6.", b"7.", 1))
    with pytest.raises(DataError, match=r"is not iris_test\.csv as published"):
        datasets.resolve("iris", published)


def test_another_zip_framing_has_the_same_content_digest(tmp_path):
    """Arrays saved compressed or not, in another order, are the same content; one changed id is not."""
    reviews = read.ragged([np.array([1, 2, 3], np.int32), np.array([4], np.int32)])
    labels = np.array([0, 1])
    write_npz(tmp_path / "a.npz", {"x": reviews, "y": labels})
    write_npz(tmp_path / "b.npz", {"y": labels, "x": reviews}, compress=True)
    write_npz(tmp_path / "c.npz", {"x": read.ragged([reviews[0], np.array([5], np.int32)]), "y": labels})
    digests = [files.content_digest(tmp_path / f"{name}.npz") for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_a_data_file_cannot_run_code(tmp_path):
    """An npz whose pickle names a function of the system is refused before anything of it is called."""
    touched = tmp_path / "touched"
    payload = f"cos\nsystem\n(S'touch {touched}'\ntR.".encode()
    header = tmp_path / "header.npy"
    with header.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with zipfile.ZipFile(tmp_path / "mnist.npz", "w") as archive:
        archive.writestr("x_train.npy", header.read_bytes() + payload)
    with pytest.raises(ValueError, match=r"would load os\.system"):
        read.npz(tmp_path / "mnist.npz")
    with pytest.raises(DataError):
        datasets.resolve("mnist", tmp_path)
    assert not touched.exists()


def test_an_unknown_data_set_is_met_with_a_suggestion():
    """A typing mistake is a usage error that names the nearest data set."""
    with pytest.raises(UsageError, match="did you mean mnist"):
        datasets.resolve("mnits")


def test_status_reports_a_wrong_file_instead_of_raising(published, tmp_path):
    """The overview lists all data sets, with the tier of each, what is missing and what is wrong."""
    (published / "mnist.npz").write_bytes(b"wrong")
    rows = {row.dataset: row for row in datasets.status(published)}
    assert list(rows) == list(DATASETS)
    assert rows["iris"].tier is Tier.FULL
    assert "as published" in rows["mnist"].problem
    assert rows["imdb"].missing == ("imdb.npz", "imdb_word_index.json")


# ---------------------------------------------------------------- carrying


def test_what_is_exported_can_be_imported_elsewhere(published, tmp_path):
    """The carried folder holds the files and their digests, and importing it gives the full tier."""
    assert datasets.export(tmp_path / "stick", data_folder=published) == ("iris",)
    manifest = json.loads((tmp_path / "stick" / "manifest.json").read_text())
    digest = hashlib.sha256((published / "iris_test.csv").read_bytes()).hexdigest()
    assert manifest["files"]["iris_test.csv"]["sha256"] == digest
    assert datasets.import_(tmp_path / "stick", data_folder=tmp_path / "lab" / "datasets") == ("iris",)
    assert datasets.resolve("iris", tmp_path / "lab" / "datasets").tier is Tier.FULL
    assert sorted(path.name for path in (tmp_path / "lab" / "datasets").iterdir()) == [
        "iris_test.csv",
        "iris_training.csv",
    ]


def test_import_replaces_a_wrong_file(published, tmp_path):
    """Importing is the way out of a wrong file, so it must not stop at one."""
    datasets.export(tmp_path / "stick", data_folder=published)
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "iris_test.csv").write_text("wrong")
    datasets.import_(tmp_path / "stick", data_folder=tmp_path / "lab")
    assert datasets.resolve("iris", tmp_path / "lab").tier is Tier.FULL


def test_a_damaged_folder_is_refused_whole(published, tmp_path):
    """One damaged, missing or unknown file, or no manifest, and nothing at all is put in place."""
    stick, lab = tmp_path / "stick", tmp_path / "lab"
    datasets.export(stick, data_folder=published)
    whole = (stick / "iris_test.csv").read_bytes()
    (stick / "iris_test.csv").write_bytes(whole[:-5])
    with pytest.raises(DataError, match="was damaged on the way"):
        datasets.import_(stick, data_folder=lab)
    (stick / "iris_test.csv").unlink()
    with pytest.raises(DataError, match="missing"):
        datasets.import_(stick, data_folder=lab)
    (stick / "iris_test.csv").write_bytes(whole)
    listing = (stick / "manifest.json").read_text()
    (stick / "manifest.json").write_text(listing.replace('"iris_test.csv"', '"../../.bashrc"'))
    with pytest.raises(DataError, match="unknown file"):
        datasets.import_(stick, data_folder=lab)
    (stick / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        datasets.import_(stick, data_folder=lab)
    (stick / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"has no manifest\.json"):
        datasets.import_(stick, data_folder=lab)
    assert not lab.exists()


def test_a_forged_manifest_does_not_make_a_wrong_file_right(published, tmp_path):
    """The manifest finds damage; what counts as the data set is decided by the published digests."""
    stick = tmp_path / "stick"
    datasets.export(stick, data_folder=published)
    old = hashlib.sha256((stick / "iris_test.csv").read_bytes()).hexdigest()
    (stick / "iris_test.csv").write_text("30,4,setosa,versicolor,virginica\n")
    new = hashlib.sha256((stick / "iris_test.csv").read_bytes()).hexdigest()
    (stick / "manifest.json").write_text((stick / "manifest.json").read_text().replace(old, new))
    with pytest.raises(DataError, match="as published"):
        datasets.import_(stick, data_folder=tmp_path / "lab")


def test_there_must_be_something_to_export(published, tmp_path):
    """An empty data folder, a set that is not there, and a folder onto itself are told in one line."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no full data to export"):
        datasets.export(tmp_path / "stick", data_folder=tmp_path / "empty")
    with pytest.raises(DataError, match="mnist is incomplete"):
        datasets.export(tmp_path / "stick", data_folder=published, dataset_ids=["mnist"])
    with pytest.raises(DataError, match="is the data folder itself"):
        datasets.export(published, data_folder=published)


# ---------------------------------------------------------------- fetching


def test_a_mirror_gives_the_full_tier(served, tmp_path):
    """Files from a mirror in the layout of a cache folder are verified and put in place."""
    folder = datasets.fetch("iris", served, data_folder=tmp_path / "cache")
    assert datasets.resolve("iris", folder).tier is Tier.FULL
    assert sorted(path.name for path in folder.iterdir()) == ["iris_test.csv", "iris_training.csv"]


def test_a_mirror_with_a_wrong_file_leaves_nothing_behind(served, published, tmp_path):
    """What a mirror sends is believed only by its digest, and nothing of it stays."""
    (published / "iris_test.csv").write_text("<html>please log in</html>")
    with pytest.raises(DataError, match="as published"):
        datasets.fetch("iris", served, data_folder=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_file_that_a_mirror_lacks_is_named(served, tmp_path):
    """A missing file is told with its address."""
    with pytest.raises(DataError, match=r"/mnist\.npz: cannot be downloaded: .*404"):
        datasets.fetch("mnist", served, data_folder=tmp_path / "cache")


@pytest.mark.parametrize("mirror", ["", "http://127.0.0.1:9/data"])
def test_fetching_without_a_network_says_so_at_once(mirror, published, tmp_path, monkeypatch):
    """Neither the public address nor a mirror that does not answer costs more than a moment or a traceback."""
    monkeypatch.setenv("no_proxy", "*")
    begun = time.monotonic()
    with pytest.raises(DataError, match="cannot be downloaded") as error:
        datasets.fetch("iris", mirror, data_folder=tmp_path / "cache")
    assert time.monotonic() - begun < 2
    assert "grader data import" in one_line(error)


def test_a_silent_server_is_given_up(published, tmp_path):
    """A server that takes the connection and says nothing is left after the time-out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(DataError, match=r"cannot be downloaded: .*timed out"):
            datasets.fetch("iris", mirror, data_folder=tmp_path / "cache", timeout=0.2)
        assert time.monotonic() - begun < 2


def test_a_mirror_is_a_web_address(tmp_path):
    """Any other scheme is refused before it is opened."""
    with pytest.raises(DataError, match="a mirror begins with"):
        datasets.fetch("iris", "ftp://example.org", data_folder=tmp_path / "cache")


@pytest.mark.slow
def test_keras_itself_downloads_into_the_cache(served, published, tmp_path, monkeypatch):
    """Without a mirror Keras's own download runs in the kernel's interpreter; a genuine file is put in place."""
    monkeypatch.setenv("no_proxy", "*")
    known = DATASETS["iris"]
    here = tuple(msgspec.structs.replace(file, url=f"{served}/{file.path}") for file in known.files)
    monkeypatch.setitem(DATASETS, "iris", msgspec.structs.replace(known, files=here))
    folder = datasets.fetch("iris", data_folder=tmp_path / "cache")
    assert datasets.resolve("iris", folder).tier is Tier.FULL


def test_an_interpreter_without_keras_is_told_in_one_line(served, published, tmp_path, monkeypatch):
    """Whatever ends Keras's loader, its last line is the message."""
    monkeypatch.setenv("no_proxy", "*")
    known = DATASETS["iris"]
    here = tuple(msgspec.structs.replace(file, url=f"{served}/{file.path}") for file in known.files)
    monkeypatch.setitem(DATASETS, "iris", msgspec.structs.replace(known, files=here))
    broken = tmp_path / "python"
    broken.write_text(
        "#!/bin/sh\necho 'Traceback' >&2\necho \"ModuleNotFoundError: No module named 'keras'\" >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    with pytest.raises(DataError, match="loader failed: ModuleNotFoundError: No module named 'keras'"):
        datasets.fetch("iris", data_folder=tmp_path / "cache", python=broken)


# ---------------------------------------------------------------- the published data


@needs_real_data
@pytest.mark.parametrize("name", DATASETS)
def test_the_published_files_are_recognised(name):
    """The real files, by bytes and by content, have the digests and the sizes that the registry states."""
    source = datasets.resolve(name, Path(REAL), Tier.FULL)
    data = datasets.load(source)
    assert (len(data.train), len(data.test)) == DATASETS[name].rows[Tier.FULL]
    for file in DATASETS[name].files:
        assert files.file_digest(Path(REAL) / file.path) in file.sha256
        assert files.content_digest(Path(REAL) / file.path) == file.content
