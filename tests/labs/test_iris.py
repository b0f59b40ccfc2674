"""What is peculiar to the iris lab."""

from pathlib import Path

import pytest

from grader.labs import load_lab
from grader.labs.starter import read_reference, source, starter
from grader.records import Evidence, Tier
from grader.rubric import accuracy_credit

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "iris"
REFERENCE = ROOT / "reference_solutions" / "iris.ipynb"


@pytest.fixture(scope="module")
def lab():
    """The lab as the grader loads it."""
    return load_lab(FOLDER)


@pytest.fixture(scope="module")
def reference():
    """The reference notebook."""
    return read_reference(REFERENCE)


def code(notebook):
    """The sources of a notebook's code cells."""
    return [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_points_for_skill_rest_on_verified_evidence(lab):
    """What only a right model or a right function earns is never merely observed."""
    evidence = {check.id: check.evidence for check in lab.checks}
    assert {evidence[name] for name in ("accuracy", "loss", "grad", "consistent")} == {Evidence.VERIFIED}


def test_both_tiers_share_one_threshold(lab):
    """Iris is so small that the lite copy is the whole data set: its threshold is the same."""
    assert lab.threshold(Tier.FULL, "accuracy") == lab.threshold(Tier.LITE, "accuracy")


def test_accuracy_earns_everything_from_22_flowers_of_30_on_and_nothing_below(lab):
    """What every correct style reaches; telling only setosa apart, 20 of 30, is no credit (calibration.md)."""
    threshold = lab.threshold(Tier.LITE, "accuracy")
    assert [accuracy_credit(right, 30, threshold).fraction for right in (20, 21, 22, 27)] == [0.0, 0.0, 1.0, 1.0]


def test_the_starter_holds_nothing_of_the_solution(reference):
    """What students start from reads the data and leaves model, loss, gradients and loop to them."""
    left = "\n".join(code(starter(reference)))
    assert "iris_training.csv" in left
    assert all(word not in left for word in ("Sequential", "GradientTape", "apply_gradients", "softmax", "def "))
