"""What is peculiar to the overfitting lab."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from grader import heldout, wire
from grader.checks.marks import CheckFailed, Mark, running
from grader.datasets import resolve
from grader.heldout.mount import mounted
from grader.labs import Lab, load_lab
from grader.labs.starter import read_reference, reference_path, source
from grader.records import Evidence, Tier

LAB = Path(__file__).parents[2] / "labs" / "overfitting"
MODELS = ("baseline", "smaller", "bigger", "l2", "dropout")


@pytest.fixture(scope="module")
def lab() -> Lab:
    return load_lab(LAB)


@pytest.fixture(scope="module")
def suite():
    spec = importlib.util.spec_from_file_location("overfitting_suite", LAB / "hidden_tests" / "test_overfitting.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def source_of_reviews():
    return resolve("imdb", tier=Tier.LITE)


@pytest.fixture(scope="module")
def drawn(source_of_reviews):
    return heldout.draw("overfitting", source_of_reviews, "secret", "ab" * 32)


def test_the_reference_makes_every_model_and_keeps_every_history(lab):
    """What the contract demands is what the reference does."""
    reference = read_reference(reference_path(LAB.parent, "overfitting"))
    text = "\n".join(source(cell) for cell in reference["cells"] if cell["cell_type"] == "code")
    assert set(lab.contract) == {f"{m}_{what}" for m in MODELS for what in ("model", "history")} | {
        "multi_hot_sequences"
    }
    for model in MODELS:
        epochs = 5 if model in ("smaller", "bigger") else 10
        assert f"{model}_history = train({model}_model, epochs={epochs})" in text


def test_snapshots_are_taken_where_models_are_compared(lab, suite):
    """One in the few epochs of the bigger model and at their end, and one where the others end."""
    assert lab.snapshots == (1, suite.FEW, suite.MANY)
    assert lab.contract["bigger_model"].max_parameters == suite.MOST_PARAMETERS
    largest = 10_000 * 512 + 512 + 512 * 512 + 512 + 512 + 1
    assert largest <= suite.MOST_PARAMETERS
    assert 3 * 4 * suite.MOST_PARAMETERS + 4 * 3 * 4 * 160_305 < wire.SNAPSHOTS_CAP


def test_reviews_trained_on_are_those_that_load_data_puts_first(suite, source_of_reviews, drawn, tmp_path, monkeypatch):
    """Keras shuffles the file; the suite asks about the first of the shuffled ones, with their own labels."""
    monkeypatch.setattr(suite, "TRAINED_ON", 1000)
    with np.load(mounted("imdb", source_of_reviews, "secret", tmp_path) / "imdb.npz", allow_pickle=True) as file:
        reviews, labels = file["x_train"], file["y_train"]
    order = np.arange(len(reviews))
    np.random.RandomState(113).shuffle(order)  # as keras.datasets.imdb.load_data does
    moved = [(np.array([1, *(word + 3 for word in reviews[row])]), int(labels[row])) for row in order[:1000]]
    first = {(tuple(np.where(review < suite.WORDS, review, 2)), label) for review, label in moved}
    rows, asked = suite.seen_reviews(drawn)
    told = {(tuple(review), int(label)) for review, label in zip(rows.reviews(), asked, strict=True)}
    assert told == first


def test_reviews_cross_as_rows_of_0_and_1(suite, drawn):
    """One byte a word, and the same on the tape whenever they are asked about again."""
    few = drawn.subset(30)
    rows = suite.unseen_reviews(few)
    sent = rows.array()
    assert (sent.shape, sent.dtype) == ((30, suite.WORDS), np.uint8)
    for row, review in zip(sent, few.reviews(), strict=True):
        assert set(np.flatnonzero(row)) == set(review)
    assert rows.key == suite.unseen_reviews(few).key
    assert rows.key != suite.unseen_reviews(drawn.subset(20)).key
    assert rows.key != suite.seen_reviews(few)[0].key


def test_cross_entropy_is_that_of_the_labels_alone(suite):
    """No penalty, and no infinity where a model is sure and wrong."""
    labels = np.array([1, 0, 1])
    assert suite.cross_entropy(np.array([0.5, 0.5, 0.5]), labels) == pytest.approx(np.log(2))
    assert suite.cross_entropy(np.array([1.0, 0.0, 1.0]), labels) == pytest.approx(0, abs=1e-6)
    assert suite.cross_entropy(np.array([0.0, 1.0, 0.0]), labels) == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize(
    ("kinds", "right"),
    [
        (["Dense", "Dropout", "Dense", "Dropout", "Dense"], True),
        (["Dense", "Dense", "Dropout", "Dense"], True),
        (["Dropout", "Dense", "Dense", "Dense"], False),
        (["Dense", "Dense", "Dense", "Dropout"], False),
        (["Dense", "Dropout", "Dense", "Dense", "Dropout"], False),
        (["Dense", "Dense", "Dense"], False),
    ],
)
def test_dropout_belongs_between_the_hidden_layers_and_the_output(suite, kinds, right):
    """Before them it is another technique, after the output a mistake; with a rate of 0 it is none."""
    rows = [{"kind": kind, "config": {"rate": 0.5} if kind == "Dropout" else {}} for kind in kinds]
    assert suite.drops(rows) is right
    for row in rows:
        row["config"] = {"rate": 0.0}
    assert suite.drops(rows) is False


def test_thresholds_are_those_of_the_calibration(lab):
    """Each tier has every threshold, and calibration.md gives the figures that lab.toml uses."""
    text = (LAB / "calibration.md").read_text(encoding="utf-8")
    for tier in Tier:
        for name in ("rise", "l2_gap", "dropout_gap", "learned"):
            limit = lab.threshold(tier, name)
            assert f"| {name} | {tier.value} | {limit.floor:.2f} | {limit.full:.2f} |" in text


@pytest.mark.parametrize("name", ["handout.md", "handout.zh.md"])
def test_the_handout_names_what_is_graded(lab, name):
    """Both handouts tell the epochs, the cap on parameters and how to check oneself."""
    text = (LAB / name).read_text(encoding="utf-8")
    assert f"{lab.contract['bigger_model'].max_parameters:,}" in text
    assert re.search(r"1[,、] ?5 ?(and|、|,) ?10", text)
    for word in ("float32", "x_train.shape", "batch_size=128", "grader check overfitting.ipynb"):
        assert word in text


def asked_for_encoding(suite, drawn, function):
    """(share of the points, what is said) of a notebook with this multi_hot_sequences."""

    def answered(sequences, dimension):
        try:
            return function(sequences, dimension)
        except IndexError as error:
            raise CheckFailed(f"it raised {error}") from None

    with running(Mark("encoding", 20, Evidence.VERIFIED)) as record:
        suite.test_multi_hot_encoding(SimpleNamespace(multi_hot_sequences=answered), drawn)
    return record.fraction, record.found


def with_index(make_index):
    def multi_hot_sequences(sequences, dimension):
        results = np.zeros((len(sequences), dimension), dtype="float32")
        for row, words in enumerate(sequences):
            results[row, make_index(words)] = 1.0
        return results

    return multi_hot_sequences


def test_an_empty_review_costs_one_point_and_no_more(suite, drawn):
    """`np.array([])` holds floats and is no index: right for every review of the data, wrong for a review without words."""
    assert asked_for_encoding(suite, drawn, with_index(list))[0] == 1
    fraction, found = asked_for_encoding(suite, drawn, with_index(np.array))
    assert fraction == pytest.approx(19 / 20)
    assert "an empty review, one without any known word" in found
    assert "another dimension" not in found


@pytest.mark.parametrize(("name", "told"), [("handout.md", "a review may be empty"), ("handout.zh.md", "评论可能为空")])
def test_students_are_told_that_a_review_may_be_empty(name, told):
    """In both handouts, and by the public suite's own description."""
    assert told in (LAB / name).read_text(encoding="utf-8")
    public = (LAB / "public_tests" / "test_overfitting_public.py").read_text(encoding="utf-8")
    assert "a review may be empty" in public
