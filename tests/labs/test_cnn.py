"""What is peculiar to the cnn lab: its starter, its budget, and the questions about output sizes."""

import importlib.util
import math
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

from grader.labs import load_lab
from grader.records import Tier

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "cnn"
REFERENCE = ROOT / "reference_solutions" / "cnn.ipynb"


def code_cells():
    """The sources of the reference's code cells."""
    return [cell.source for cell in nbformat.read(REFERENCE, as_version=4).cells if cell.cell_type == "code"]


def test_the_starter_keeps_the_data_and_the_functions_head_and_loses_the_rest():
    """What remains outside the solutions loads the data and builds, trains and saves nothing."""
    left = "\n".join(source.split("### BEGIN SOLUTION")[0] for source in code_cells())
    assert "mnist.load_data()" in left
    assert "def conv_output_size(w, f, p, s):" in left
    assert all(word not in left for word in ("model", "cnn.keras", "/ 255", "//", "ValueError"))


def test_the_public_suite_and_the_spec_allow_the_same_number_of_parameters():
    """The public suite's budget of parameters is the one the spec states."""
    most = load_lab(FOLDER).contract["model"].max_parameters
    assert f"\nBUDGET = {most:_}\n" in (FOLDER / "public_tests" / "test_cnn_public.py").read_text("utf-8")


@pytest.mark.parametrize("handout", ["handout.md", "handout.zh.md"])
def test_each_handout_tells_both_limits_of_parameters(handout, suite):
    """The budget, and the size from which on a model is not asked at all."""
    text = (FOLDER / handout).read_text("utf-8")
    assert f"{load_lab(FOLDER).contract['model'].max_parameters:,}" in text
    assert f"{suite.NO_TABLE:,}" in text


def test_less_data_asks_for_less_accuracy():
    """The lite tier, with fewer training digits, asks for less than the full one."""
    lab = load_lab(FOLDER)
    for name, full in lab.thresholds[Tier.FULL].items():
        assert lab.threshold(Tier.LITE, name).full < full.full


# ---------------------------------------------------------------- the questions about output sizes

SEEDS = range(300)


def right(w, f, p, s):
    """The number of places; ValueError as the handout says."""
    if min(w, f, s) < 1 or p < 0 or f > w + 2 * p:
        raise ValueError
    return (w + 2 * p - f) // s + 1


WRONG = {
    "without floor": lambda w, f, p, s: (w + 2 * p - f) / s + 1,
    "rounded": lambda w, f, p, s: round((w + 2 * p - f) / s) + 1,
    "rounded up": lambda w, f, p, s: math.ceil((w + 2 * p - f) / s) + 1,
    "padding ignored": lambda w, f, p, s: (w - f) // s + 1,
    "padding once": lambda w, f, p, s: (w + p - f) // s + 1,
    "without the first place": lambda w, f, p, s: (w + 2 * p - f) // s,
    "stride ignored": lambda w, f, p, s: w + 2 * p - f + 1,
    "padding same": lambda w, f, p, s: math.ceil(w / s),
}


@pytest.fixture(scope="module")
def suite():
    """The hidden suite as a module, for the functions that draw and compare."""
    spec = importlib.util.spec_from_file_location("hidden_test_cnn", FOLDER / "hidden_tests" / "test_cnn.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(suite, seed):
    """(sizes that fill the row, sizes with a rest, sizes that make no sense) of that seed."""
    chance = np.random.default_rng(seed)
    return (*suite.drawn_sizes(chance), suite.impossible_sizes(chance))


def judged(suite, function, even, odd):
    """Whether each of the two parts about sensible sizes would hold for that function."""
    whole = [function(*sizes) for sizes in odd]
    return (
        all(suite.is_size(function(*sizes), *sizes) for sizes in even),
        all(suite.is_size(found, *sizes) and suite.is_whole(found) for found, sizes in zip(whole, odd, strict=True)),
    )


def test_sizes_are_drawn_as_they_are_named(suite):
    """Whatever the draw: no rest in the first list, one in the second, and a ValueError for all of the third."""
    for seed in SEEDS:
        even, odd, impossible = drawn(suite, seed)
        assert all(w >= 1 and (w + 2 * p - f) % s == 0 for w, f, p, s in even)
        assert all(w >= 1 and (w + 2 * p - f) % s > 0 for w, f, p, s in odd)
        for sizes in impossible:
            with pytest.raises(ValueError):  # noqa: PT011 - the handout asks for no message
                right(*sizes)


def test_the_right_formula_is_right_in_every_draw(suite):
    """As an int of Python, of NumPy, or in an array."""
    for seed in SEEDS:
        even, odd, _ = drawn(suite, seed)
        assert judged(suite, right, even, odd) == (True, True)
        assert judged(suite, lambda *sizes: np.array(right(*sizes)), even, odd) == (True, True)


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_formula_costs_the_same_in_every_draw(suite, name):
    """No draw is so lucky that a usual slip passes, and none so unlucky that it costs more than in another."""
    only_rests = name in ("without floor", "rounded", "rounded up")
    for seed in SEEDS:
        even, odd, _ = drawn(suite, seed)
        assert judged(suite, WRONG[name], even, odd) == (only_rests, False)


def test_a_formula_without_floor_keeps_the_points_where_no_rest_remains(suite):
    """14.0 is the right size; 13.5 is not, and neither is 14.0 where whole numbers are asked for."""
    for seed in SEEDS:
        even, odd, _ = drawn(suite, seed)
        assert judged(suite, WRONG["without floor"], even, odd) == (True, False)
        assert judged(suite, lambda *sizes: float(right(*sizes)), even, odd) == (True, False)


@pytest.mark.parametrize(
    "found", [None, True, "3", [3, 3], math.nan, math.inf, np.array([3, 3]), AssertionError("raised")]
)
def test_what_is_no_number_is_no_size(suite, found):
    """Whatever a function may answer, the judge stays calm."""
    assert suite.is_size(found, 7, 3, 0, 2) is False


@pytest.mark.parametrize("handout", ["handout.md", "handout.zh.md"])
def test_the_examples_of_the_handouts_are_right(handout):
    """Every row of the table of sizes follows the formula."""
    text = (FOLDER / handout).read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    assert len(rows) == 5
    for *sizes, size in rows:
        assert right(*map(int, sizes)) == int(size)


@pytest.mark.parametrize(
    ("kinds", "pooling", "dense"),
    [
        (["Conv2D", "MaxPooling2D", "Flatten", "Dense"], True, True),
        (["Rescaling", "SeparableConv2D", "GlobalAveragePooling2D", "Dense"], True, True),
        (["MaxPooling2D", "Conv2D", "Flatten", "Dense"], False, True),
        (["Dense", "Conv2D", "MaxPooling2D"], True, False),
        (["Flatten", "Dense", "Dense"], False, False),
        ([], False, False),
    ],
)
def test_what_must_follow_a_convolution(suite, kinds, pooling, dense):
    """Pooling and dense parts count after a convolution only."""
    assert suite.after(kinds, "Pooling", "Conv") is pooling
    assert suite.after(kinds, "Dense", "Conv") is dense
