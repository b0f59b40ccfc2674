"""Held-out data: what is withheld never reaches the mounted copy, and a draw is exact."""

import csv
import gzip
import hashlib
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from grader import datasets, heldout
from grader.checks.convention import as_trained
from grader.datasets import DATASETS, read
from grader.heldout import chance, transform
from grader.heldout.division import divide
from grader.heldout.reviews import encode, pad
from grader.records import Tier

REAL = os.environ.get("GRADER_DATA", "")
SECRET, ONE, OTHER = "the course's secret", "1" * 64, "2" * 64
TIERS = [(name, Tier.LITE) for name in DATASETS] + [
    pytest.param(
        name,
        Tier.FULL,
        marks=[pytest.mark.skipif(not REAL, reason="GRADER_DATA names no folder with the full data"), pytest.mark.slow],
    )
    for name in DATASETS
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("mounted")


def source_of(name, tier=Tier.LITE):
    return datasets.resolve(name, Path(REAL) if tier is Tier.FULL else None, tier)


def mount(name, tier, cache, secret=SECRET):
    return heldout.mounted(name, source_of(name, tier), secret, cache)


def rows_in(folder, name):
    """Every data row of a mounted folder, read file by file without the grader's help where that is possible."""
    if name in {"iris", "auto_mpg"}:
        texts = [path.read_text() for path in folder.iterdir()]
        return {_numbers(line) for text in texts for line in text.splitlines()}
    if name == "fashion_mnist":
        folder /= "fashion-mnist"
        raw = [
            gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:] for part in ("train", "t10k")
        ]
        return {part[at : at + 784] for part in raw for at in range(0, len(part), 784)}
    arrays = read.npz(folder / f"{name}.npz")
    return {np.ascontiguousarray(row).tobytes() for split in ("x_train", "x_test") for row in arrays[split]}


def _numbers(line):
    """A table's row as its measurements, without label, car name or spacing."""
    cells = line.split("\t")[0].split() if "\t" in line else line.split(",")[:4]
    return tuple(cells)


# ---------------------------------------------------------------- the mounted copy


@pytest.mark.parametrize(("name", "tier"), TIERS)
def test_the_mounted_copy_holds_no_withheld_row(name, tier, cache):
    """Not one withheld row, nor a twin of one, is in any file that the sandbox sees; all others are."""
    parts = divide(source_of(name, tier), SECRET)
    if parts.withheld.lines:
        withheld = {_numbers(line) for line in parts.withheld.lines}
        left = {_numbers(line) for line in parts.train.lines + parts.test.lines}
    else:
        withheld = {np.ascontiguousarray(row).tobytes() for row in parts.withheld.inputs}
        left = {np.ascontiguousarray(row).tobytes() for split in (parts.train, parts.test) for row in split.inputs}
    mounted = rows_in(mount(name, tier, cache), name)
    assert len(withheld) == len(parts.withheld) == DATASETS[name].withheld[tier]
    assert not withheld & mounted
    assert left <= mounted


@pytest.mark.parametrize(("name", "tier"), TIERS)
def test_the_withheld_half_is_stratified(name, tier):
    """Every class is withheld in its proportion, to within one row."""
    source = source_of(name, tier)
    data, parts = datasets.load(source), divide(source, SECRET)
    pool = np.concatenate([data.train.labels, data.test.labels]) if name == "iris" else data.test.labels
    if name == "auto_mpg":
        pool, withheld = data.train.inputs[:, -1].astype(int), parts.withheld.inputs[:, -1].astype(int)
    else:
        withheld = parts.withheld.labels
    expected = np.bincount(pool) * len(withheld) / len(pool)
    # A row with a twin is never withheld, so a class with many twins may be a few short.
    assert np.abs(np.bincount(withheld, minlength=len(expected)) - expected).max() <= max(1, 0.02 * expected.max())


@pytest.mark.parametrize(
    ("tier", "train", "test"),
    [
        (Tier.LITE, 8_000, 2_000),
        pytest.param(Tier.FULL, 60_000, 10_000, marks=pytest.mark.skipif(not REAL, reason="GRADER_DATA is not set")),
    ],
)
def test_mounted_digits_have_the_shapes_of_the_tutorials(tier, train, test, cache):
    """numpy reads the mounted npz, without pickle, in the shapes that load_data() gives."""
    with np.load(mount("mnist", tier, cache) / "mnist.npz", allow_pickle=False) as arrays:
        assert arrays["x_train"].shape == (train, 28, 28)
        assert arrays["x_test"].shape == (test, 28, 28)
        assert arrays["y_train"].shape == (train,)
        assert arrays["y_test"].dtype == np.uint8
        tiled = arrays["x_test"]
        assert (tiled[: test // 2] == tiled[test // 2 :]).all()
        assert len({row.tobytes() for row in tiled}) == test // 2


def test_mounted_clothing_has_the_idx_layout_that_keras_parses(cache):
    """Read as keras.datasets.fashion_mnist reads: gzip, 8 and 16 bytes of header, uint8."""
    folder = mount("fashion_mnist", Tier.LITE, cache) / "fashion-mnist"
    for part, rows in (("train", 5_200), ("t10k", 1_300)):
        labels = np.frombuffer(
            gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
        )
        images = np.frombuffer(
            gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
        )
        assert len(labels) == rows
        assert images.reshape(rows, 28, 28).max() == 255


def test_mounted_reviews_load_as_lists_of_ids(cache):
    """The npz has Keras's keys and object arrays of lists, and every id is in the word index beside it."""
    folder = mount("imdb", Tier.LITE, cache)
    with np.load(folder / "imdb.npz", allow_pickle=True) as arrays:
        assert sorted(arrays.files) == ["x_test", "x_train", "y_test", "y_train"]
        assert isinstance(arrays["x_train"][0], list)
        assert (len(arrays["x_train"]), len(arrays["x_test"])) == (4_000, 2_000)
        highest = max(max(row) for row in arrays["x_test"])
    assert highest <= max(json.loads((folder / "imdb_word_index.json").read_text()).values())


def test_mounted_flowers_come_in_all_the_usual_files(cache):
    """The tutorial's two CSV files, scikit-learn's and UCI's: usual headers and lengths, species balanced."""
    folder = mount("iris", Tier.LITE, cache)
    for name, rows in (("iris_training.csv", 120), ("iris_test.csv", 30), ("iris.csv", 150)):
        table = list(csv.reader((folder / name).read_text().splitlines()))
        assert table[0] == [str(rows), "4", "setosa", "versicolor", "virginica"]
        assert len(table) == rows + 1
        assert [sum(row[4] == label for row in table[1:]) for label in "012"] == [rows // 3] * 3
    assert len(set((folder / "iris_test.csv").read_text().split()[1:])) <= 24
    assert len((folder / "iris.data").read_text().split()) == 150
    test, training = (set((folder / f"iris_{part}.csv").read_text().split()[1:]) for part in ("test", "training"))
    assert len(test & training) <= 2, "only true twins may be in both"


def test_mounted_flowers_are_what_scikit_learn_reads(cache):
    """scikit-learn's own reader takes the mounted iris.csv in the place of its own."""
    from sklearn.datasets import _base

    data, target, names = _base.load_csv_data(str(mount("iris", Tier.LITE, cache) / "iris.csv"))
    assert data.shape == (150, 4)
    assert list(target) == [0] * 50 + [1] * 50 + [2] * 50
    assert list(names) == ["setosa", "versicolor", "virginica"]


def test_mounted_cars_are_398_raw_lines(cache):
    """UCI's raw format, every line as published, tiled to 398."""
    lines = (mount("auto_mpg", Tier.LITE, cache) / "auto-mpg.data").read_text().splitlines()
    assert len(lines) == 398
    assert len(set(lines)) == 320
    assert set(lines) <= set(datasets.load(source_of("auto_mpg")).train.lines)


def test_the_copy_is_built_once_and_for_one_secret(cache):
    """The second call finds the folder; another secret has another one, with other rows withheld."""
    first = mount("iris", Tier.LITE, cache)
    before = first.stat().st_ino
    assert mount("iris", Tier.LITE, cache) == first
    assert first.stat().st_ino == before
    other = mount("iris", Tier.LITE, cache, secret="another")
    assert other != first
    assert rows_in(other, "iris") != rows_in(first, "iris")
    assert SECRET not in first.name


def test_the_copy_is_the_same_bytes_on_every_machine(cache, tmp_path):
    """Two builds agree in names, bytes, modes and dates."""

    def listing(folder):
        return {
            str(path.relative_to(folder)): (path.stat().st_mode, path.stat().st_mtime, _content(path))
            for path in folder.rglob("*")
        }

    for name in DATASETS:
        one, two = mount(name, Tier.LITE, cache), mount(name, Tier.LITE, tmp_path)
        assert one.name == two.name
        assert listing(one) == listing(two)


def _content(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def test_the_copy_is_readable_by_any_user_whatever_the_umask(tmp_path):
    """The sandbox runs as a user of its own: files are 0644, folders 0755."""
    before = os.umask(0o077)
    try:
        folder = mount("fashion_mnist", Tier.LITE, tmp_path)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [folder, folder / "fashion-mnist"]}
    assert modes == {0o755}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*.gz")} == {0o644}


def test_a_build_that_fails_leaves_nothing_that_looks_finished(tmp_path, monkeypatch):
    """A folder appears under its name only when it is whole."""
    monkeypatch.setattr("grader.heldout.mount._publish", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mount("iris", Tier.LITE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_losing_the_race_to_build_is_no_error(tmp_path, monkeypatch):
    """Another worker that finished first has built the same folder; it is used."""
    import grader.heldout.mount as module

    publish = module._publish
    monkeypatch.setattr(
        module, "_publish", lambda folder: (publish(folder), _build_meanwhile(tmp_path, publish, monkeypatch))
    )
    folder = mount("iris", Tier.LITE, tmp_path)
    assert (folder / "iris.csv").is_file()
    assert list(tmp_path.iterdir()) == [folder]


def _build_meanwhile(cache, publish, monkeypatch):
    monkeypatch.setattr("grader.heldout.mount._publish", publish)
    mount("iris", Tier.LITE, cache)


# ---------------------------------------------------------------- the draw


@pytest.mark.parametrize("name", DATASETS)
def test_the_same_bytes_meet_the_same_draw(name):
    """Key, rows, values, labels, seed and batch size repeat exactly."""
    one, two = (heldout.draw("lab", source_of(name), SECRET, ONE) for _ in range(2))
    for attribute in ("inputs", "plain", "public_inputs"):
        a, b = getattr(one, attribute), getattr(two, attribute)
        assert a.key == b.key
        np.testing.assert_array_equal(a.array(), b.array())
    np.testing.assert_array_equal(one.labels, two.labels)
    assert (one.seed, one.batch_size) == (two.seed, two.batch_size)


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("changed", ["lab", "secret", "submission"])
def test_other_bytes_another_lab_or_another_course_meet_another_draw(name, changed):
    """Each of the three ingredients changes the key, the values and the kernel's seed."""
    parts = {"lab": "lab", "secret": SECRET, "submission": ONE}
    new = parts | {changed: OTHER}
    one, two = (heldout.draw(p["lab"], source_of(name), p["secret"], p["submission"]) for p in (parts, new))
    assert one.inputs.key != two.inputs.key
    assert one.seed != two.seed
    assert not np.array_equal(one.inputs.array(), two.inputs.array(), equal_nan=True)


def test_a_draw_is_the_same_after_an_upgrade():
    """Numbers written down once: a change of NumPy or of this code that moves a draw would make regrades wrong."""
    assert chance.seed_of("s", "a", "b") % 2**32 == 203_695_160
    assert chance.permutation(7, 8).tolist() == [6, 3, 4, 0, 2, 7, 5, 1]
    np.testing.assert_allclose(chance.uniform(7, 1, 2)[0], [0.625095466604667, 0.8972138009695755], rtol=0, atol=1e-15)


def test_the_division_is_the_same_for_the_whole_course():
    """Labs, attempts and students share the withheld rows; only order and transformation differ."""
    rows = [
        {row.tobytes() for row in heldout.draw(lab, source_of("iris"), SECRET, sha).plain.array()}
        for lab, sha in (("iris", ONE), ("iris", OTHER), ("another", ONE))
    ]
    assert rows[0] == rows[1] == rows[2]
    assert len(rows[0]) == 30


@pytest.mark.parametrize("name", DATASETS)
def test_labels_belong_to_their_rows(name):
    """Each untransformed row, found in the data set again, has the label that the draw gives it."""
    source = source_of(name)
    drawn, data = heldout.draw("lab", source, SECRET, ONE), datasets.load(source)
    plain, public = drawn.plain.array(), drawn.public_inputs.array()
    table = {}
    for split in (data.train, data.test):
        inputs = pad(encode(split.inputs)) if name == "imdb" else split.inputs
        table |= {row.tobytes(): label for row, label in zip(inputs, split.labels, strict=True)}
    for values, labels in ((plain, drawn.labels), (public, drawn.public_labels)):
        rows = np.round(values * 255).astype(np.uint8) if "mnist" in name else values
        assert [table[row.tobytes()] for row in rows] == list(labels)
        assert len(values) == len(labels)


@pytest.mark.parametrize("name", DATASETS)
def test_public_rows_are_mounted_and_held_out_rows_are_not(name, cache):
    """The gap between public and held-out accuracy means something only if the two are what they say."""
    drawn = heldout.draw("lab", source_of(name), SECRET, ONE)
    mounted = rows_in(mount(name, Tier.LITE, cache), name)
    if name in {"mnist", "fashion_mnist"}:
        public, plain = (
            {row.tobytes() for row in np.round(part.array() * 255).astype(np.uint8)}
            for part in (drawn.public_inputs, drawn.plain)
        )
        assert public <= mounted
        assert not plain & mounted
    assert not {r.tobytes() for r in drawn.public_inputs.array()} & {r.tobytes() for r in drawn.plain.array()}


def test_nothing_is_computed_before_an_array_is_asked_for(monkeypatch):
    """Keys, lengths and seeds are known without opening the data, so a regrade costs nothing."""
    monkeypatch.setattr("grader.heldout.drawing.divide", lambda *_: pytest.fail("the data was opened"))
    drawn = heldout.draw("lab", source_of("mnist"), SECRET, ONE)
    variants = [drawn.inputs, drawn.plain, drawn.public_inputs, drawn.shifted(), drawn.inputs.subset(5)]
    variants += [
        drawn.inputs.scaled(0, 255),
        drawn.inputs.shaped(784),
        drawn.scaled(-1, 1).inputs,
        drawn.subset(9).inputs,
    ]
    assert len({variant.key for variant in variants}) == len(variants)
    assert [len(variant) for variant in variants] == [800, 800, 800, 800, 5, 800, 800, 800, 9]
    assert drawn.seed < 2**31
    assert 1 <= drawn.batch_size <= 64


def test_a_key_and_a_repr_give_no_secret_away():
    """Keys lie on the tape and reprs in logs; neither holds the secret."""
    drawn = heldout.draw("lab", source_of("iris"), SECRET, ONE)
    assert SECRET not in drawn.inputs.key + repr(drawn) + repr(drawn.inputs)


@pytest.mark.parametrize(("name", "tier"), TIERS)
def test_lengths_told_in_advance_are_true(name, tier):
    """The registry's numbers and the arrays agree, in every variant."""
    drawn = heldout.draw("lab", source_of(name, tier), SECRET, ONE)
    for part in (drawn.inputs, drawn.plain, drawn.public_inputs):
        assert len(part) == len(part.array())
    assert len(drawn) == len(drawn.labels) == len(drawn.inputs)
    assert len(drawn.public_labels) == len(drawn.public_inputs)


def test_a_subset_is_the_beginning_of_the_draw():
    """Rows, their transformation and their labels do not change when fewer are asked for."""
    drawn = heldout.draw("lab", source_of("mnist"), SECRET, ONE)
    few = drawn.subset(50)
    np.testing.assert_array_equal(few.inputs.array(), drawn.inputs.array()[:50])
    np.testing.assert_array_equal(few.labels, drawn.labels[:50])
    np.testing.assert_array_equal(drawn.inputs.subset(50).array(), drawn.inputs.array()[:50])


def test_pixels_come_in_the_range_and_shape_asked_for():
    """0..1 unless said otherwise; a model that was fed 0..255 or vectors of 784 is asked in those."""
    drawn = heldout.draw("lab", source_of("mnist"), SECRET, ONE)
    pixels = drawn.inputs.array()
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() < 0.01
    assert 0.9 < pixels.max() <= 1
    np.testing.assert_allclose(drawn.scaled(0, 255).inputs.array(), pixels * 255, atol=1e-4)
    np.testing.assert_allclose(drawn.inputs.scaled(-1, 1).array(), pixels * 2 - 1, atol=1e-6)
    assert drawn.inputs.shaped(28, 28, 1).array().shape == (800, 28, 28, 1)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0


# ---------------------------------------------------------------- transformations


def test_the_mild_transformation_is_mild_and_misses_no_image():
    """Every digit changes, none by more than what half a pixel, five degrees and a fifth of brightness can do."""
    drawn = heldout.draw("lab", source_of("mnist"), SECRET, ONE)
    plain, mild = drawn.plain.array(), drawn.inputs.array()
    assert (np.abs(mild - plain).max(axis=(1, 2)) > 0.02).all()
    ratio = mild.sum(axis=(1, 2)) / plain.sum(axis=(1, 2))
    assert 0.78 < ratio.min() < 0.82
    assert 0.98 < ratio.max() < 1.02
    moved = _centres(mild) - _centres(plain)
    assert 0.3 < np.abs(moved).max() < 1.0


def _centres(images):
    mass = images.sum(axis=(1, 2))
    grid = np.arange(28)
    return np.stack([(images.sum(axis=2) @ grid) / mass, (images.sum(axis=1) @ grid) / mass], axis=1)


def test_shifted_moves_by_exactly_one_pixel_and_darkens():
    """Each digit lies one pixel away in one of eight directions, between 70 and 100 % as bright."""
    drawn = heldout.draw("lab", source_of("mnist"), SECRET, ONE)
    plain, shifted = drawn.plain.array(), drawn.shifted(pixels=1, brightness=0.7).array()
    moved = np.round(_centres(shifted) - _centres(plain), 2)
    inside = plain[:, [0, -1]].sum(axis=(1, 2)) + plain[:, :, [0, -1]].sum(axis=(1, 2)) == 0
    assert {tuple(np.abs(step)) for step in moved[inside]} == {(0, 1), (1, 0), (1, 1)}
    ratio = (shifted.sum(axis=(1, 2)) / plain.sum(axis=(1, 2)))[inside]
    assert 0.699 < ratio.min() < 0.72
    assert 0.98 < ratio.max() <= 1.0001


def test_warp_agrees_with_the_definition_pixel_by_pixel():
    """Vectorised and blockwise or one pixel at a time by the formula: the same picture."""
    images = np.random.default_rng(0).random((3, 9, 9)).astype(np.float32)
    shifts, angles = np.array([[0.4, -0.3], [0, 0], [-2, 9]]), np.array([0.08, 0.5, 0.0])
    expected = np.zeros_like(images)
    for n, y, x in np.ndindex(images.shape):
        dy, dx = y - 4 - shifts[n, 0], x - 4 - shifts[n, 1]
        fy = np.cos(angles[n]) * dy + np.sin(angles[n]) * dx + 4
        fx = np.cos(angles[n]) * dx - np.sin(angles[n]) * dy + 4
        for cy in (int(np.floor(fy)), int(np.floor(fy)) + 1):
            for cx in (int(np.floor(fx)), int(np.floor(fx)) + 1):
                if 0 <= cy < 9 and 0 <= cx < 9:
                    expected[n, y, x] += images[n, cy, cx] * (1 - abs(fy - cy)) * (1 - abs(fx - cx))
    np.testing.assert_allclose(transform.warp(images, shifts, angles), expected, atol=1e-5)


def test_measurement_noise_is_smaller_than_a_measurement():
    """Flowers move by at most 0.05 cm, a car's measured columns by one percent, its counts and codes not at all."""
    flowers = heldout.draw("lab", source_of("iris"), SECRET, ONE)
    gap = np.abs(flowers.inputs.array() - flowers.plain.array())
    assert 0.045 < gap.max() <= 0.0501
    cars = heldout.draw("lab", source_of("auto_mpg"), SECRET, ONE)
    plain, noisy = cars.plain.array(), cars.inputs.array()
    np.testing.assert_array_equal(noisy[:, [0, 5, 6]], plain[:, [0, 5, 6]])
    share = np.abs(noisy[:, [1, 3, 4]] / plain[:, [1, 3, 4]] - 1)
    assert 0.009 < share.max() < 0.0101
    np.testing.assert_array_equal(np.isnan(noisy), np.isnan(plain))


def test_one_token_in_twenty_is_dropped_and_the_order_kept():
    """What is left of a review is a subsequence of it, 5 % shorter; a one-word review stays."""
    reviews = read.ragged([np.arange(100, dtype=np.int32), np.array([7], np.int32), np.arange(3, dtype=np.int32)])
    dropped = transform.drop_tokens(reviews, 5)
    assert [len(row) for row in dropped] == [95, 1, 2]
    assert (np.diff(dropped[0]) > 0).all()


def test_reviews_are_encoded_and_padded_as_keras_does():
    """Start 1, words moved by 3, rare ones 2; filled after and cut before, or as asked."""
    coded = encode(read.ragged([np.array([1, 5, 9]), np.array([2])]), words=10)
    assert [row.tolist() for row in coded] == [[1, 4, 8, 2], [1, 5]]
    assert pad(coded, 3).tolist() == [[4, 8, 2], [1, 5, 0]]
    assert pad(coded, 3, padding="pre", truncating="post").tolist() == [[1, 4, 8], [0, 1, 5]]


def test_only_images_can_be_shifted():
    """Asking flowers to move is the lab author's mistake and says so."""
    with pytest.raises(TypeError, match="iris has no pixels"):
        heldout.draw("lab", source_of("iris"), SECRET, ONE).shifted()


# ---------------------------------------------------------------- the range that a model wants to be asked in


class Reader:
    """A classifier that reads well in the range it was trained on, and worse elsewhere. ``x``: what its fit recorded."""

    def __init__(self, drawn, home, well=0.92, elsewhere=0.89, x=None):
        self.labels, self.home, self.well, self.elsewhere = drawn.labels, home, well, elsewhere
        self.live, self.asked = None, []
        self.bench = SimpleNamespace(helper=lambda *_, **__: {"fits": [{"x": x or {"type": "_ShuffleDataset"}}]})

    def predict(self, rows):
        values = rows.array()
        self.asked.append((round(float(values.min()), 2), round(float(values.max()), 2)))
        at_home = abs(values.min() - self.home[0]) < 0.05 * (self.home[1] - self.home[0]) and (
            abs(values.max() - self.home[1]) < 0.3 * (self.home[1] - self.home[0])
        )
        wrong = np.arange(len(values)) >= (self.well if at_home else self.elsewhere) * len(values)
        return np.eye(10)[(self.labels[: len(values)] + wrong) % 10]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("scaling", ["0 to 1", "-1 to 1", "standardised"])
def test_a_model_whose_range_was_not_recorded_is_asked_where_it_reads_best(name, scaling):
    """A tf.data data set scaled in `Dataset.map`: -1 to 1 read in 0 to 1 costs three digits in a hundred, all the points."""
    drawn = heldout.draw(name, source_of(name), SECRET, ONE)
    pixels = drawn.public_inputs.array()
    mean, sd = float(pixels.mean()), float(pixels.std())
    low, high = {"0 to 1": (0, 1), "-1 to 1": (-1, 1), "standardised": (-mean / sd, (1 - mean) / sd)}[scaling]
    asked = as_trained(Reader(drawn, (low, high)), drawn)
    assert (asked.low, asked.high) == pytest.approx((low, high))


def test_grey_values_are_asked_only_where_they_are_read_clearly_better():
    """For them points are lost, and a model of 0 to 1 reads them about as well."""
    drawn = heldout.draw("mnist", source_of("mnist"), SECRET, ONE)
    assert as_trained(Reader(drawn, (0, 255), 0.92, 0.89), drawn).high == 1
    assert as_trained(Reader(drawn, (0, 255), 0.87, 0.14), drawn).high == 255


def test_a_range_that_is_better_by_chance_only_is_not_chosen():
    """Two of 800 digits more."""
    drawn = heldout.draw("mnist", source_of("mnist"), SECRET, ONE)
    assert as_trained(Reader(drawn, (-1, 1), 0.9225, 0.92), drawn).low == 0


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 1, (0, 1)), (-1, 1, (-1, 1)), (0, 255, (0, 255)), (-0.42, 2.82, (-0.42, 2.82))]
)
def test_a_model_whose_range_was_recorded_is_asked_in_it_and_nothing_else(low, high, expected):
    """Arrays given to `fit`."""
    drawn = heldout.draw("mnist", source_of("mnist"), SECRET, ONE)
    reader = Reader(drawn, (0, 1), x={"low": low, "high": high})
    asked = as_trained(reader, drawn)
    assert (asked.low, asked.high) == expected
    assert not reader.asked


def test_a_model_that_gives_no_scores_is_asked_once_and_left_to_its_checks():
    """Which range it knows cannot be told, and what is wrong with it is for a check to say."""
    drawn = heldout.draw("mnist", source_of("mnist"), SECRET, ONE)
    reader = Reader(drawn, (0, 1))
    reader.predict = lambda rows: reader.asked.append(rows) or np.zeros((len(rows), 3))
    assert as_trained(reader, drawn) is drawn
    assert len(reader.asked) == 1
