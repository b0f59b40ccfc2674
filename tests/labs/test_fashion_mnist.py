"""What is peculiar to the fashion_mnist lab: how names are read, which images are asked, and what is left in the starter."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

from grader import wire
from grader.checks.convention import trained_range
from grader.checks.marks import CheckFailed
from grader.datasets import known
from grader.labs import load_lab
from grader.probe.encode import plain
from grader.records import Ending, Tier
from grader.runner import RunFacts

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "fashion_mnist"
REFERENCE = ROOT / "reference_solutions" / "fashion_mnist.ipynb"
CONTRACT = ("model", "class_names", "predict_label")


def load_suite():
    """The hidden suite as a module, for its own functions."""
    spec = importlib.util.spec_from_file_location("hidden_fashion", FOLDER / "hidden_tests" / "test_fashion_mnist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SUITE = load_suite()
NAMES = known("fashion_mnist").label_names


def code_cells():
    """The sources of the reference's code cells."""
    return [cell.source for cell in nbformat.read(REFERENCE, as_version=4).cells if cell.cell_type == "code"]


def test_the_starter_keeps_the_data_and_loses_every_contracted_name():
    """What remains outside the solutions loads the data and builds, trains and saves nothing."""
    left = "\n".join(source.split("### BEGIN SOLUTION")[0] for source in code_cells())
    assert "fashion_mnist.load_data()" in left
    assert all(word not in left for word in (*CONTRACT, "/ 255", "Sneaker"))


def test_less_data_asks_for_less():
    """The lite tier, with fewer training images, asks for less than the full one."""
    lab = load_lab(FOLDER)
    for name, full in lab.thresholds[Tier.FULL].items():
        assert lab.threshold(Tier.LITE, name).full < full.full


@pytest.mark.parametrize("handout", ["handout.md", "handout.zh.md"])
def test_each_handout_and_the_notebook_give_the_names_in_the_order_of_the_labels(handout):
    """The row of names that students copy is the one of the data set, in its order."""
    row = "| " + " | ".join(NAMES) + " |"
    assert row in (FOLDER / handout).read_text("utf-8")
    notebook = nbformat.read(REFERENCE, as_version=4)
    assert any(row in cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_every_name_means_its_own_class_and_no_other():
    """A name is right for exactly one label, so that a wrong order cannot pass."""
    for name in NAMES:
        assert [label for label in range(10) if SUITE.names(name, label, NAMES)] == [NAMES.index(name)]


@pytest.mark.parametrize(
    ("said", "label"),
    [("t-shirt", 0), ("T-Shirt/Top", 0), ("trousers", 1), ("DRESS", 3), ("ankle_boot", 9), ("Ankle boots ", 9)],
)
def test_another_way_to_write_a_name_is_the_same_name(said, label):
    """Case, hyphens, spaces and a plural cost nobody a point."""
    assert [at for at in range(10) if SUITE.names(said, at, NAMES)] == [label]


@pytest.mark.parametrize("said", ["", "Shirts and more", "class 3", "3", "Hemd"])
def test_another_text_is_no_name(said):
    """What is not a name of the data set names no class."""
    assert not any(SUITE.names(said, label, NAMES) for label in range(10))


@pytest.mark.parametrize("answer", [3, 3.0, None, ["Bag"], np.array(["Bag"])])
def test_an_answer_that_is_not_text_is_refused(answer):
    """A number or nothing at all is no name, and the student is told."""
    with pytest.raises(CheckFailed, match="predict_label answers with"):
        SUITE.text_of(answer)


def test_images_are_chosen_by_what_the_model_says_and_only_where_it_is_clear():
    """Two images for each class the model chooses; near ties are left out, and a class never chosen has none."""
    scores = np.zeros((8, 10))
    scores[:4, 2] = 0.9
    scores[4:6, 7] = 0.9
    scores[6:, 5], scores[6:, 6] = 0.50, 0.49
    chosen = SUITE.rows_by_choice(scores)
    assert (chosen[2], chosen[7], chosen[5]) == ([0, 1], [4, 5], [])
    assert sum(map(len, chosen)) == 4


def test_no_softmax_of_a_softmax_passes_for_sure():
    """Ten numbers from 0 to 1 put through a softmax stay below the limit, even at their most extreme."""
    certain = np.exp(np.eye(10)[0])
    assert (certain / certain.sum()).max() < SUITE.TWICE < 0.25


def test_a_name_out_of_a_numpy_array_crosses_as_text():
    """`np.array(class_names)[3]` is a NumPy string; it must reach the suite like any other text."""
    kept = np.array(NAMES)
    assert wire.from_value(plain(kept[3])) == "Dress"
    assert wire.from_value(plain(kept)) == list(NAMES)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"fits": [], "moved": 0.3}, (-1.0, 1.0)),
        ({"fits": [], "moved": None}, (0.0, 1.0)),
        ({"fits": [{"x": {"low": 0.0, "high": 255.0}}], "moved": 0.3}, (0.0, 255.0)),
    ],
)
def test_a_model_completed_after_its_training_is_asked_as_what_is_inside_was_trained(record, expected):
    """Logits trained on -1 to 1 and wrapped with a softmax: the wrapper has no fit, but weights that moved."""
    facts = RunFacts(ending=Ending.OK, observed={"fits": [{"x": {"low": -1.0, "high": 1.0}}]})
    bench = SimpleNamespace(facts=facts, helper=lambda *_, **__: record)
    assert trained_range(SimpleNamespace(bench=bench, live=None)) == expected
