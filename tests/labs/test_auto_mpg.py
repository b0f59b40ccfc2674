"""What is peculiar to the auto_mpg lab: its yardstick is a linear model, and its suite reads data frames."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from grader.datasets import resolve
from grader.heldout import draw
from grader.labs import load_lab
from grader.labs.starter import read_reference, source, starter
from grader.records import Evidence, Tier

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "auto_mpg"
REFERENCE = ROOT / "reference_solutions" / "auto_mpg.ipynb"
HANDOUTS = ("handout.md", "handout.zh.md")


@pytest.fixture(scope="module")
def lab():
    """The lab as the grader loads it."""
    return load_lab(FOLDER)


@pytest.fixture(scope="module")
def reference():
    """The reference notebook."""
    return read_reference(REFERENCE)


@pytest.fixture(scope="module")
def suite():
    """The hidden suite as a module, for its own functions."""
    path = FOLDER / "hidden_tests" / "test_auto_mpg.py"
    spec = importlib.util.spec_from_file_location("hidden_suite_of_auto_mpg", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def heldout():
    """The draw of one submission, from the data that comes with the package."""
    return draw("auto_mpg", resolve("auto_mpg", None, Tier.LITE), "a secret of these tests", "0" * 64)


def code(notebook):
    """The sources of a notebook's code cells."""
    return [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_points_for_skill_rest_on_verified_evidence(lab):
    """What only a right model or a right function earns is never merely observed."""
    evidence = {check.id: check.evidence for check in lab.checks}
    assert {evidence[name] for name in ("error", "normalization", "columns")} == {Evidence.VERIFIED}


def test_both_tiers_share_one_threshold(lab):
    """The table is so small that the lite copy is the whole of it: the threshold is the same."""
    assert lab.threshold(Tier.FULL, "error") == lab.threshold(Tier.LITE, "error")


def test_what_is_clearly_worse_than_a_linear_model_earns_nothing_for_its_error(lab):
    """Thresholds are shares of the linear model's error: full marks lie below it, the floor a little above."""
    threshold = lab.threshold(Tier.LITE, "error")
    assert threshold.full < 1 < threshold.floor <= 1.1


def test_the_linear_model_is_the_least_squares_one(suite, heldout):
    """The yardstick makes the error that is known for a linear model on these data: about 2.5 MPG."""
    rows = suite.complete(heldout)
    known = ~np.isnan(heldout.inputs.array()[:, 2])
    assert 1.8 < suite.linear_error(heldout, rows, heldout.labels[known]) < 3.4


def test_answering_the_mean_is_far_worse_than_the_linear_model(suite, heldout):
    """A constant prediction lies beyond the floor, whatever the draw."""
    known = ~np.isnan(heldout.inputs.array()[:, 2])
    constant = np.abs(heldout.labels[known] - np.median(heldout.labels)).mean()
    assert constant > 1.5 * suite.linear_error(heldout, suite.complete(heldout), heldout.labels[known])


def test_the_yardstick_never_saw_the_withheld_cars(suite, heldout):
    """No withheld car is among the cars that the linear model and the notebook are fitted to."""
    mounted = {row.tobytes() for row in suite.mounted_cars(heldout).inputs}
    assert not mounted & {row.tobytes() for row in heldout.plain.array()}


def test_a_data_frame_that_crossed_is_read_as_its_columns(suite):
    """What pandas gives arrives as a mapping of columns and becomes one table, booleans as 0 and 1."""
    made = suite.table({"a": np.array([1.0, 2.0]), "b": np.array([True, False])})
    assert made.tolist() == [[1.0, 1.0], [2.0, 0.0]]


def test_a_table_of_texts_fails_the_check_and_not_the_suite(suite):
    """Columns of text are the student's mistake, told as such."""
    with pytest.raises(AssertionError, match="not a number"):
        suite.table({"Horsepower": ["130.0", "?"]})


@pytest.mark.parametrize("scale", ["z-scores", "0 to 1"])
def test_every_usual_scaling_counts_as_one_size(suite, heldout, scale):
    """Standardised columns and columns of 0 to 1 are both normalised."""
    rows = suite.complete(heldout)
    made = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    if scale == "0 to 1":
        made = (rows - rows.min(axis=0)) / np.ptp(rows, axis=0)
    assert suite.same_size(made)


def test_raw_columns_do_not_count_as_one_size(suite, heldout):
    """Weights in the thousands beside one-digit codes are not normalised, and dividing all by 5,000 does not help."""
    assert not suite.same_size(suite.complete(heldout))
    assert not suite.same_size(suite.complete(heldout) / 5000)


def test_the_starter_holds_nothing_of_the_solution(reference):
    """What students start from reads the table and leaves columns, model and training to them."""
    left = "\n".join(code(starter(reference)))
    assert "auto-mpg.data" in left
    assert all(word not in left for word in ("Sequential", "def ", "fillna", ".mean(", "EarlyStopping", "history"))


@pytest.mark.parametrize("handout", HANDOUTS)
def test_each_handout_names_every_raw_column(handout, suite):
    """`normalize` is asked with columns that both handouts list."""
    text = (FOLDER / handout).read_text("utf-8")
    assert all(f"| `{column}` |" in text for column in suite.COLUMNS)


def test_the_suites_columns_are_those_of_the_data_set(suite, heldout):
    """A column that moved would be shifted, filled or coded in another's place."""
    assert heldout.columns == suite.COLUMNS


@pytest.mark.parametrize("handout", HANDOUTS)
def test_each_handout_tells_the_most_parameters(handout, lab):
    """The budget of parameters in the handouts is the spec's."""
    assert f"{lab.contract['model'].max_parameters:,}" in (FOLDER / handout).read_text("utf-8")
